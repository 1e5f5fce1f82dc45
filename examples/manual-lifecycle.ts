/**
 * Manual lifecycle: a Compute that outlives this program until it is deleted by name. Applying twice is one Compute.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

const options = { name: "manual-lifecycle", image: "localhost:5001/kpu-torch-server:latest" }

const setUp = Effect.gen(function* () {
  const compute = yield* Compute.apply(options)
  yield* Effect.log(`applied; ready: ${yield* compute.isReady}`)
  yield* compute.ready({ timeout: "10 minutes" })
  const { status } = yield* compute.resource
  for (const condition of status?.conditions ?? []) yield* Effect.log(`${condition.type}=${condition.status}`)
}).pipe(Effect.scoped)

const work = Effect.gen(function* () {
  // Another program, another day: the Compute is there already.
  const compute = yield* Compute.attach(options.name)
  yield* compute.ready()
  const receipt = yield* compute.sendTensors([Tensor.zeros([3, 3])])
  return receipt.message
}).pipe(Effect.scoped)

const tearDown = Effect.gen(function* () {
  const compute = yield* Compute.attach(options.name)
  yield* compute.delete({ gracePeriod: "60 seconds" })
}).pipe(Effect.scoped)

export const program = Effect.gen(function* () {
  yield* setUp
  const message = yield* work
  yield* Effect.log(message)
  yield* tearDown
  return message
})

if (import.meta.main) program.pipe(Effect.provide(Kpu.layer), NodeRuntime.runMain)
