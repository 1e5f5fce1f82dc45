/** What is asked of both servers, by what it is about. */
import type { Step } from "./exchange.ts"

const applyType = "application/apply-patch+yaml"
const mergeType = "application/merge-patch+json"
const jsonType = "application/json-patch+json"
const strategicType = "application/strategic-merge-patch+json"

const object = (name: string | undefined, rest: object = {}, metadata: object = {}) => ({
  apiVersion: "compute.kpu.dev/v1alpha1",
  kind: "Compute",
  metadata: { name, ...metadata },
  ...rest
})

const post = (body: unknown, query = ""): Step => ({ method: "POST", path: query, body })
const table = (path: string): Step => ({
  method: "GET",
  path,
  accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
})
const put = (path: string, body: unknown): Step => ({ method: "PUT", path, body })
const get = (path = ""): Step => ({ method: "GET", path })
const remove = (path: string, body?: unknown): Step => ({ method: "DELETE", path, body })
const apply = (name: string, rest: object, query = "fieldManager=m", metadata: object = {}): Step => ({
  method: "PATCH",
  path: `${name}?${query}`,
  type: applyType,
  body: object(name.split("/")[0], rest, metadata)
})
const merge = (path: string, body: unknown): Step => ({ method: "PATCH", path, type: mergeType, body })
const json = (path: string, body: unknown): Step => ({ method: "PATCH", path, type: jsonType, body })

const spec = {
  image: "i",
  command: ["a", "b"],
  args: [],
  env: [{ name: "A", value: "1" }, { name: "B", valueFrom: { secretKeyRef: { key: "k" } } }, { name: "C" }],
  labels: { l: "m", "app.kubernetes.io/name": "x" },
  annotations: {}
}
const condition = (type: string, status = "True", more: object = {}) => ({
  type,
  status,
  reason: "R",
  message: "m <&>",
  lastTransitionTime: "2026-01-01T00:00:00Z",
  ...more
})
const status = (...conditions: ReadonlyArray<object>) => ({ status: { conditions } })
const mine = (query = "") => `fieldManager=m${query}`
const theirs = (query = "") => `fieldManager=other${query}`

