/**
 * What this process holds: memory by its kinds, and sockets.
 *
 * **Gotchas**
 *
 * After work V8 keeps its young generation for the next: up to 128 MiB of empty pages. Only a collection of the last
 * resort gives them back, so the resident memory is taken before and after one.
 */
import { readdirSync, readlinkSync } from "node:fs"
import * as Effect from "effect/Effect"

export interface Footprint {
  /** Pages of the process in memory, with all that V8 keeps for later. */
  readonly asLeft: number
  /** The same when V8 has given back what it can. */
  readonly resident: number
  /** What live JavaScript objects take, after a collection. */
  readonly heap: number
  /** Memory beside the heap that JavaScript objects hold, buffers included. */
  readonly external: number
  readonly sockets: number
}

const countSockets = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:")
    } catch {
      return false
    }
  }).length

/** Collects several times: finalizers of one collection free what the next one finds. */
export const footprint: Effect.Effect<Footprint> = Effect.gen(function* () {
  const collect = (flavor: "regular" | "last-resort") =>
    Effect.andThen(
      Effect.sync(() => globalThis.gc?.({ type: "major", execution: "sync", flavor })),
      Effect.sleep("50 millis")
    )
  yield* collect("regular")
  yield* collect("regular")
  const asLeft = process.memoryUsage.rss()
  yield* collect("last-resort")
  const { external, heapUsed, rss } = process.memoryUsage()
  return { asLeft, resident: rss, heap: heapUsed, external, sockets: countSockets() }
})
