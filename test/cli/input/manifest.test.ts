import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { stringify } from "yaml"
import { readManifest } from "../../../src/cli/input/manifest.ts"

const compute = (spec: string, rest = "") => `apiVersion: compute.kpu.dev/v1alpha1
kind: Compute
metadata:
  name: my-compute
${rest}spec:
${spec.replace(/^/gm, "  ")}
`

const problem = (text: string) =>
  Effect.map(Effect.flip(readManifest("compute.yaml", text)), (error) => `${error.field}: ${error.problem}`)

describe("a manifest", () => {
  it.effect("says a Compute in all that the client's options say", () =>
    Effect.gen(function* () {
      const items = yield* readManifest(
        "compute.yaml",
        compute(
          `image: localhost:5001/server:latest
command: [python, -m, server]
args: ["--chunk-size", "65536"]
env:
  - name: LOG_LEVEL
    value: DEBUG
  - name: EMPTY
labels: { team: ml }
annotations: { note: "a b" }
suspend: true`
        )
      )
      assert.deepStrictEqual(items, [
        {
          source: "compute.yaml",
          namespace: undefined,
          options: {
            name: "my-compute",
            image: "localhost:5001/server:latest",
            command: ["python", "-m", "server"],
            args: ["--chunk-size", "65536"],
            env: { LOG_LEVEL: "DEBUG", EMPTY: "" },
            labels: { team: "ml" },
            annotations: { note: "a b" },
            suspend: true
          }
        }
      ])
    })
  )

  it.effect("may be JSON, several documents, or a List, and each item knows where it stands", () =>
    Effect.gen(function* () {
      const one = {
        apiVersion: "compute.kpu.dev/v1alpha1",
        kind: "Compute",
        metadata: { name: "a", namespace: "team" }
      }
      const two = { ...one, metadata: { name: "b" } }
      const json = yield* readManifest("c.json", JSON.stringify(one))
      assert.deepStrictEqual(
        json.map(({ namespace, options }) => [namespace, options.name]),
        [["team", "a"]]
      )
      const documents = yield* readManifest("c.yaml", `---\n${stringify(one)}---\n${stringify(two)}`)
      assert.deepStrictEqual(
        documents.map(({ options, source }) => [source, options.name]),
        [
          ["c.yaml, document 1", "a"],
          ["c.yaml, document 2", "b"]
        ]
      )
      const list = yield* readManifest("c.yaml", stringify({ apiVersion: "v1", kind: "List", items: [one, two] }))
      assert.deepStrictEqual(
        list.map(({ options }) => options.name),
        ["a", "b"]
      )
    })
  )

  it.effect("takes what kpu get -o yaml prints, status and all", () =>
    Effect.gen(function* () {
      const [item] = yield* readManifest(
        "got.yaml",
        stringify({
          apiVersion: "compute.kpu.dev/v1alpha1",
          kind: "Compute",
          metadata: {
            name: "a",
            namespace: "default",
            uid: "1",
            resourceVersion: "7",
            generation: 1,
            creationTimestamp: "2026-01-01T00:00:00Z"
          },
          spec: { suspend: false, image: "x" },
          status: { conditions: [] }
        })
      )
      assert.strictEqual(item!.options.image, "x")
    })
  )

  it.effect.each([
    ["a field that no Compute has", compute("imgae: x"), /^compute\.yaml: spec\.imgae: there is no such field/],
    [
      "a number in the environment",
      compute("env:\n  - name: A\n    value: 1"),
      /spec\.env\[0\]\.value: must be a string, not a number; put it in quotes/
    ],
    ["an entry without a name", compute("env:\n  - value: x"), /spec\.env\[0\]\.name: is missing/],
    ["a name that comes twice", compute("env:\n  - name: A\n  - name: A"), /spec\.env\[1\]\.name: A is there already/],
    [
      "a value from a Secret",
      compute("env:\n  - name: A\n    valueFrom: { secretKeyRef: { name: s, key: k } }"),
      /spec\.env\[0\]\.valueFrom: is not supported/
    ],
    ["a label that is none", compute("labels: { team: 'a b' }"), /spec\.labels\.team: the value must be/],
    ["an argument that is no string", compute("args: [1]"), /spec\.args\[0\]: must be a string, not a number/],
    ["a suspend that is no boolean", compute("suspend: 'yes'"), /spec\.suspend: must be true or false, not a string/],
    [
      "labels of the resource's own",
      compute("image: x", "  labels: { a: b }\n"),
      /metadata\.labels: the resource's own labels/
    ],
    [
      "another kind",
      "apiVersion: v1\nkind: Pod\nmetadata: { name: a }",
      /^compute\.yaml: apiVersion: must be compute\.kpu\.dev\/v1alpha1, not v1/
    ],
    [
      "a kind that is missing",
      "apiVersion: compute.kpu.dev/v1alpha1\nmetadata: { name: a }",
      /kind: is missing; it must be Compute/
    ],
    [
      "a bad name",
      "apiVersion: compute.kpu.dev/v1alpha1\nkind: Compute\nmetadata: { name: A_b }",
      /metadata\.name: "A_b" must be lower-case/
    ],
    ["no name", "apiVersion: compute.kpu.dev/v1alpha1\nkind: Compute", /metadata\.name: is missing/],
    ["nothing", "\n", /^compute\.yaml: holds no Compute/],
    ["a text", "hello", /^compute\.yaml: a manifest is a map/],
    [
      "an item of a List that is wrong",
      "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: compute.kpu.dev/v1alpha1\n    kind: Compute\n    metadata: { name: a }\n    spec: { image: '' }",
      /items\[0\]\.spec\.image: must not be empty/
    ],
    ["a tab", "a:\n\tb: 1", /^compute\.yaml:2:1: not YAML: /],
    [
      "aliases without end",
      "a: &a [1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c]",
      /not YAML that can be read/
    ]
  ] as const)("is refused for %s, at its place", ([, text, expected]) =>
    Effect.gen(function* () {
      assert.match(yield* problem(text), expected)
    })
  )

  it.effect("never shows a value of the environment", () =>
    Effect.gen(function* () {
      const said = yield* problem(compute("env:\n  - name: A\n    value: [hunter2]"))
      assert.notInclude(said, "hunter2")
    })
  )
})
