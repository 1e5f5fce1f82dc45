/**
 * Suspend and resume: a Compute that costs nothing overnight. `suspend` ends when the operator has acknowledged, `resume`
 * when the tensor server answers again.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

export const program = Effect.gen(function* () {
  const compute = yield* Compute.scoped({ name: "suspend-and-resume" })
  const before = yield* compute.sendTensors([Tensor.randn([8, 8])])

  yield* compute.suspend()
  // Tensors have nowhere to go now, and the error says so without a request.
  const refused = yield* Effect.flip(compute.sendTensors([Tensor.randn([8, 8])]))
  yield* Effect.log(refused.message)

  yield* compute.resume({ timeout: "5 minutes" })
  const after = yield* compute.sendTensors([Tensor.randn([8, 8])])
  return { before: before.message, refused: refused._tag, after: after.message }
}).pipe(Effect.scoped)

if (import.meta.main) program.pipe(Effect.provide(Kpu.layer), NodeRuntime.runMain)
