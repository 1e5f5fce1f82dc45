/**
 * The whole client through a cluster's weather: a real API server behind a proxy that breaks the wire, a controller in
 * the operator's part, and a tensor server that every Compute is dialled at.
 */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Compute from "../../src/Compute.ts"
import { Endpoint } from "../../src/Endpoint.ts"
import { Kpu, type TimeoutOptions } from "../../src/Kpu.ts"
import { KubeConfig } from "../../src/KubeConfig.ts"
import * as TensorServer from "../../src/local/TensorServer.ts"
import { Tensor } from "../../src/Tensor.ts"
import * as Controller from "../kit/Controller.ts"
import * as FaultProxy from "../kit/FaultProxy.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"
import { describeWith } from "../kit/peers.ts"

const { isApply, isDelete, isList, isWatch, status } = FaultProxy

/** The API server, the operator's part, and a tensor server. */
class Cluster extends Context.Service<
  Cluster,
  {
    readonly server: KubeApiServer["Service"]
    readonly controller: Controller.Controller
    readonly port: number
  }
>()("effect-kpu/test/FaultyCluster") {
  static readonly layer = Layer.effect(
    Cluster,
    Effect.gen(function* () {
      const server = yield* KubeApiServer
      const controller = yield* Controller.make({
        url: server.url,
        token: server.token,
        ca: server.serverAuthority.cert
      })
      const tensors = yield* Effect.acquireRelease(
        Effect.promise(() =>
          TensorServer.start({ host: "127.0.0.1", port: 0, chunkSize: 1 << 20, maxMessageBytes: 64 << 20 })
        ),
        (server) => Effect.promise(() => server.close())
      )
      return { server, controller, port: tensors.port }
    })
  ).pipe(Layer.provide(KubeApiServer.layerWith({})))
}

interface Place {
  readonly proxy: FaultProxy.FaultProxy
  readonly namespace: string
  /** The Computes that really stand there. */
  readonly remaining: Effect.Effect<ReadonlyArray<string>>
}

/** Runs with a client of its own in a namespace of its own, through a proxy; afterwards no connection is left. */
const through = <A, E>(
  body: (place: Place) => Effect.Effect<A, E, Kpu | Cluster | Scope.Scope>,
  timeouts: TimeoutOptions = {}
) =>
  Effect.gen(function* () {
    const { port, server } = yield* Cluster
    const namespace = yield* server.namespace
    const proxy = yield* FaultProxy.make({ url: server.url, ca: server.serverAuthority.cert })
    const remaining = Effect.map(
      server.request("GET", `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes`),
      ({ body }) => (body.items as ReadonlyArray<Compute.Resource>).map(({ metadata }) => metadata.name)
    )
    const exit = yield* body({ proxy, namespace, remaining }).pipe(
      Effect.scoped,
      Effect.provide(
        Kpu.layerWith({
          config: KubeConfig.layerOptions({ server: proxy.url, token: server.token }),
          namespace,
          endpoint: Endpoint.layerOverride("127.0.0.1", port),
          timeouts
        })
      ),
      Effect.exit
    )
    while (proxy.connections() > 0) yield* Effect.sleep(10)
    return yield* exit
  })

/** Restarts and backoffs add up on a slow machine. */
const patience = 300_000

const options = { name: "subject", image: "example/server" }

