/**
 * What becomes of Computes, as it happens.
 */
import type * as Layer from "effect/Layer"
import * as Shared from "./layers/ComputeWatchShared.ts"
import type { ComputeApi } from "./services/ComputeApi.ts"
import * as Service from "./services/ComputeWatch.ts"

export type { Observation } from "./services/ComputeWatch.ts"

/**
 * The states of Computes as they change, over one watch connection for each namespace. `Kpu.layer` gives it too.
 *
 * **Example** (until a Compute is gone)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { ComputeWatch } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const watch = yield* ComputeWatch
 *   yield* watch.observe({ namespace: "team-a", name: "my-compute" }).pipe(
 *     Stream.takeUntil((observation) => observation._tag === "Absent"),
 *     Stream.runDrain
 *   )
 * })
 * ```
 */
export class ComputeWatch extends Service.ComputeWatch {
  /** One shared watch a namespace, reference-counted. */
  static readonly layer: Layer.Layer<Service.ComputeWatch, never, ComputeApi> = Shared.layer
}
