/** What the embedded API promises beyond single answers: history, pages, watches, permissions, and an end without traces. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type ClusterOptions, start } from "../../src/local/Cluster.ts"
import { open } from "../../src/local/serve.ts"
import * as ApiClient from "../kit/ApiClient.ts"
import { exec } from "../kit/process.ts"

const all = "/apis/compute.kpu.dev/v1alpha1/computes"
const computes = "/apis/compute.kpu.dev/v1alpha1/namespaces/default/computes"
const pods = "/api/v1/namespaces/default/pods"

const apply = (client: ApiClient.ApiClient, name: string, spec: object = { image: "i" }) =>
  client.request("PATCH", `${computes}/${name}?fieldManager=test&force=true`, {
    body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name }, spec },
    contentType: "application/apply-patch+yaml"
  })

/** The API alone, without a controller that writes in between. */
const api = (options: ClusterOptions = {}) =>
  Effect.gen(function* () {
    const cluster = yield* start({ controller: false, ...options })
    return { cluster, client: yield* ApiClient.make(cluster) }
  })

const namesOf = (list: any): ReadonlyArray<string> => list.items.map((item: any) => item.metadata.name)
const condition = (object: any, type: string) => object.status?.conditions?.find((one: any) => one.type === type)

/** The first object of a watch for which something holds. */
const until = (client: ApiClient.ApiClient, path: string, holds: (object: any) => boolean) =>
  client.watch(path).pipe(
    Stream.map(({ object }) => object),
    Stream.filter(holds),
    Stream.runHead,
    Effect.flatMap((found) => Effect.fromOption(found))
  )

