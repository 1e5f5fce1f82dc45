/**
 * Tests of one's own program: on the embedded cluster, over real sockets, with no Kubernetes. A law is tested with
 * property tests, and a cluster that misbehaves is one line.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Compute, LocalCluster, Tensor } from "effect-kpu"
import { halve, halveThrough } from "./halve.ts"

describe("halve", () => {
  it.prop("is undone by doubling", [Schema.Array(Schema.Finite)], ([values]) => {
    const data = Float32Array.from(values)
    const half = Tensor.toFloat32Array(halve(Tensor.fromTypedArray(data)))
    // What is too small to be halved exactly is not promised.
    return data.every((value, index) => Math.abs(value) < 1e-37 || half[index]! * 2 === value)
  })
})

describe("halveThrough", () => {
  it.live("gives what the server made of the halves, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const [output] = yield* halveThrough("halves", [Tensor.fromTypedArray(new Float32Array([2, 4, 6]))])
      assert.deepStrictEqual(Array.from(Tensor.toFloat32Array(output!)), [1, 2, 3])
      const gone = yield* Effect.flip(Effect.scoped(Compute.attach("halves")))
      assert.strictEqual(gone._tag, "KubernetesError")
    }).pipe(Effect.provide(LocalCluster.layer))
  )

  it.live("fails at once when the image does not exist", () =>
    Effect.gen(function* () {
      const cluster = yield* LocalCluster
      cluster.setPodTrouble("default", "halves", { reason: "ErrImageNeverPull", message: "no such image" })
      const error = yield* Effect.flip(halveThrough("halves", [Tensor.zeros([1])]))
      assert.strictEqual(error._tag, "ComputeFailed")
    }).pipe(Effect.provide(LocalCluster.layer))
  )

  it.live("is not disturbed by watches that break", () =>
    Effect.gen(function* () {
      const cluster = yield* LocalCluster
      yield* Effect.forkChild(
        Effect.sync(() => {
          cluster.compact()
          cluster.cutWatches()
        }).pipe(Effect.delay("20 millis"), Effect.repeat({ times: 10 }))
      )
      const output = yield* halveThrough("halves", [Tensor.zeros([1000])])
      assert.strictEqual(output.length, 1)
    }).pipe(Effect.provide(LocalCluster.layer))
  )
})
