/**
 * Several Computes in parallel: each takes the next batch as soon as it is done with one. Should one of them fail, the
 * others are interrupted, and all are deleted.
 */
import { NodeRuntime } from "@effect/platform-node"
import { type Cause, Effect, Queue, Stream } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

const workers = ["parallel-a", "parallel-b", "parallel-c"]

export const program = Effect.gen(function* () {
  const batches = Array.from({ length: 12 }, (_, index) => Tensor.randn([64, 64], { seed: index }))
  const waiting = yield* Queue.unbounded<Tensor, Cause.Done>()
  yield* Queue.offerAll(waiting, batches)
  yield* Queue.end(waiting)

  const work = (name: string) =>
    Effect.gen(function* () {
      const compute = yield* Compute.scoped({ name })
      const results = yield* compute
        .streamTensors(Stream.fromQueue(waiting).pipe(Stream.rechunk(1)))
        .pipe(Stream.runCollect)
      yield* Effect.log(`${name} did ${results.length} of ${batches.length}`)
      return results.length
    }).pipe(Effect.scoped)

  const done = yield* Effect.forEach(workers, work, { concurrency: "unbounded" })
  return { done, of: batches.length }
})

if (import.meta.main) program.pipe(Effect.provide(Kpu.layer), NodeRuntime.runMain)
