/**
 * The client as one service: what `Compute.apply`, `Compute.scoped` and `Compute.attach` need. It composes the Compute
 * API, the watch, the endpoint and the tensor client; `Kpu.layer` makes it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ComputeOptions, DialOptions, ScopedOptions } from "../schema/ComputeOptions.ts"
import type { InvalidInput } from "../schema/KpuError.ts"
import type { ApiError } from "./ComputeApi.ts"
import type { Handle, ReadyError } from "./ComputeHandle.ts"

export class Kpu extends Context.Service<
  Kpu,
  {
    readonly apply: (options: ComputeOptions) => Effect.Effect<Handle, ApiError | InvalidInput, Scope.Scope>
    readonly scoped: (options: ScopedOptions) => Effect.Effect<Handle, ReadyError, Scope.Scope>
    readonly attach: (
      name: string,
      options?: DialOptions
    ) => Effect.Effect<Handle, ApiError | InvalidInput, Scope.Scope>
  }
>()("effect-kpu/Kpu") {}