describe("the embedded API", () => {
  it.live("lists in pages of one revision, whatever happens in between", () =>
    Effect.gen(function* () {
      const { client } = yield* api()
      for (const name of ["a", "b", "c", "d", "e"]) yield* apply(client, name)
      const first = (yield* client.request("GET", `${all}?limit=2`)).body
      assert.deepStrictEqual(namesOf(first), ["a", "b"])
      assert.strictEqual(first.metadata.remainingItemCount, 3)
      yield* client.request("DELETE", `${computes}/d`)
      yield* apply(client, "bb")
      const second = (yield* client.request("GET", `${all}?limit=2&continue=${first.metadata.continue}`)).body
      assert.deepStrictEqual(namesOf(second), ["c", "d"])
      assert.strictEqual(second.metadata.resourceVersion, first.metadata.resourceVersion)
      const third = (yield* client.request("GET", `${all}?limit=2&continue=${second.metadata.continue}`)).body
      assert.deepStrictEqual(namesOf(third), ["e"])
      assert.strictEqual(third.metadata.continue, "")
      const broken = yield* client.request("GET", `${all}?continue=nonsense`)
      assert.strictEqual(broken.status, 400)
    })
  )

  it.live("forgets history when told to: pages and watches that go on from it get 410", () =>
    Effect.gen(function* () {
      const { client, cluster } = yield* api()
      for (const name of ["a", "b", "c"]) yield* apply(client, name)
      const page = (yield* client.request("GET", `${all}?limit=1`)).body
      yield* apply(client, "d")
      cluster.compact()
      const rest = yield* client.request("GET", `${all}?limit=1&continue=${page.metadata.continue}`)
      assert.strictEqual(rest.status, 410)
      assert.strictEqual(rest.body.reason, "Expired")
      const events = yield* client
        .watch(`${all}?watch=1&resourceVersion=${page.metadata.resourceVersion}`)
        .pipe(Stream.runCollect)
      assert.deepStrictEqual(
        events.map(({ object, type }) => [type, object.code, object.reason]),
        [["ERROR", 410, "Expired"]]
      )
    })
  )

  it.live("keeps a window of changes, and goes on from within it", () =>
    Effect.gen(function* () {
      const { client } = yield* api({ watchWindow: 10 })
      const first = (yield* apply(client, "a", { image: "0" })).body
      for (let i = 1; i <= 50; i++) yield* apply(client, "a", { image: String(i) })
      const old = yield* client
        .watch(`${all}?watch=1&resourceVersion=${first.metadata.resourceVersion}`)
        .pipe(Stream.runCollect)
      assert.strictEqual(old[0]?.object.code, 410)
      const last = (yield* client.request("GET", `${computes}/a`)).body
      const recent = Number(last.metadata.resourceVersion) - 5
      const images = yield* client.watch(`${all}?watch=1&resourceVersion=${recent}`).pipe(
        Stream.map(({ object }) => object.spec.image),
        Stream.take(5),
        Stream.runCollect
      )
      assert.deepStrictEqual(images, ["46", "47", "48", "49", "50"])
    })
  )

  it.live("answers versions from the future with 504 and when to try again", () =>
    Effect.gen(function* () {
      const { client } = yield* api()
      const answer = yield* client.request("GET", `${all}?resourceVersion=99999`)
      assert.strictEqual(answer.status, 504)
      assert.strictEqual(answer.headers["retry-after"], "1")
      assert.match(answer.body.message, /^Timeout: Too large resource version: 99999, current: \d+$/)
      assert.strictEqual(answer.body.details.retryAfterSeconds, 1)
    })
  )

  it.live("sends bookmarks to those who take them, and marks the end of the initial events", () =>
    Effect.gen(function* () {
      const { client } = yield* api({ bookmarkInterval: "20 millis" })
      yield* apply(client, "a")
      const query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
      const events = yield* client.watch(`${all}?${query}`).pipe(Stream.take(3), Stream.runCollect)
      assert.deepStrictEqual(
        events.map(({ object, type }) => [type, object.metadata.annotations?.["k8s.io/initial-events-end"]]),
        [
          ["ADDED", undefined],
          ["BOOKMARK", "true"],
          ["BOOKMARK", undefined]
        ]
      )
      assert.strictEqual(events[2]?.object.kind, "Compute")
      const without = yield* client.watch(`${all}?watch=1&timeoutSeconds=1`).pipe(Stream.runCollect)
      assert.deepStrictEqual(
        without.map(({ type }) => type),
        ["ADDED"]
      )
    })
  )

  it.live("tells a watch of what comes to match its selector, and of what ceases to", () =>
    Effect.gen(function* () {
      const { client } = yield* api()
      const label = (value: string) =>
        client.request("PATCH", `${computes}/a`, {
          body: { metadata: { labels: { on: value } } },
          contentType: "application/merge-patch+json"
        })
      yield* apply(client, "a")
      const from = (yield* client.request("GET", all)).body.metadata.resourceVersion
      const watching = yield* Effect.forkChild(
        client.watch(`${all}?watch=1&resourceVersion=${from}&labelSelector=on%3Dyes`).pipe(
          Stream.map(({ object, type }) => [type, object.metadata.labels?.on]),
          Stream.take(4),
          Stream.runCollect
        )
      )
      yield* label("yes")
      yield* apply(client, "a", { image: "j" })
      yield* label("no")
      yield* label("yes")
      assert.deepStrictEqual(yield* Fiber.join(watching), [
        ["ADDED", "yes"],
        ["MODIFIED", "yes"],
        ["DELETED", "yes"],
        ["ADDED", "yes"]
      ])
    })
  )

  it.live("cuts every watch when told to, as a restart would", () =>
    Effect.gen(function* () {
      const { client, cluster } = yield* api()
      yield* apply(client, "a")
      const watching = yield* Effect.forkChild(
        Effect.exit(
          client.watch(`${all}?watch=1`).pipe(
            Stream.tap(() => Effect.sync(cluster.cutWatches)),
            Stream.runDrain
          )
        )
      )
      assert.isTrue(Exit.isFailure(yield* Fiber.join(watching)))
    })
  )

  it.live("refuses a wrong token, a web page and a host that is not this one; lets kubectl in, which sends none", () =>
    Effect.gen(function* () {
      const { client, cluster } = yield* api()
      const wrong = yield* client.request("GET", all, { token: "wrong" })
      assert.strictEqual(wrong.status, 401)
      assert.strictEqual(wrong.body.message, "Unauthorized")
      const statusWith = (headers: Record<string, string>) =>
        Effect.promise(() => fetch(`${cluster.url}${all}`, { headers }).then(({ status }) => status))
      assert.strictEqual(yield* statusWith({}), 200)
      assert.strictEqual(yield* statusWith({ origin: "https://example.com" }), 401)
      assert.strictEqual(yield* statusWith({ authorization: `Bearer ${cluster.token}` }), 200)
    })
  )

  it.live("refuses what its permissions forbid, in the words of the real authorizer, and says so when asked", () =>
    Effect.gen(function* () {
      const { client } = yield* api({
        allows: ({ name, resource, verb }) => resource === "computes" && (verb !== "list" || name !== "")
      })
      const list = yield* client.request("GET", computes)
      assert.strictEqual(list.status, 403)
      assert.strictEqual(
        list.body.message,
        'computes.compute.kpu.dev is forbidden: User "kpu-local-admin" cannot list resource "computes" in API group "compute.kpu.dev" in the namespace "default"'
      )
      const pod = yield* client.request("GET", `${pods}/a-0`)
      assert.strictEqual(
        pod.body.message,
        'pods "a-0" is forbidden: User "kpu-local-admin" cannot get resource "pods" in API group "" in the namespace "default"'
      )
      const review = (attributes: object) =>
        client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
          body: {
            apiVersion: "authorization.k8s.io/v1",
            kind: "SelfSubjectAccessReview",
            spec: {
              resourceAttributes: {
                group: "compute.kpu.dev",
                resource: "computes",
                namespace: "default",
                ...attributes
              }
            }
          }
        })
      assert.isTrue((yield* review({ verb: "patch" })).body.status.allowed)
      assert.isFalse((yield* review({ verb: "list" })).body.status.allowed)
    })
  )
})

