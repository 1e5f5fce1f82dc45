/**
 * What becomes of a Compute: its states as they change. One watch connection serves all observers of a namespace.
 */
import * as Context from "effect/Context"
import type * as Stream from "effect/Stream"
import type { ComputeResource } from "../schema/ComputeResource.ts"
import type { ApiError, ComputeRef } from "./ComputeApi.ts"

/** A Compute, or its absence (never created, or deleted; `last` is what was seen before). */
export type Observation =
  | { readonly _tag: "Present"; readonly resource: ComputeResource }
  | { readonly _tag: "Absent"; readonly last: ComputeResource | undefined }

export class ComputeWatch extends Context.Service<
  ComputeWatch,
  {
    /**
     * The current state first, then every change, without end. Weather (closed watches, 410, 429, 5xx, resets) is
     * ridden out; only what no retry mends fails (credentials refused, permission missing, CRD not installed).
     *
     * With `since`, states older than that resource version are not shown: an absence that the server reported before
     * it, or a state that an apply has overtaken.
     */
    readonly observe: (
      ref: ComputeRef,
      options?: { readonly since?: string | undefined }
    ) => Stream.Stream<Observation, ApiError>
  }
>()("effect-kpu/ComputeWatch") {}
