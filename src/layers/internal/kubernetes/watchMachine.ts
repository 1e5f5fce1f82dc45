/**
 * The life of a watch as a state machine, after kube-rs's `watcher`: list, watch on from the list, list again when the
 * history is gone. `step` is pure: it says what to do next; `ComputeWatchShared` does it.
 *
 * **Details**
 *
 * | happens | then |
 * |---|---|
 * | the server ends a watch that brought something | watch on from the last version, at once |
 * | it ends one that lasted and brought nothing, not even a bookmark | list: see below |
 * | it ends one at once | watch on from the last version after a backoff |
 * | 410, as a status or as an event | list, then watch on: the history is compacted |
 * | 504 "Too large resource version" | list after a backoff: the server is behind, or was restored from a backup |
 * | nobody listens, or connections break twice in a row | list after a backoff: what comes back may be empty |
 * | one reset, silence, half an event, 429, 5xx | watch on from the last version after a backoff (`Retry-After` at least) |
 * | 401, 403, no CRD, and other refusals | fail; once the watch has worked, only when it happens three times in a row |
 *
 * **Gotchas**
 *
 * kube-apiserver 1.34 answers a watch from a version that it has not reached with silence: it drops what happens until
 * then and says nothing. A server that lost its data would so be watched in vain; that is why a watch that brought
 * nothing proves nothing.
 *
 * The backoff starts at 0.8 s and doubles up to 30 s; what comes over a watch ends it.
 */
import type { KubernetesError } from "../../../schema/KubernetesError.ts"
import type { ApiError, ComputeList, WatchEvent } from "../../../services/ComputeApi.ts"

interface Health {
  /** Failures and empty watches in a row: how far the backoff has grown. */
  readonly attempts: number
  /** Refusals in a row. */
  readonly refusals: number
  /** Whether a list has ever succeeded. */
  readonly synced: boolean
}

/** What is to be done now. */
export type WatchState =
  /** List everything, without a resource version: the answer is no older than any write before it. */
  | { readonly _tag: "Listing"; readonly health: Health }
  /** Watch on from a version. `events` counts what this connection has brought. */
  | { readonly _tag: "Watching"; readonly resourceVersion: string; readonly events: number; readonly health: Health }
  /** Wait, then list (no `resourceVersion`) or watch on. `error` is `undefined` after a watch that ended empty. */
  | {
      readonly _tag: "Waiting"
      readonly millis: number
      readonly resourceVersion: string | undefined
      readonly error: ApiError | undefined
      readonly health: Health
    }
  /** Nothing that a retry mends. */
  | { readonly _tag: "Failed"; readonly error: ApiError }

/** What has happened. */
export type WatchInput =
  | { readonly _tag: "Listed"; readonly list: ComputeList }
  | { readonly _tag: "Event"; readonly event: WatchEvent }
  /** The server ended the watch, `millis` after it was opened. */
  | { readonly _tag: "Ended"; readonly millis: number }
  | { readonly _tag: "Failure"; readonly error: ApiError }
  | { readonly _tag: "Waited" }

/** client-go's and kube-rs's values. */
export const firstBackoff = 800
export const maxBackoff = 30_000

/** An empty watch that lasted so long was a quiet one, and no reason to wait. */
export const quietMillis = 5_000

/** A refusal after things have worked is believed when it is repeated: a server that starts refuses for moments. */
export const believedRefusals = 3

export const initial: WatchState = { _tag: "Listing", health: { attempts: 0, refusals: 0, synced: false } }

export const versionOf = (event: WatchEvent): string =>
  event._tag === "Bookmark" ? event.resourceVersion : event.resource.metadata.resourceVersion

/** The version to go on from is too old: the server has forgotten what came after it. */
const isExpired = ({ reason }: KubernetesError): boolean =>
  reason._tag === "Rejected" && (reason.status === 410 || reason.statusReason === "Expired")

/** The version to go on from is newer than what the server knows. */
const isTooLarge = ({ reason }: KubernetesError): boolean =>
  reason._tag === "Unavailable" && /too large resource version/i.test(reason.message)

/** Nobody listens, or a proxy breaks every connection because nobody does: the server restarts. */
const isGone = ({ reason }: KubernetesError, { attempts }: Health): boolean =>
  reason._tag === "Transport" && (attempts > 0 || reason.code === "ECONNREFUSED")

const retryAfterMillis = (error: ApiError): number => {
  if (error._tag !== "KubernetesError") return 0
  const { reason } = error
  return reason._tag === "Throttled" || reason._tag === "Unavailable" ? (reason.retryAfterSeconds ?? 0) * 1000 : 0
}

const wait = (health: Health, resourceVersion: string | undefined, error: ApiError | undefined): WatchState => {
  const backoff = Math.min(maxBackoff, firstBackoff * 2 ** health.attempts)
  return {
    _tag: "Waiting",
    millis: error === undefined ? backoff : Math.max(backoff, retryAfterMillis(error)),
    resourceVersion,
    error,
    health: { ...health, attempts: health.attempts + 1 }
  }
}

const fail = (health: Health, error: ApiError, resourceVersion: string | undefined): WatchState => {
  if (error._tag === "KubernetesError") {
    if (isExpired(error)) {
      return health.attempts === 0
        ? { _tag: "Listing", health: { ...health, attempts: 1 } }
        : wait(health, undefined, error)
    }
    if (isTooLarge(error)) return wait(health, undefined, error)
    if (error.isRetryable) {
      return wait({ ...health, refusals: 0 }, isGone(error, health) ? undefined : resourceVersion, error)
    }
  }
  const refusals = health.refusals + 1
  return !health.synced || refusals >= believedRefusals
    ? { _tag: "Failed", error }
    : wait({ ...health, refusals }, resourceVersion, error)
}

/** What to do next. An input that the state does not wait for leaves it as it is. */
export const step = (state: WatchState, input: WatchInput): WatchState => {
  switch (state._tag) {
    case "Failed":
      return state
    case "Waiting":
      if (input._tag !== "Waited") return state
      return state.resourceVersion === undefined
        ? { _tag: "Listing", health: state.health }
        : { _tag: "Watching", resourceVersion: state.resourceVersion, events: 0, health: state.health }
    case "Listing":
      switch (input._tag) {
        case "Listed":
          return {
            _tag: "Watching",
            resourceVersion: input.list.resourceVersion,
            events: 0,
            // a list alone does not end the backoff: a server that lists and cannot watch would be asked without pause
            health: { ...state.health, refusals: 0, synced: true }
          }
        case "Failure":
          return fail(state.health, input.error, undefined)
        default:
          return state
      }
    case "Watching":
      switch (input._tag) {
        case "Event":
          return {
            _tag: "Watching",
            resourceVersion: versionOf(input.event),
            events: state.events + 1,
            health: { ...state.health, attempts: 0, refusals: 0 }
          }
        case "Ended":
          if (state.events > 0) return { ...state, events: 0 }
          return input.millis >= quietMillis
            ? { _tag: "Listing", health: { ...state.health, attempts: 0, refusals: 0 } }
            : wait(state.health, state.resourceVersion, undefined)
        case "Failure":
          return fail(state.health, input.error, state.resourceVersion)
        default:
          return state
      }
  }
}