describe("the embedded operator", () => {
  it.live("does nothing when switched off", () =>
    Effect.gen(function* () {
      const { client } = yield* api()
      const created = (yield* apply(client, "a")).body
      yield* Effect.sleep("50 millis")
      const now = (yield* client.request("GET", `${computes}/a`)).body
      assert.strictEqual(now.metadata.resourceVersion, created.metadata.resourceVersion)
    })
  )

  it.live("can be late with the status of a suspend: Ready is stale until then", () =>
    Effect.gen(function* () {
      const cluster = yield* start({ startDelay: 0, statusDelay: "300 millis" })
      const client = yield* ApiClient.make(cluster)
      yield* apply(client, "a")
      yield* until(client, `${all}?watch=1`, (object) => condition(object, "Ready")?.status === "True")
      const asked = performance.now()
      const { body } = yield* apply(client, "a", { image: "i", suspend: true })
      assert.strictEqual(condition(body, "Ready").status, "True")
      const told = yield* until(client, `${all}?watch=1`, (object) => condition(object, "Suspended") !== undefined)
      // A timer may be a little early.
      assert.isAtLeast(performance.now() - asked, 295)
      assert.strictEqual(cluster.resolve("default", "a"), undefined)
      assert.strictEqual(condition(told, "Ready").message, "StatefulSet has 0/0 ready replicas")
    })
  )

  it.live("keeps a Compute from Ready while its Pod is in trouble, shows why, and goes on when it is healed", () =>
    Effect.gen(function* () {
      const cluster = yield* start({ startDelay: 0 })
      const client = yield* ApiClient.make(cluster)
      cluster.setPodTrouble("default", "a", { reason: "ImagePullBackOff", message: 'Back-off pulling image "i"' })
      yield* apply(client, "a")
      const pod = yield* until(client, `${pods}?watch=1`, (object) => object.metadata.name === "a-0")
      assert.deepStrictEqual(pod.status.containerStatuses[0].state.waiting, {
        message: 'Back-off pulling image "i"',
        reason: "ImagePullBackOff"
      })
      const field = encodeURIComponent("involvedObject.name=a-0,type=Warning")
      const events = (yield* client.request("GET", `/api/v1/namespaces/default/events?fieldSelector=${field}`)).body
      assert.deepStrictEqual(
        events.items.map((event: any) => [event.reason, event.message, event.involvedObject.uid]),
        [["BackOff", 'Back-off pulling image "i"', pod.metadata.uid]]
      )
      assert.strictEqual(cluster.resolve("default", "a"), undefined)

      cluster.setPodTrouble("default", "a", undefined)
      yield* until(client, `${all}?watch=1`, (object) => condition(object, "Ready")?.status === "True")
      const healed = (yield* client.request("GET", `${pods}/a-0`)).body
      assert.strictEqual(healed.status.phase, "Running")
    })
  )

  it.live("tells a quota's refusal on the StatefulSet, where there is no Pod", () =>
    Effect.gen(function* () {
      const cluster = yield* start({ startDelay: 0 })
      const client = yield* ApiClient.make(cluster)
      cluster.setPodTrouble("default", "a", { reason: "FailedCreate", message: "exceeded quota" })
      yield* apply(client, "a")
      const event = yield* until(client, "/api/v1/namespaces/default/events?watch=1", () => true)
      assert.strictEqual(event.involvedObject.kind, "StatefulSet")
      assert.strictEqual(event.involvedObject.name, "a")
      assert.strictEqual((yield* client.request("GET", `${pods}/a-0`)).status, 404)
    })
  )

  it.live("follows quick changes to their end", () =>
    Effect.gen(function* () {
      const cluster = yield* start({ startDelay: "5 millis" })
      const client = yield* ApiClient.make(cluster)
      for (let i = 0; i < 20; i++) yield* apply(client, "a", { image: "i", suspend: i % 2 === 0 })
      yield* until(client, `${all}?watch=1`, (object) => condition(object, "Ready")?.status === "True")
      assert.notStrictEqual(cluster.resolve("default", "a"), undefined)
      yield* apply(client, "a", { image: "i", suspend: true })
      yield* until(client, `${all}?watch=1`, (object) => condition(object, "Suspended")?.status === "True")
      assert.strictEqual(cluster.resolve("default", "a"), undefined)
    })
  )
})

