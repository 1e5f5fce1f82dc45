/**
 * A service that holds a Compute in its Layer: applied when the layer is built, shared by all that use it, deleted when
 * the application ends. Its users know nothing of Computes.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Context, Data, Effect, Layer, Stream } from "effect"
import { Compute, Kpu, type KpuError, Tensor } from "effect-kpu"

export class ModelUnavailable extends Data.TaggedError("ModelUnavailable")<{ readonly cause: KpuError }> {}

export class Model extends Context.Service<
  Model,
  {
    /** What the model makes of a row of features. */
    readonly predict: (features: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<number>, ModelUnavailable>
  }
>()("example/Model") {
  static readonly layer = Layer.effect(
    Model,
    Effect.gen(function* () {
      const compute = yield* Compute.scoped({ name: "model", env: { MODEL: "resnet" } })
      return Model.of({
        predict: Effect.fn("Model.predict")(
          function* (features) {
            const input = Tensor.fromTypedArray(Float32Array.from(features), [1, features.length])
            const [output] = yield* compute.streamTensors([input]).pipe(Stream.runCollect)
            return Array.from(Tensor.toFloat32Array(output ?? input))
          },
          Effect.mapError((cause) => new ModelUnavailable({ cause }))
        )
      })
    })
  )
}

export const program = Effect.gen(function* () {
  const model = yield* Model
  // Calls share the one connection.
  return yield* Effect.forEach(
    [
      [1, 2, 3],
      [4, 5, 6]
    ],
    (features) => model.predict(features),
    { concurrency: 2 }
  )
})

if (import.meta.main) {
  program.pipe(Effect.tap(Effect.log), Effect.provide(Model.layer), Effect.provide(Kpu.layer), NodeRuntime.runMain)
}