/** By title. */
export const scripts: { readonly [title: string]: ReadonlyArray<Step> } = {
  "applies, reads, applies the same again": [
    apply("a", { spec }, mine("&force=true"), { labels: { x: "y" }, annotations: { note: "z" } }),
    apply("a", { spec }, mine("&force=true"), { labels: { x: "y" }, annotations: { note: "z" } }),
    get("a"),
    get(),
    get("a/status"),
    apply("a", { spec: { image: "i" } }, mine()),
    get("a")
  ],
  "tells conflicts with one manager and with several, and forces": [
    apply("a", { spec }, mine()),
    apply("a", { spec: { image: "j" } }, theirs()),
    apply("a", { spec: { image: "j", command: ["c"], env: [{ name: "A", value: "2" }] } }, theirs()),
    apply("a", { spec: { image: "i", env: [{ name: "D", value: "4" }] } }, theirs()),
    apply("a", { spec: { image: "k" } }, "fieldManager=third"),
    apply("a", { spec: { image: "j", command: ["c"], env: [{ name: "A", value: "2" }] } }, theirs("&force=true")),
    apply("a", { spec }, mine()),
    merge("a?fieldManager=updater", { spec: { labels: { l: "n" } } }),
    apply("a", { spec }, mine()),
    apply("a", { spec }, mine("&force=true")),
    get("a")
  ],
  "removes what a manager applied and applies no more": [
    apply("a", { spec }, mine()),
    apply("a", { spec: { env: [{ name: "B", value: "other" }], labels: { other: "x" } } }, theirs("&force=true")),
    apply("a", { spec: { image: "i" } }, mine()),
    get("a"),
    apply("a", { spec: {} }, mine()),
    apply("a", {}, mine()),
    get("a"),
    apply("a", {}, theirs()),
    get("a")
  ],
  "applies nulls, and what becomes null": [
    apply("a", { spec: { image: null } }, mine()),
    apply("a", { spec: { image: "i", env: null, labels: { a: null } } }, mine()),
    apply("a", { spec: { image: "i", suspend: null } }, mine()),
    apply("a", { spec: null }, mine()),
    apply("b", { spec: {} }, mine()),
    apply("b", { spec: { suspend: false } }, theirs()),
    apply("b", {}, theirs()),
    get("a"),
    get("b"),
    apply("c", { spec: { labels: { a: "x" } } }, mine()),
    apply("c", { spec: {} }, theirs()),
    apply("c", { spec: { labels: {} } }, mine()),
    apply("c", { spec: { image: "i", labels: { a: "x" } } }, mine()),
    apply("c", { spec: { image: "i", labels: {} } }, mine()),
    get("c")
  ],
  "keeps items in order when list-maps merge": [
    apply("a", { spec: { env: ["A", "B", "C", "D"].map((name) => ({ name, value: "1" })) } }, mine()),
    apply("a", { spec: { env: ["C", "X", "B", "Y"].map((name) => ({ name, value: "1" })) } }, theirs()),
    apply("a", { spec: { env: ["D", "X", "A"].map((name) => ({ name, value: "1" })) } }, mine()),
    apply("a", { spec: { env: ["Z", "Y"].map((name) => ({ name, value: "1" })) } }, theirs()),
    get("a")
  ],
  "keeps status apart from spec, whoever writes": [
    apply("a", { spec, ...status(condition("Ready")) }, mine()),
    apply("a/status", { spec: { image: "no" }, ...status(condition("Ready")) }, "fieldManager=c", {
      labels: { s: "t" }
    }),
    apply("a/status", status(condition("Ready", "False"), condition("Suspended")), "fieldManager=c"),
    apply("a/status", status(condition("Ready", "True")), "fieldManager=d"),
    apply("a/status", status(condition("Suspended", "True")), "fieldManager=c"),
    merge("a/status?fieldManager=e", { spec: { image: "no" }, ...status(condition("Other")) }),
    merge("a?fieldManager=e", { spec: { image: "yes" }, ...status() }),
    json("a/status?fieldManager=f", [{ op: "add", path: "/status/conditions/-", value: condition("More") }]),
    get("a")
  ],
  "creates, with defaults, generated names, dry runs": [
    post(object("a", { spec })),
    post(object("a", { spec })),
    post(object(undefined, { spec: { image: "i" } }, { generateName: "gen-" })),
    post(object("b", { spec: { image: "i" } }), "?dryRun=All"),
    get("b"),
    post(object("c")),
    get("c"),
    post(object("d", { spec: { image: null, suspend: null, env: [{ name: "A", value: null }] } })),
    post(object("e", { spec: null })),
    post(object("f", { spec: {} }), "?fieldManager=creator"),
    post(object("g", status(condition("Ready"))), "?fieldManager=creator"),
    post(object("h", { spec }, { resourceVersion: "1" })),
    post(object("i", { spec }, { namespace: "other" })),
    post({ ...object("j"), kind: "Foo" }),
    post({ ...object("j"), kind: undefined }),
    post({ ...object("j"), apiVersion: undefined, kind: undefined }),
    post({ ...object("j"), apiVersion: "compute.kpu.dev/v1" }),
    post(""),
    post("{"),
    post("[]"),
    { method: "POST", path: "/apis/compute.kpu.dev/v1alpha1/namespaces/nope/computes", body: object("a", { spec }) }
  ],
  "refuses objects that break the schema, naming each field": [
    post(object("a", { spec: { image: 1 } })),
    post(object("a", { spec: [] })),
    post(object("a", { spec: { image: 1, env: [{ name: "A" }, { name: "A" }, { value: "1" }], command: "a" } })),
    post(object("a", { spec: { env: [{ name: "A" }, { name: "A" }] } })),
    post(object("a", { spec: { env: [{ name: 1 }], args: [1, null], labels: { a: 1 }, suspend: "no" } })),
    post(object("a", { spec: { env: [{ name: "A", valueFrom: { secretKeyRef: {} } }] } })),
    post(
      object("a", {
        spec: { env: [{ name: "A", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1x" } } }] }
      })
    ),
    post(
      object("a", {
        spec: { env: [{ name: "A", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: 1 } } }] }
      })
    ),
    post(object("a2", { spec: { suspend: 1.5 } })),
    post({ ...object("a"), metadata: "no" }),
    post(object("a", { spec: { image: "i" } }, { labels: { a: 1 } })),
    post(object("a", { spec: { image: "i" } }, { labels: [] })),
    post(object("a", { spec: { image: "i" } }, { labels: { "-a": "b" } })),
    post(object("a", { spec: { image: "i" } }, { labels: { a: "-b" } })),
    post(object("a", { spec: { image: "i" } }, { labels: { "a/b/c": "d" } })),
    post(object("a", { spec: { image: "i" } }, { labels: { a: "b".repeat(64) } })),
    post(object("a", { spec: { image: "i" } }, { annotations: { "/b": "d" } }))
  ],
  "refuses names": [
    apply("A", { spec: { image: "i" } }),
    apply("1a", { spec: { image: "i" } }),
    apply("a.b", { spec: { image: "i" } }),
    apply("a".repeat(64), { spec: { image: "i" } }),
    apply("a".repeat(63), { spec: { image: "i" } }),
    apply("a-", { spec: { image: "i" } }),
    apply("a".repeat(254), { spec: { image: "i" } }),
    post(object(undefined, { spec: { image: "i" } })),
    post(object("1", { spec: { image: 1 } }))
  ],
  "refuses applies that cannot be merged": [
    apply("a", { spec: { image: 1 } }),
    // One fault at a time: of several the real server tells as many as a Go map happens to give.
    apply("a", { spec: { image: { a: 1 } } }),
    apply("a", { spec: { command: "a" } }),
    apply("a", { spec: { env: {} } }),
    apply("a", { spec: { labels: [] } }),
    apply("a", { spec: { env: [{ value: "x" }] } }),
    apply("a", { spec: { env: [{ name: "x" }, { name: "x" }] } }),
    apply("a", { spec: { env: ["x"] } }),
    apply("a", { spec: { foo: 1 } }, mine("&fieldValidation=Strict")),
    apply("a", { spec: { image: "i" } }, ""),
    apply("a", { spec: { image: "i" } }, mine(), { managedFields: [] }),
    apply("a", { spec: { image: "i" } }, mine(), { uid: "x" }),
    apply("a/status", { status: {} }),
    apply("b", { spec: { image: "i" } }, mine(), { resourceVersion: "3" }),
    apply("b", { spec: { image: "i" } }, mine(), { resourceVersion: "3" }),
    apply("b", { spec: { image: "i" } }, mine(), { uid: "x" }),
    apply("b", { spec: { image: "j" } }, mine(), { uid: "{uid}" }),
    { ...apply("c", {}), body: object("b", { spec: { image: "i" } }) },
    { ...apply("c", {}), body: { apiVersion: "v1", kind: "Compute", metadata: { name: "c" } } },
    { ...apply("c", {}), body: { metadata: { name: "c" } } },
    {
      ...apply("c", {}),
      body: "apiVersion: compute.kpu.dev/v1alpha1\nkind: Compute\nmetadata: {name: c}\nspec: {image: i}\n"
    }
  ],
  "warns of unknown fields, refuses them, or says nothing": [
    post(object("a", { spec: { image: "i", foo: 1, bar: { x: 1 } }, zz: 1 }, { q: 1 })),
    post(object("b", { spec: { image: "i", foo: 1 } }), "?fieldValidation=Ignore"),
    post(
      object("c", { spec: { image: "i", foo: 1, env: [{ name: "A", x: 1 }] }, zz: 1 }, { q: 1 }),
      "?fieldValidation=Strict"
    ),
    post(object("c", { spec: { image: "i" } }), "?fieldValidation=Nope"),
    merge("a", { spec: { foo: 1 } }),
    merge("a?fieldValidation=Strict", { spec: { foo: 1 } }),
    put("a?fieldValidation=Strict", object("a", { spec: { foo: 1 } }, { resourceVersion: "{rv}" })),
    put("a", object("a", { spec: { foo: 1 } }, { resourceVersion: "{rv}" })),
    get("a"),
    // Refused for another reason: the warnings come all the same.
    post(object("a", { spec: { foo: 1 } })),
    post(object("1", { spec: { foo: 1 } })),
    merge("a", { spec: { foo: 1, image: 1 } }),
    merge("a", { metadata: { resourceVersion: "1" }, spec: { foo: 1 } }),
    put("a", object("a", { spec: { foo: 1 } })),
    put("nope", object("nope", { spec: { foo: 1 } }))
  ],
  replaces: [
    post(object("a", { spec })),
    put("a", object("a", { spec: { image: "u" } })),
    put("a", object("a", { spec: { image: "u" } }, { resourceVersion: "1" })),
    get("a"),
    put("a", object("a", { spec: { image: "u" } }, { resourceVersion: "{rv}" })),
    get("a"),
    put("a", object("a", { spec: { image: "u" } }, { resourceVersion: "{rv}" })),
    put("a", object("a", { spec: { image: "v" } }, { resourceVersion: "{rv}", uid: "x" })),
    put("a", object("b", { spec: { image: "v" } }, { resourceVersion: "{rv}" })),
    put("a", object("a", { spec: { image: "v" } }, { resourceVersion: "{rv}", namespace: "other" })),
    put("nope", object("nope", { spec: { image: "v" } })),
    put("nope", object("nope", { spec: { image: "v" } }, { resourceVersion: "1" })),
    put("", object("a")),
    put("a/status", object("a", { spec: { image: "w" }, ...status(condition("Ready")) }, { resourceVersion: "{rv}" })),
    put("a", { apiVersion: "compute.kpu.dev/v1", kind: "Compute", metadata: { name: "a", resourceVersion: "{rv}" } }),
    put("a", { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Foo", metadata: { name: "a", resourceVersion: "{rv}" } }),
    get("a")
  ],
  patches: [
    post(object("a", { spec })),
    merge("a", { spec: { image: "k", labels: null }, metadata: { labels: { p: "q" } } }),
    merge("a", {}),
    merge("a", { metadata: { resourceVersion: "1" } }),
    merge("a", { metadata: { uid: "u" } }),
    merge("a", { metadata: { name: "u" } }),
    merge("a", { metadata: { generation: 77, creationTimestamp: null } }),
    merge("a", { spec: { image: 1 } }),
    merge("a", { spec: null }),
    merge("a?dryRun=All", { spec: { image: "dry" } }),
    get("a"),
    merge("a?force=true", {}),
    merge("a?dryRun=x", {}),
    merge("a", "["),
    merge("a", []),
    merge("nope", {}),
    json("a", [{ op: "add", path: "/spec", value: { image: "z" } }]),
    json("a", [{ op: "replace", path: "/spec/image", value: "y" }]),
    json("a", [{ op: "test", path: "/spec/image", value: "x" }]),
    json("a", [{ op: "remove", path: "/nope" }]),
    json("a", {}),
    { ...merge("a", {}), type: strategicType },
    { ...merge("a", {}), type: "application/json" },
    get("a")
  ],
  "refuses a status that breaks the schema": [
    post(object("a", { spec })),
    merge(
      "a/status",
      status(condition("-R", "Nope", { reason: "", lastTransitionTime: "x", observedGeneration: -1 }), { type: "A" })
    ),
    merge("a/status", status(condition("A"), condition("A"))),
    merge("a/status", status(condition("A", "True", { reason: "1bad" }))),
    merge("a/status", status(condition("A", "True", { observedGeneration: "1" }))),
    merge("a/status", { status: { conditions: {} } }),
    merge("a/status", { status: [] }),
    merge("nope/status", { status: {} }),
    get("a")
  ],
  "deletes, with preconditions, dry runs and finalizers": [
    post(object("a", { spec })),
    remove("a", { preconditions: { uid: "x" } }),
    remove("a", { preconditions: { resourceVersion: "1" } }),
    remove("a?dryRun=All"),
    remove("a?gracePeriodSeconds=5&propagationPolicy=Background"),
    remove("a"),
    post(object("b", { spec }, { finalizers: ["example.com/f"] })),
    remove("b"),
    remove("b"),
    merge("b", { spec: { image: "still" } }),
    apply("b", { spec: { image: "still2" } }, mine("&force=true")),
    merge("b", { metadata: { finalizers: null } }),
    get("b"),
    post(object("c", { spec })),
    remove("c", { preconditions: { uid: "{uid}", resourceVersion: "{rv}" } }),
    post(object("d", { spec })),
    remove(""),
    get()
  ],
  "lists by labels and names, and refuses what it cannot select by": [
    apply("a", { spec }, mine(), { labels: { x: "y", tier: "1" } }),
    apply("b", { spec }, mine(), { labels: { x: "z" } }),
    apply("c", { spec }),
    ...[
      "labelSelector=x",
      "labelSelector=%21x",
      "labelSelector=x%3Dy",
      "labelSelector=x%21%3Dy",
      "labelSelector=x+in+(y,z),tier",
      "labelSelector=x+notin+(y)",
      "labelSelector=x%3D%3Dy,tier%3D1",
      "labelSelector=x+y",
      "fieldSelector=metadata.name%3Db",
      "fieldSelector=metadata.name%21%3Db",
      "fieldSelector=metadata.namespace%3D{ns},metadata.name%3Da",
      "fieldSelector=spec.image%3Di",
      "limit=-1",
      "limit=x",
      "resourceVersion=0",
      "resourceVersion=0&resourceVersionMatch=NotOlderThan",
      "resourceVersionMatch=Exact",
      "resourceVersion=x"
    ].map((query) => get(`?${query}`)),
    get("nope"),
    { method: "GET", path: "/apis/compute.kpu.dev/v1alpha1/namespaces/nope/computes" },
    { method: "GET", path: "/apis/compute.kpu.dev/v1alpha1/foos" },
    { method: "GET", path: "/apis/x.y/v1/foos" },
    get("a/scale")
  ],
  "prints tables": [
    apply("a", { spec }, mine(), { labels: { x: "y" } }),
    apply("a/status", status(condition("Ready")), "fieldManager=c"),
    table("a"),
    table("?includeObject=None"),
    table("?includeObject=Object"),
    table("?includeObject=Metadata&limit=1"),
    table("nope")
  ],
  "watches what was, from a version, by name, as tables, and refuses the rest": [
    apply("a", { spec }, mine(), { labels: { x: "y" } }),
    apply("b", { spec: { image: "i" } }),
    get("?watch=1&timeoutSeconds=1"),
    get("?watch=true&timeoutSeconds=1&resourceVersion=0&fieldSelector=metadata.name%3Da"),
    get(
      "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Da"
    ),
    get("b"),
    apply("a", { spec: { image: "j" } }, mine(), { labels: { x: "z" } }),
    remove("b"),
    get("?watch=1&timeoutSeconds=1&resourceVersion={rv}"),
    get("?watch=1&timeoutSeconds=1&resourceVersion={rv}&labelSelector=x%3Dy"),
    get("?watch=1&timeoutSeconds=1&resourceVersion={rv}&labelSelector=x%3Dz"),
    table("?watch=1&timeoutSeconds=1&resourceVersion={rv}"),
    get("a?watch=1&timeoutSeconds=1"),
    get("?watch=1&timeoutSeconds=1&sendInitialEvents=true"),
    get("?watch=1&timeoutSeconds=1&resourceVersionMatch=Exact"),
    get("?watch=1&timeoutSeconds=1&resourceVersion=x"),
    get("?watch=1&timeoutSeconds=x")
  ],
  "is discovered": [
    { method: "GET", path: "/apis/compute.kpu.dev" },
    { method: "GET", path: "/apis/compute.kpu.dev/v1alpha1" }
  ],
  "keeps and resets ownership as clients edit managedFields": [
    apply("a", { spec }, mine()),
    merge("a?fieldManager=u", { metadata: { managedFields: [{}] } }),
    get("a"),
    merge("a?fieldManager=u", { spec: { image: "j" } }),
    apply("a", { spec: { image: "j" } }, theirs()),
    get("a")
  ],
  "merges the oldest of more than ten updaters": [
    post(object("a", { spec })),
    // Those that are merged are each of a second of their own.
    ...Array.from({ length: 12 }, (_, i) => ({
      ...merge(`a?fieldManager=u${i}`, { spec: { labels: { [`k${i}`]: "v" } } }),
      after: i < 4 ? 1_100 : undefined
    })),
    get("a")
  ]
}