describe("the embedded cluster's end", () => {
  it.live("leaves no socket and no timer, whatever was open", () =>
    Effect.gen(function* () {
      const script = join(import.meta.dirname, "ends.ts")
      const { code, stderr, stdout } = yield* exec(process.execPath, ["--conditions=effect-kpu-source", script])
      assert.deepStrictEqual({ code, stderr, stdout }, { code: 0, stderr: "", stdout: "open: true\nnothing left\n" })
    })
  )
})

describe("LocalCluster.serve", () => {
  const folder = Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-serve-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )

  it.live("writes a kubeconfig that is this user's alone, and removes it at the end", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "kubeconfig")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const cluster = yield* open({ kubeconfig: path, controller: false })
          assert.strictEqual(readFileSync(path, "utf8"), cluster.kubeconfig)
          assert.strictEqual(statSync(path).mode & 0o777, 0o600)
          assert.include(cluster.kubeconfig, `server: ${cluster.url}`)
        })
      )
      assert.throws(() => statSync(path), /ENOENT/)
    })
  )

  it.live("leaves a file that another has put in its place", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "kubeconfig")
      const second = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* open({ kubeconfig: path, controller: false })
          return yield* Scope.provide(open({ kubeconfig: path, controller: false }), yield* Effect.scope)
        })
      ).pipe(Effect.andThen(open({ kubeconfig: path, controller: false })))
      assert.strictEqual(readFileSync(path, "utf8"), second.kubeconfig)
    })
  )

  it.live("says which port is taken, and which file cannot be written", () =>
    Effect.gen(function* () {
      const taken = yield* Effect.acquireRelease(
        Effect.callback<number>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () =>
            resume(Effect.succeed((server.address() as any).port))
          )
          return Effect.sync(() => server.close())
        }),
        () => Effect.void
      )
      const port = yield* Effect.flip(start({ port: taken, controller: false }))
      assert.strictEqual(port.field, "port")
      assert.match(port.message, /something else listens there/)
      const file = yield* Effect.flip(open({ kubeconfig: "/nonexistent/folder/config", controller: false }))
      assert.strictEqual(file.field, "kubeconfig")
      assert.match(file.message, /ENOENT/)
    })
  )
})
