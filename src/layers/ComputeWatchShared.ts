/**
 * One watch for all observers of a namespace: opened with the first, closed a moment after the last.
 *
 * **Details**
 *
 * `internal/watchMachine.ts` says what to do, `internal/computeStore.ts` what observers see; this file does it. Where
 * RBAC allows only single names, the wide watch is forbidden and each name gets a watch of its own, by the field
 * selector `metadata.name`, which a Role with `resourceNames` allows.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as RcMap from "effect/RcMap"
import * as Stream from "effect/Stream"
import { type ApiError, ComputeApi, type ComputeRef } from "../services/ComputeApi.ts"
import { ComputeWatch, type Observation } from "../services/ComputeWatch.ts"
import { ComputeStore, makeObserver, type Observer } from "./internal/kubernetes/computeStore.ts"
import { initial, step, type WatchInput, type WatchState } from "./internal/kubernetes/watchMachine.ts"
import { countWatchRestart } from "./internal/metrics.ts"

/** How long a watch stays open without observers: a handle that waits twice does not list twice. */
const idleTimeToLive = "2 seconds"

/** `namespace`, or `namespace/name` for a watch of one name. */
type Key = string

interface Shared {
  readonly store: ComputeStore
  readonly queues: Set<Queue.Queue<Observation, ApiError>>
  failure: ApiError | undefined
}

export interface LayerOptions {
  /**
   * How long the server may leave one watch open, in whole seconds; 60 s. A connection that has died silently is
   * noticed 10 s after that.
   */
  readonly watchTimeout?: Duration.Input | undefined
}

const make = Effect.fnUntraced(function* (options: LayerOptions) {
  const api = yield* ComputeApi
  const timeoutSeconds =
    options.watchTimeout === undefined
      ? undefined
      : Math.max(1, Math.ceil(Duration.toSeconds(Duration.fromInputUnsafe(options.watchTimeout))))
  /** Namespaces whose wide watch is forbidden. */
  const narrow = new Set<string>()

  const drive = Effect.fnUntraced(function* (key: Key, shared: Shared) {
    const [namespace = "", name] = key.split("/")
    const fieldSelector = name === undefined ? undefined : `metadata.name=${name}`
    let state: WatchState = initial
    const happened = (input: WatchInput) => {
      state = step(state, input)
    }
    while (true) {
      // `happened` changes it, which the compiler cannot see
      const current = state as WatchState
      switch (current._tag) {
        case "Listing": {
          const number = shared.store.beginList()
          yield* api.list({ namespace, fieldSelector }).pipe(
            Effect.match({
              onFailure: (error) => happened({ _tag: "Failure", error }),
              onSuccess: (list) => {
                happened({ _tag: "Listed", list })
                shared.store.replace(list, number)
              }
            })
          )
          break
        }
        case "Watching": {
          const opened = yield* Clock.currentTimeMillis
          const { resourceVersion } = current
          const result = yield* api.watch({ namespace, fieldSelector, resourceVersion, timeoutSeconds }).pipe(
            Stream.runForEach((event) =>
              Effect.sync(() => {
                happened({ _tag: "Event", event })
                shared.store.apply(event)
              })
            ),
            Effect.result
          )
          const millis = (yield* Clock.currentTimeMillis) - opened
          yield* countWatchRestart
          happened(result._tag === "Success" ? { _tag: "Ended", millis } : { _tag: "Failure", error: result.failure })
          break
        }
        case "Waiting": {
          const millis = Math.round(current.millis * (0.75 + (yield* Random.next) / 2))
          yield* Effect.logDebug(
            `watch Computes of ${key}: ${current.error?.message ?? "the server ended the watch at once"}; going on in ${millis} ms`
          )
          yield* Effect.sleep(millis)
          happened({ _tag: "Waited" })
          break
        }
        case "Failed":
          return current.error
      }
    }
  })

  const watches: RcMap.RcMap<Key, Shared> = yield* RcMap.make({
    idleTimeToLive,
    lookup: (key: Key) =>
      Effect.gen(function* () {
        const shared: Shared = { store: new ComputeStore(), queues: new Set(), failure: undefined }
        yield* drive(key, shared).pipe(
          Effect.flatMap((error) =>
            Effect.gen(function* () {
              shared.failure = error
              // Who comes later finds a new watch, not this failure. Detached, as it may close the scope of this fiber;
              // started at once, so that the map has forgotten it before anybody hears of the failure.
              yield* Effect.forkDetach(RcMap.invalidate(watches, key), { startImmediately: true })
              for (const queue of shared.queues) yield* Queue.fail(queue, error)
            })
          ),
          Effect.forkScoped
        )
        return shared
      })
  })

  const subscribe = (key: Key, name: string, remembered: Pick<Observer, "since" | "shown">) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const shared = yield* RcMap.get(watches, key)
        if (shared.failure !== undefined) return Stream.fail(shared.failure)
        const queue = yield* Queue.unbounded<Observation, ApiError>()
        const observer = makeObserver(name, remembered.since, (observation) => Queue.offerUnsafe(queue, observation))
        observer.shown = remembered.shown
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            shared.queues.add(queue)
            shared.store.add(observer)
          }),
          () =>
            Effect.suspend(() => {
              shared.queues.delete(queue)
              shared.store.remove(observer)
              remembered.since = observer.since
              remembered.shown = observer.shown
              return Queue.shutdown(queue)
            })
        )
        return Stream.fromQueue(queue)
      })
    )

  const observe = (
    { name, namespace }: ComputeRef,
    options: { readonly since?: string | undefined } = {}
  ): Stream.Stream<Observation, ApiError> =>
    Stream.suspend(() => {
      const remembered: Pick<Observer, "since" | "shown"> = { since: options.since, shown: undefined }
      const own = Stream.suspend(() => subscribe(`${namespace}/${name}`, name, remembered))
      if (narrow.has(namespace)) return own
      return subscribe(namespace, name, remembered).pipe(
        Stream.catchReason("KubernetesError", "Forbidden", () =>
          Stream.unwrap(
            Effect.gen(function* () {
              if (!narrow.has(namespace)) {
                narrow.add(namespace)
                yield* Effect.logInfo(
                  `no permission to watch all Computes of namespace ${namespace}: each is watched by its name`
                )
              }
              return own
            })
          )
        )
      )
    })

  return ComputeWatch.of({ observe })
})

/** Shared watches of the Compute API. */
export const layerWith = (options: LayerOptions): Layer.Layer<ComputeWatch, never, ComputeApi> =>
  Layer.effect(ComputeWatch, make(options))

/** Shared watches of the Compute API. */
export const layer: Layer.Layer<ComputeWatch, never, ComputeApi> = layerWith({})
