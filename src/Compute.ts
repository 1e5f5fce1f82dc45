/**
 * Computes as Effect programs use them: applied, awaited, streamed through, suspended, resumed, deleted.
 *
 * **When to use.** `scoped` for a Compute that lives as long as a program or a part of it; `apply` for one that stays;
 * `attach` for one that somebody else has made.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ComputeOptions, DialOptions, ScopedOptions } from "./schema/ComputeOptions.ts"
import type { ComputeResource } from "./schema/ComputeResource.ts"
import type { InvalidInput } from "./schema/KpuError.ts"
import type { ApiError } from "./services/ComputeApi.ts"
import type { Handle, ReadyError } from "./services/ComputeHandle.ts"
import { Kpu } from "./services/Kpu.ts"

export type { ComputeOptions, DialOptions, ScopedOptions } from "./schema/ComputeOptions.ts"
export type { Condition } from "./schema/Condition.ts"
export type {
  DeleteOptions,
  Handle,
  ReadyError,
  ReadyOptions,
  SuspendOptions,
  WaitError
} from "./services/ComputeHandle.ts"

/** A Compute as the API server holds it: what a handle's `resource` gives, and `changes` as it changes. */
export type Resource = ComputeResource

/**
 * Server-side apply: creates the Compute, or updates the one that is there. The handle is not ready yet.
 *
 * Closing the scope closes the gRPC connection and leaves the resource.
 *
 * **Example**
 *
 * ```ts
 * import { Compute } from "effect-kpu"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.apply({ name: "my-compute", env: { LOG_LEVEL: "DEBUG" } })
 *   yield* compute.ready({ timeout: "10 minutes" })
 * }).pipe(Effect.scoped)
 * ```
 */
export const apply = (options: ComputeOptions): Effect.Effect<Handle, ApiError | InvalidInput, Kpu | Scope.Scope> =>
  Effect.flatMap(Kpu, (kpu) => kpu.apply(options))

/**
 * Applies a Compute, waits until it serves, and connects. However the scope closes — success, failure, interruption —
 * the Compute is deleted; so it is when the wait fails. A failure of the deletion is logged and masks nothing.
 *
 * **Example**
 *
 * ```ts
 * import { Compute, Tensor } from "effect-kpu"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   const receipt = yield* compute.sendTensors([Tensor.randn([100, 100])])
 *   yield* Effect.log(receipt.message)
 * }).pipe(Effect.scoped)
 * ```
 */
export const scoped = (options: ScopedOptions): Effect.Effect<Handle, ReadyError, Kpu | Scope.Scope> =>
  Effect.flatMap(Kpu, (kpu) => kpu.scoped(options))

/**
 * A handle on a Compute that exists; it is read once, and its absence is an error. Nothing deletes it.
 *
 * **Example**
 *
 * ```ts
 * import { Compute } from "effect-kpu"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.attach("my-compute")
 *   if (yield* compute.isReady) yield* Effect.log("Compute is ready")
 * }).pipe(Effect.scoped)
 * ```
 */
export const attach = (
  name: string,
  options?: DialOptions
): Effect.Effect<Handle, ApiError | InvalidInput, Kpu | Scope.Scope> =>
  Effect.flatMap(Kpu, (kpu) => kpu.attach(name, options))
