/**
 * The changes of a namespace's Computes: those that are there first, then each that changes. Rides out what a watch has
 * to ride out; the client's own state machine says when to list again.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { initial, step, type WatchInput, type WatchState } from "../layers/internal/kubernetes/watchMachine.ts"
import type { ComputeResource } from "../schema/ComputeResource.ts"
import { type ApiError, ComputeApi } from "../services/ComputeApi.ts"

export interface Change {
  readonly deleted: boolean
  readonly resource: ComputeResource
}

/** Never ends by itself; fails where no retry helps. */
export const watchNamespace = (options: {
  readonly namespace: string
  readonly labelSelector?: string | undefined
}): Stream.Stream<Change, ApiError, ComputeApi> =>
  Stream.callback<Change, ApiError, ComputeApi>(
    (queue) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const known = new Map<string, ComputeResource>()
        let state = initial as WatchState
        const happened = (input: WatchInput) => {
          state = step(state, input)
        }
        const changed = (resource: ComputeResource) => {
          const { resourceVersion, uid } = resource.metadata
          if (known.get(uid)?.metadata.resourceVersion === resourceVersion) return Effect.void
          known.set(uid, resource)
          return Queue.offer(queue, { deleted: false, resource })
        }
        const gone = (resource: ComputeResource) =>
          known.delete(resource.metadata.uid) ? Queue.offer(queue, { deleted: true, resource }) : Effect.void
        while (true) {
          const current = state as WatchState
          switch (current._tag) {
            case "Listing": {
              const listed = yield* Effect.result(api.list(options))
              if (listed._tag === "Failure") {
                happened({ _tag: "Failure", error: listed.failure })
                break
              }
              const uids = new Set(listed.success.items.map(({ metadata }) => metadata.uid))
              // What went while nobody watched.
              for (const resource of [...known.values()]) if (!uids.has(resource.metadata.uid)) yield* gone(resource)
              for (const resource of listed.success.items) yield* changed(resource)
              happened({ _tag: "Listed", list: listed.success })
              break
            }
            case "Watching": {
              const opened = yield* Clock.currentTimeMillis
              const ended = yield* api.watch({ ...options, resourceVersion: current.resourceVersion }).pipe(
                Stream.runForEach((event) => {
                  happened({ _tag: "Event", event })
                  if (event._tag === "Bookmark") return Effect.void
                  return event._tag === "Deleted" ? gone(event.resource) : changed(event.resource)
                }),
                Effect.result
              )
              const millis = (yield* Clock.currentTimeMillis) - opened
              happened(ended._tag === "Success" ? { _tag: "Ended", millis } : { _tag: "Failure", error: ended.failure })
              break
            }
            case "Waiting":
              yield* Effect.logDebug(`the watch broke off: ${current.error?.message ?? "the server ended it at once"}`)
              yield* Effect.sleep(current.millis)
              happened({ _tag: "Waited" })
              break
            case "Failed":
              return yield* Effect.fail(current.error)
          }
        }
      }),
    { bufferSize: 256, strategy: "suspend" }
  )
