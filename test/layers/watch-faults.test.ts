/**
 * The watch through a cluster's weather: a real API server behind a proxy that breaks the wire. In all of it an observer
 * sees every state that there was (or, where the history was lost, a part of it in order), nothing else, and the end.
 */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { findCondition } from "../../src/schema/ComputeResource.ts"
import { ComputeApi } from "../../src/services/ComputeApi.ts"
import { ComputeWatch, type Observation } from "../../src/services/ComputeWatch.ts"
import * as ApiClient from "../kit/ApiClient.ts"
import * as FaultProxy from "../kit/FaultProxy.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"
import { kubernetes } from "../kit/kubernetesClient.ts"
import { describeWith } from "../kit/peers.ts"

/** Restarts and backoffs add up on a slow machine. */
const patience = 300_000

const { errorEvent, isList, isWatch, status } = FaultProxy

const condition = (status: "True" | "False") => ({
  type: "Ready",
  status,
  reason: status === "True" ? "StatefulSetReady" : "StatefulSetNotReady",
  message: "a message with \u00e9, so that an event can be cut within a character",
  lastTransitionTime: new Date().toISOString().replace(/\.\d+/, "")
})

/** Sets the Compute's Ready condition as the operator does, past the proxy; gives the new version. */
const setReady = Effect.fnUntraced(function* (namespace: string, name: string, value: "True" | "False") {
  const server = yield* KubeApiServer
  const { body, status } = yield* server.request(
    "PATCH",
    `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes/${name}/status`,
    { contentType: "application/merge-patch+json", body: { status: { conditions: [condition(value)] } } }
  )
  assert.strictEqual(status, 200, JSON.stringify(body))
  return body.metadata.resourceVersion as string
})

const isReady = (observation: Observation) =>
  observation._tag === "Present" && findCondition(observation.resource, "Ready")?.status === "True"

const label = (observation: Observation) =>
  observation._tag === "Present" ? observation.resource.metadata.resourceVersion : "absent"

interface Run {
  readonly proxy: FaultProxy.FaultProxy
  /** What there really was. */
  readonly real: ReadonlyArray<string>
  /** What the observer saw. */
  readonly seen: ReadonlyArray<string>
}

/**
 * A Compute's life behind the proxy: applied, not ready, ready, deleted, at the given pace. The observer comes with the
 * apply and stays until the deletion.
 */
