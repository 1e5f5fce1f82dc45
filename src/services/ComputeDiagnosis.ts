/**
 * Why a Compute does not start: what its Pod and the events say. The operator's conditions do not tell.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ComputeResource } from "../schema/ComputeResource.ts"
import type { ComputeFailed } from "../schema/KpuError.ts"

export class ComputeDiagnosis extends Context.Service<
  ComputeDiagnosis,
  {
    /**
     * Looks at the Compute's Pod from time to time, and fails when it cannot start: at once where waiting cannot mend
     * it, after a grace time where it can. It never succeeds and has no other error: race it with a wait. Without the
     * permission to look it stays silent, and `summary` says so.
     */
    readonly watch: (compute: ComputeResource) => Effect.Effect<never, ComputeFailed>
    /** What there is to see of the Compute's Pod now, in a sentence; for the message of a wait that timed out. */
    readonly summary: (compute: ComputeResource) => Effect.Effect<string>
  }
>()("effect-kpu/ComputeDiagnosis") {}
