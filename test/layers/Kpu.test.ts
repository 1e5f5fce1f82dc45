/** The whole client as a value: one layer is one client, two layers are two. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Compute, ComputeApi, Kpu, KubeConfig, LocalCluster, Tensor } from "effect-kpu"
import type { ClusterShape } from "../../src/LocalCluster.ts"

const clientOf = ({ token, url }: ClusterShape, namespace: string) =>
  Kpu.layerWith({ namespace, config: KubeConfig.layerOptions({ server: url, token }) })

const apply = (name: string) => Effect.scoped(Compute.apply({ name }))

const namesIn = (namespace: string) =>
  Effect.gen(function* () {
    const { items } = yield* (yield* ComputeApi).list({ namespace })
    return items.map(({ metadata }) => metadata.name)
  })

describe("two layers in one program", () => {
  const clusters = Effect.all([LocalCluster.start({ namespaces: ["team-a"] }), LocalCluster.start({})])

  it.live("are two clients, one used within the other", () =>
    Effect.gen(function* () {
      const [a, b] = yield* clusters
      const inA = clientOf(a, "team-a")
      const inB = clientOf(b, "default")
      yield* Effect.gen(function* () {
        yield* apply("outer")
        yield* apply("inner").pipe(Effect.provide(inB))
        assert.deepStrictEqual(yield* namesIn("team-a"), ["outer"])
        assert.deepStrictEqual(yield* namesIn("default").pipe(Effect.provide(inB)), ["inner"])
      }).pipe(Effect.provide(inA))
    }).pipe(Effect.scoped)
  )

  it.live("are two clients, side by side", () =>
    Effect.gen(function* () {
      const [a, b] = yield* clusters
      const [, , ofA, ofB] = yield* Effect.all(
        [
          apply("one").pipe(Effect.provide(clientOf(a, "default"))),
          apply("other").pipe(Effect.provide(clientOf(b, "default"))),
          namesIn("default").pipe(Effect.delay("200 millis"), Effect.provide(clientOf(a, "default"))),
          namesIn("default").pipe(Effect.delay("200 millis"), Effect.provide(clientOf(b, "default")))
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([ofA, ofB], [["one"], ["other"]])
    }).pipe(Effect.scoped)
  )

  it.live("find the namespace of each one's own configuration", () =>
    Effect.gen(function* () {
      const [a, b] = yield* clusters
      const namespaceOf = (cluster: ClusterShape, namespace: string) => {
        const config = KubeConfig.layerOptions({ server: cluster.url, token: cluster.token, namespace })
        return Kpu.layerWith({ config })
      }
      const name = Effect.scoped(Effect.map(Compute.apply({ name: "x" }), ({ namespace }) => namespace))
      const both = Effect.all([name, name.pipe(Effect.provide(namespaceOf(b, "default")))])
      assert.deepStrictEqual(yield* both.pipe(Effect.provide(namespaceOf(a, "team-a"))), ["team-a", "default"])
    }).pipe(Effect.scoped)
  )

  it.live("of embedded clusters are two clusters, tensors included", () =>
    Effect.gen(function* () {
      const round = Effect.gen(function* () {
        const compute = yield* Compute.scoped({ name: "same" })
        yield* compute.streamTensors([Tensor.zeros([1])]).pipe(Stream.runDrain)
        return (yield* compute.resource).metadata.uid
      })
      const inner = round.pipe(Effect.scoped, Effect.provide(LocalCluster.layerWith({ startDelay: 0 })))
      const [outer, within] = yield* Effect.all([round, inner])
      assert.notStrictEqual(outer, within)
    }).pipe(Effect.scoped, Effect.provide(LocalCluster.layerWith({ startDelay: 0 })))
  )
})

describe("one layer", () => {
  it.live("is one client, wherever it is provided", () =>
    Effect.gen(function* () {
      const cluster = yield* LocalCluster.start({})
      const layer = clientOf(cluster, "default")
      const [outer, inner] = yield* Effect.all([Kpu, Kpu.pipe(Effect.provide(layer))]).pipe(Effect.provide(layer))
      assert.strictEqual(outer, inner)
    }).pipe(Effect.scoped)
  )

  it.live("is one embedded cluster", () =>
    Effect.gen(function* () {
      const outer = yield* Effect.all([LocalCluster, Kpu])
      const inner = yield* Effect.all([LocalCluster, Kpu]).pipe(Effect.provide(LocalCluster.layer))
      assert.strictEqual(outer[0], inner[0])
      assert.strictEqual(outer[1], inner[1])
    }).pipe(Effect.provide(LocalCluster.layer))
  )
})