describeWith(["kubernetes"], "the client, through a cluster's weather", () => {
  layer(Cluster.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("a scoped Compute serves and is deleted in a storm", () =>
      through(({ proxy, remaining }) =>
        Effect.gen(function* () {
          yield* proxy.inject(isApply, { _tag: "Reset" }, { _tag: "LoseAnswer" })
          yield* proxy.inject(isList, { _tag: "Answer", status: 503, body: status(503, "ServiceUnavailable", "x") })
          yield* proxy.injectAlways(isWatch, { _tag: "CloseAfter", afterEvents: 1 })
          yield* proxy.inject(isDelete, { _tag: "LoseAnswer" })
          yield* Effect.scoped(
            Effect.gen(function* () {
              const compute = yield* Compute.scoped(options)
              const receipt = yield* compute.sendTensors([Tensor.zeros([2, 2])])
              assert.isTrue(receipt.success)
            })
          )
          assert.deepStrictEqual(yield* remaining, [])
          assert.isAtLeast(proxy.seen.filter(isDelete).length, 2)
        })
      )
    )

    it.effect("an apply whose every answer is lost fails, and leaves nothing behind", () =>
      through(({ proxy, remaining }) =>
        Effect.gen(function* () {
          yield* proxy.injectAlways(isApply, { _tag: "LoseAnswer" })
          const error = yield* Effect.flip(Effect.scoped(Compute.scoped(options)))
          assert.strictEqual(error._tag, "KubernetesError")
          assert.include(error.message, "apply Compute")
          assert.deepStrictEqual(yield* remaining, [])
        })
      )
    )

    it.effect("a wait ends when the API server falls silent, at the time asked for and not before", () =>
      through(({ proxy }) =>
        Effect.gen(function* () {
          const { controller } = yield* Cluster
          yield* controller.pause
          const compute = yield* Compute.apply(options)
          yield* proxy.injectAlways(isWatch, { _tag: "SilentAfter", afterEvents: 0 })
          const started = performance.now()
          const error = yield* Effect.flip(compute.ready({ timeout: "500 millis" }))
          assert.isAtLeast(performance.now() - started, 499)
          assert.strictEqual(error._tag, "ReadyTimeout")
          yield* controller.resume
        })
      )
    )

    it.effect(
      "a wait goes on over an API server that restarts with its data",
      () =>
        through(() =>
          Effect.gen(function* () {
            const { controller, server } = yield* Cluster
            yield* controller.pause
            const compute = yield* Compute.apply(options)
            const wait = yield* Effect.forkChild(compute.ready())
            yield* Effect.sleep("300 millis")
            yield* server.restart({ data: "kept" })
            assert.isUndefined(wait.pollUnsafe())
            yield* controller.resume
            yield* Fiber.join(wait)
            assert.isTrue(yield* compute.isReady)
          })
        ),
      patience
    )

    it.effect("sixty waits at once are one list and one watch, over resets", () =>
      through(({ proxy }) =>
        Effect.gen(function* () {
          yield* proxy.inject(isWatch, { _tag: "ResetAfter", afterEvents: 5 })
          const names = Array.from({ length: 60 }, (_, i) => `many-${i}`)
          yield* Effect.forEach(
            names,
            (name) =>
              Effect.flatMap(Compute.apply({ ...options, name }), (compute) => compute.ready({ timeout: "1 minute" })),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual([proxy.seen.filter(isList).length, proxy.seen.filter(isWatch).length], [1, 2])
        })
      )
    )

    it.effect("a deletion that the server keeps refusing is bounded, and the scope closes", () =>
      through(
        ({ proxy, remaining }) =>
          Effect.gen(function* () {
            const scope = yield* Scope.make()
            yield* Scope.provide(Compute.scoped(options), scope)
            yield* proxy.injectAlways(isDelete, {
              _tag: "Answer",
              status: 503,
              body: status(503, "ServiceUnavailable", "x")
            })
            yield* Scope.close(scope, Exit.void)
            assert.deepStrictEqual(yield* remaining, ["subject"])
          }),
        { deletion: "1 second" }
      )
    )

    // last, as it empties the API server
    it.effect(
      "a wait tells that the Compute is gone when the API server comes back empty",
      () =>
        through(() =>
          Effect.gen(function* () {
            const { controller, server } = yield* Cluster
            yield* controller.pause
            const compute = yield* Compute.apply(options)
            const wait = yield* Effect.forkChild(Effect.flip(compute.ready()))
            yield* Effect.sleep("300 millis")
            yield* server.restart({ data: "empty" })
            assert.strictEqual((yield* Fiber.join(wait))._tag, "ComputeDeleted")
          })
        ),
      patience
    )
  })
})