const life = (
  weather: (proxy: FaultProxy.FaultProxy) => Effect.Effect<void, never, KubeApiServer>,
  options: {
    readonly pace?: number
    readonly watchTimeout?: number
    readonly between?: Effect.Effect<void, never, KubeApiServer>
  } = {}
): Effect.Effect<Run, unknown, KubeApiServer | Scope.Scope> =>
  Effect.gen(function* () {
    const { pace = 100 } = options
    const server = yield* KubeApiServer
    const namespace = yield* server.namespace
    const proxy = yield* FaultProxy.make({ url: server.url, ca: server.serverAuthority.cert })
    const config = KubeConfig.layerOptions({ server: proxy.url, token: server.token })
    const real: Array<string> = []
    const seen: Array<string> = []
    yield* Effect.gen(function* () {
      const api = yield* ComputeApi
      const watch = yield* ComputeWatch
      const ref = { namespace, name: "subject" }
      const applied = yield* api.apply({ ...ref, spec: { image: "example/server" } })
      real.push(applied.metadata.resourceVersion)
      yield* weather(proxy)
      const fiber = yield* watch.observe(ref, { since: applied.metadata.resourceVersion }).pipe(
        Stream.tap((observation) => Effect.sync(() => seen.push(label(observation)))),
        Stream.takeUntil(({ _tag }) => _tag === "Absent"),
        Stream.runDrain,
        Effect.forkChild
      )
      // the observer is there before things change, as otherwise a list alone would do
      while (seen.length === 0) yield* Effect.sleep(10)
      for (const value of ["False", "True", "False", "True"] as const) {
        yield* Effect.sleep(pace)
        real.push(yield* setReady(namespace, ref.name, value))
      }
      yield* options.between ?? Effect.void
      yield* Effect.sleep(pace)
      yield* server.request("DELETE", `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes/${ref.name}`)
      real.push("absent")
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(kubernetes(config, { watchTimeout: options.watchTimeout })))
    // with the client's layers closed, no connection is left
    while (proxy.connections() > 0) yield* Effect.sleep(10)
    return { proxy, real, seen }
  })

/** Nothing lost, nothing invented. */
const assertWhole = ({ real, seen }: Run) => assert.deepStrictEqual(seen, real)

/** The history was lost: a part of it in order, with the first and the last. */
const assertInOrder = ({ real, seen }: Run) => {
  assert.deepStrictEqual(
    seen,
    real.filter((state) => seen.includes(state))
  )
  assert.strictEqual(seen.at(-1), "absent")
}

const watches = ({ proxy }: Run) => proxy.seen.filter(isWatch).length
const lists = ({ proxy }: Run) => proxy.seen.filter(isList).length

describeWith(["kubernetes"], "the watch, through a cluster's weather", () => {
  layer(KubeApiServer.layerWith({ users: { bob: [] } }), { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("sees everything on one connection when nothing goes wrong", () =>
      Effect.gen(function* () {
        const run = yield* life(() => Effect.void)
        assertWhole(run)
        assert.deepStrictEqual([lists(run), watches(run)], [1, 1])
      })
    )

    it.effect("loses nothing when watches are closed at once, repeatedly, and does not spin", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) =>
          proxy.inject(isWatch, { _tag: "CloseAfter", afterEvents: 0 }, { _tag: "CloseAfter", afterEvents: 0 })
        )
        assertWhole(run)
        assert.deepStrictEqual([lists(run), watches(run)], [1, 3])
      })
    )

    it.effect("loses nothing when each watch is closed after one event", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) => proxy.injectAlways(isWatch, { _tag: "CloseAfter", afterEvents: 1 }))
        assertWhole(run)
        assert.strictEqual(lists(run), 1)
        assert.isAtLeast(watches(run), 5)
      })
    )

    it.effect("loses nothing to a reset between events", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) => proxy.inject(isWatch, { _tag: "ResetAfter", afterEvents: 1 }))
        assertWhole(run)
        assert.strictEqual(lists(run), 1)
      })
    )

    it.effect("loses nothing to a reset in the middle of an event, and makes up nothing from its half", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) =>
          proxy.inject(
            isWatch,
            { _tag: "HalfEvent", afterEvents: 0, then: "reset" },
            { _tag: "HalfEvent", afterEvents: 1, then: "reset" }
          )
        )
        assertWhole(run)
        assert.strictEqual(watches(run), 3)
      })
    )

    it.effect("loses nothing when an answer ends properly after half an event", () =>
      Effect.gen(function* () {
        assertWhole(yield* life((proxy) => proxy.inject(isWatch, { _tag: "HalfEvent", afterEvents: 1, then: "close" })))
      })
    )

    it.effect("loses nothing when bytes drip, three at a time", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) => proxy.inject(isWatch, { _tag: "Drip", bytes: 3, everyMillis: 1 }))
        assertWhole(run)
        assert.strictEqual(watches(run), 1)
      })
    )

    it.effect("lists again after 410 as a status", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) =>
          proxy.inject(isWatch, {
            _tag: "Answer",
            status: 410,
            body: status(410, "Expired", "The resourceVersion for the provided watch is too old.")
          })
        )
        assertInOrder(run)
        assert.deepStrictEqual([lists(run), watches(run)], [2, 2])
      })
    )

    it.effect("lists again after 410 as an event", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) =>
          proxy.inject(isWatch, {
            _tag: "Insert",
            afterEvents: 1,
            line: errorEvent(410, "Expired", "too old resource version: 1 (9)")
          })
        )
        assertInOrder(run)
        assert.strictEqual(lists(run), 2)
      })
    )

    it.effect("rides out 504 Too large resource version, as a status and as an event", () =>
      Effect.gen(function* () {
        const message = "Timeout: Too large resource version: 9, current: 3"
        const run = yield* life(
          (proxy) =>
            proxy.inject(
              isWatch,
              { _tag: "Answer", status: 504, body: status(504, "Timeout", message, { retryAfterSeconds: 1 }) },
              { _tag: "Insert", afterEvents: 0, line: errorEvent(504, "Timeout", message) }
            ),
          // slow enough that the third watch is still wanted
          { pace: 1000 }
        )
        assertInOrder(run)
        assert.deepStrictEqual([lists(run), watches(run)], [3, 3])
      })
    )

    it.effect("waits as long as 429 asks for, and loses nothing", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) =>
          proxy.inject(isWatch, {
            _tag: "Answer",
            status: 429,
            headers: { "retry-after": "2", "content-type": "text/plain" },
            body: "Too many requests, please try again later."
          })
        )
        assertWhole(run)
        const [first, second] = run.proxy.seen.filter(isWatch)
        // jitter takes a quarter at most
        assert.isAtLeast(second!.at - first!.at, 1500)
      })
    )

    it.effect("loses nothing to 500 and 503, nor to an HTML page with 502", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) =>
          proxy.inject(
            isWatch,
            { _tag: "Answer", status: 500, body: status(500, "InternalError", "etcdserver: leader changed") },
            { _tag: "Answer", status: 502, headers: { "content-type": "text/html" }, body: "<html>Bad Gateway</html>" }
          )
        )
        assertWhole(run)
        assert.deepStrictEqual([lists(run), watches(run)], [1, 3])
      })
    )

    it.effect("notices a silent connection, and finds out what it has missed", () =>
      Effect.gen(function* () {
        const run = yield* life((proxy) => proxy.inject(isWatch, { _tag: "SilentAfter", afterEvents: 1 }), {
          watchTimeout: 1000
        })
        assertWhole(run)
        assert.isAtLeast(watches(run), 2)
      })
    )

    it.effect("finds out what bookmarks alone have passed over in silence", () =>
      Effect.gen(function* () {
        const run = yield* life(
          (proxy) => proxy.inject(isWatch, { _tag: "Only", matches: (line) => line.includes(`"BOOKMARK"`) }),
          { watchTimeout: 6000 }
        )
        assertInOrder(run)
      })
    )

    it.effect(
      "goes on over an API server that restarts with its data",
      () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const run = yield* life(() => Effect.void, { between: server.restart({ data: "kept" }) })
          assertInOrder(run)
        }),
      patience
    )

    it.effect(
      "tells that the Compute is gone when the API server comes back empty",
      () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const run = yield* life(() => Effect.void, {
            watchTimeout: 6000,
            between: server.restart({ data: "empty" })
          })
          assertInOrder(run)
        }),
      patience
    )

    it.effect("lets a handler's own failure through, and leaves no connection behind", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const namespace = yield* server.namespace
        const proxy = yield* FaultProxy.make({ url: server.url, ca: server.serverAuthority.cert })
        const config = KubeConfig.layerOptions({ server: proxy.url, token: server.token })
        const error = yield* Effect.gen(function* () {
          const watch = yield* ComputeWatch
          return yield* watch.observe({ namespace, name: "a" }).pipe(
            Stream.runForEach(() => Effect.fail("the user's own")),
            Effect.flip
          )
        }).pipe(Effect.provide(kubernetes(config)))
        assert.strictEqual(error, "the user's own")
        while (proxy.connections() > 0) yield* Effect.sleep(10)
      })
    )

    it.effect("serves fifty observers with one watch, and closes it a moment after the last", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const namespace = yield* server.namespace
        const proxy = yield* FaultProxy.make({ url: server.url, ca: server.serverAuthority.cert })
        const config = KubeConfig.layerOptions({ server: proxy.url, token: server.token })
        yield* Effect.gen(function* () {
          const api = yield* ComputeApi
          const watch = yield* ComputeWatch
          const names = Array.from({ length: 50 }, (_, i) => `c-${i}`)
          const fibers = yield* Effect.forEach(names, (name) =>
            watch.observe({ namespace, name }).pipe(
              Stream.filter(({ _tag }) => _tag === "Present"),
              Stream.take(1),
              Stream.runDrain,
              Effect.forkChild
            )
          )
          yield* Effect.forEach(names, (name) => api.apply({ namespace, name, spec: { image: "a" } }), {
            concurrency: 8
          })
          yield* Effect.forEach(fibers, Fiber.join)
          assert.deepStrictEqual([proxy.seen.filter(isList).length, proxy.seen.filter(isWatch).length], [1, 1])
          const before = proxy.connections()
          while (proxy.connections() >= before) yield* Effect.sleep(50)
        }).pipe(Effect.provide(kubernetes(config)))
      })
    )

    it.effect("watches by name where RBAC allows only single names", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const namespace = yield* server.namespace
        const admin = yield* ApiClient.make({ url: server.url, token: server.token, ca: server.serverAuthority.cert })
        const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`
        yield* admin.request("POST", `${rbac}/roles`, {
          body: {
            metadata: { name: "one" },
            rules: [
              { apiGroups: ["compute.kpu.dev"], resources: ["computes"], verbs: ["create"] },
              {
                apiGroups: ["compute.kpu.dev"],
                resources: ["computes"],
                resourceNames: ["mine"],
                verbs: ["get", "list", "watch", "patch", "delete"]
              }
            ]
          }
        })
        yield* admin.request("POST", `${rbac}/rolebindings`, {
          body: {
            metadata: { name: "one" },
            roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "one" },
            subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "bob" }]
          }
        })
        const proxy = yield* FaultProxy.make({ url: server.url, ca: server.serverAuthority.cert })
        const config = KubeConfig.layerOptions({ server: proxy.url, token: server.users["bob"]!.token })
        yield* Effect.gen(function* () {
          const api = yield* ComputeApi
          const watch = yield* ComputeWatch
          const ref = { namespace, name: "mine" }
          const applied = yield* api.apply({ ...ref, spec: { image: "a" } })
          const fiber = yield* watch
            .observe(ref, { since: applied.metadata.resourceVersion })
            .pipe(Stream.takeUntil(isReady), Stream.runCollect, Effect.forkChild)
          yield* Effect.sleep(300)
          yield* setReady(namespace, "mine", "True")
          assert.strictEqual((yield* Fiber.join(fiber)).length, 2)
          const error = yield* watch.observe({ namespace, name: "theirs" }).pipe(Stream.runDrain, Effect.flip)
          assert.strictEqual(error._tag === "KubernetesError" ? error.reason._tag : undefined, "Forbidden")
          assert.include(error.message, `cannot list resource "computes"`)
        }).pipe(Effect.provide(kubernetes(config)))
      })
    )
  })
})
