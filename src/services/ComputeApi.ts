/**
 * The Kubernetes API for Computes, one method a request. Errors are typed by what the server said; what is retryable
 * and idempotent has been retried, within bounds, before an error is seen here.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ComputeResource, ComputeSpec } from "../schema/ComputeResource.ts"
import type { KubeConfigError } from "../schema/KpuError.ts"
import type { KubernetesError } from "../schema/KubernetesError.ts"

/** A Compute's place. */
export interface ComputeRef {
  readonly namespace: string
  readonly name: string
}

/** A list, and the resource version from which a watch goes on without a gap. */
export interface ComputeList {
  readonly resourceVersion: string
  readonly items: ReadonlyArray<ComputeResource>
}

/** One event of a watch. A bookmark carries only a resource version to go on from. */
export type WatchEvent =
  | { readonly _tag: "Added" | "Modified" | "Deleted"; readonly resource: ComputeResource }
  | { readonly _tag: "Bookmark"; readonly resourceVersion: string; readonly initialEventsEnd: boolean }

export type ApiError = KubernetesError | KubeConfigError

export interface ApplyOptions extends ComputeRef {
  /** All that this field manager wants of the spec: what it leaves out and sent before is removed. */
  readonly spec: ComputeSpec
  /** Takes over fields that other managers own; true by default. */
  readonly force?: boolean | undefined
  /** The Compute must still be at this version. */
  readonly resourceVersion?: string | undefined
  /** The Compute must still be this one. */
  readonly uid?: string | undefined
}

export interface ListOptions {
  readonly namespace: string
  readonly fieldSelector?: string | undefined
  readonly labelSelector?: string | undefined
  /** `"0"` allows a cached answer. */
  readonly resourceVersion?: string | undefined
}

export interface WatchOptions {
  readonly namespace: string
  readonly fieldSelector?: string | undefined
  readonly labelSelector?: string | undefined
  /** Where to go on from. */
  readonly resourceVersion?: string | undefined
  /** The server ends the watch after so long; a while later the connection counts as dead. */
  readonly timeoutSeconds?: number | undefined
}

export interface DeleteOptions extends ComputeRef {
  /** Deletes only the Compute with this uid: another one of the same name counts as gone. */
  readonly uid?: string | undefined
  readonly gracePeriodSeconds?: number | undefined
}

export class ComputeApi extends Context.Service<
  ComputeApi,
  {
    /** The field manager under which this client applies. */
    readonly fieldManager: string
    /** Server-side apply: creates or updates. */
    readonly apply: (options: ApplyOptions) => Effect.Effect<ComputeResource, ApiError>
    readonly get: (ref: ComputeRef) => Effect.Effect<ComputeResource, ApiError>
    readonly list: (options: ListOptions) => Effect.Effect<ComputeList, ApiError>
    /** Asks for deletion; `"absent"` when there is no such Compute, or one with another uid. */
    readonly delete: (options: DeleteOptions) => Effect.Effect<"accepted" | "absent", ApiError>
    /** One watch connection. It ends when the server ends it; going on is the caller's. */
    readonly watch: (options: WatchOptions) => Stream.Stream<WatchEvent, ApiError>
  }
>()("effect-kpu/ComputeApi") {}
