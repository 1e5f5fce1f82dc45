/**
 * The operator's part: follows the Computes in the store, runs a tensor server for each that should serve, and writes
 * its conditions through the status subresource, in the operator's words.
 *
 * **Details** Each Compute has one process of its own, started anew when its generation changes. Suspended means no
 * server; the status may be told late (`statusDelay`), as the real operator's is, so that clients which believe a stale
 * `Ready` are found out.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { type Computes, timestamp } from "./Computes.ts"
import { isArray, type JsonObject, objectAt, stringAt } from "./Json.ts"
import * as Pods from "./Pods.ts"
import { apiVersionOf, computes as resource } from "./Resources.ts"
import type { Store } from "./Store.ts"
import type { TensorServer } from "./TensorServer.ts"

export const fieldManager = "kpu-compute-controller"

export interface ControllerOptions {
  readonly store: Store
  readonly computes: Computes
  /** Starts a tensor server, on a port that it had before where that is free. */
  readonly startServer: (port: number) => Promise<TensorServer>
  /** From the creation of a Compute, or a change of it, to its server. */
  readonly startDelay: Duration.Duration
  /** From a change of `suspend` to the status that tells of it. */
  readonly statusDelay: Duration.Duration
}

/** What goes wrong with a Compute's Pod. */
export type PodTrouble = Pods.PodTrouble

export interface Controller {
  /** Where a Compute's tensor server listens, while it runs. */
  readonly portOf: (namespace: string, name: string) => number | undefined
  /** Whether there is such a Compute at all, running or not. */
  readonly knows: (namespace: string, name: string) => boolean
  /** Makes the Pod of a Compute, present or future, fail so; `undefined` heals it. */
  readonly setPodTrouble: (namespace: string, name: string, trouble: PodTrouble | undefined) => void
}

interface Condition {
  readonly type: string
  readonly status: "True" | "False"
  readonly reason: string
  readonly message: string
}

const notAvailable: Condition = {
  type: "Ready",
  status: "False",
  reason: "StatefulSetNotAvailable",
  message: "StatefulSet is not available"
}
const notReady = (replicas: number): Condition => ({
  type: "Ready",
  status: "False",
  reason: "StatefulSetNotReady",
  message: `StatefulSet has 0/${replicas} ready replicas`
})
const ready: Condition = {
  type: "Ready",
  status: "True",
  reason: "StatefulSetReady",
  message: "All 1 replicas are ready"
}
const suspended: Condition = {
  type: "Suspended",
  status: "True",
  reason: "Suspended",
  message: "Compute is suspended"
}
const resumed: Condition = { type: "Suspended", status: "False", reason: "Resumed", message: "Compute is resumed" }

const keyOf = (namespace: string, name: string) => `${namespace}/${name}`
const placeOf = (object: JsonObject) => {
  const metadata = objectAt(object, "metadata")
  return { namespace: stringAt(metadata, "namespace") ?? "", name: stringAt(metadata, "name") ?? "" }
}
const uidOf = (object: JsonObject | undefined) => stringAt(objectAt(object, "metadata"), "uid")

const conditionsOf = (object: JsonObject): ReadonlyArray<JsonObject> => {
  const conditions = objectAt(object, "status")["conditions"]
  return isArray(conditions) ? (conditions as ReadonlyArray<JsonObject>) : []
}

export const make = (options: ControllerOptions): Effect.Effect<Controller, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { computes, store } = options
    const servers = new Map<string, TensorServer>()
    const ports = new Map<string, number>()
    const troubles = new Map<string, PodTrouble>()
    const generations = new Map<string, string>()
    const locks = new Map<string, Semaphore.Semaphore>()
    const fibers = yield* FiberMap.make<string>()
    const run = yield* FiberMap.runtime(fibers)()

    const stopServer = (key: string) =>
      Effect.uninterruptible(
        Effect.promise(async () => {
          const server = servers.get(key)
          servers.delete(key)
          await server?.close()
        })
      )

    /** Writes the conditions, keeping the times of those that stay as they are. */
    const tell = (object: JsonObject, told: ReadonlyArray<Condition>) =>
      Effect.sync(() => {
        const { name, namespace } = placeOf(object)
        const live = store.get(resource.plural, namespace, name)
        if (live === undefined || uidOf(live) !== uidOf(object)) return
        const now = timestamp()
        const before = conditionsOf(live)
        const conditions = told.map((condition) => {
          const old = before.find((one) => one["type"] === condition.type)
          const lastTransitionTime = old?.["status"] === condition.status ? old["lastTransitionTime"] : now
          return { ...condition, lastTransitionTime }
        })
        computes.apply(
          namespace,
          name,
          "status",
          {
            apiVersion: apiVersionOf(resource),
            kind: resource.kind,
            metadata: { name, namespace },
            status: { conditions }
          },
          { fieldManager, fieldValidation: "Ignore", dryRun: false, force: true }
        )
      })

    const wasSuspended = (object: JsonObject) =>
      conditionsOf(object).some((one) => one["type"] === "Suspended" && one["status"] === "True")
    const hasSuspended = (object: JsonObject) => conditionsOf(object).some((one) => one["type"] === "Suspended")

    const suspend = (object: JsonObject, key: string) =>
      Effect.gen(function* () {
        const { name, namespace } = placeOf(object)
        yield* stopServer(key)
        Pods.remove(store, namespace, name)
        yield* Effect.sleep(options.statusDelay)
        yield* tell(object, [notReady(0), suspended])
      })

    const startUp = (object: JsonObject, key: string) =>
      Effect.gen(function* () {
        const resuming = hasSuspended(object) ? [resumed] : []
        yield* stopServer(key)
        if (wasSuspended(object)) yield* Effect.sleep(options.statusDelay)
        else if (conditionsOf(object).length === 0) yield* tell(object, [notAvailable])
        yield* tell(object, [notReady(1), ...resuming])
        const trouble = troubles.get(key)
        Pods.put(store, object, trouble ?? "starting")
        if (trouble !== undefined) return
        yield* Effect.sleep(options.startDelay)
        yield* Effect.uninterruptible(
          Effect.gen(function* () {
            const server = yield* Effect.promise(() => options.startServer(ports.get(key) ?? 0))
            servers.set(key, server)
            ports.set(key, server.port)
          })
        )
        Pods.put(store, object, "running")
        yield* tell(object, [ready, ...resuming])
      })

    /** Work for a later state interrupts that for an earlier one, and begins when it has really ended. */
    const start = (key: string, work: Effect.Effect<void>) => {
      const lock = locks.get(key) ?? Semaphore.makeUnsafe(1)
      locks.set(key, lock)
      const guarded = Effect.yieldNow.pipe(
        Effect.andThen(lock.withPermits(1)(work)),
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause)
            : Effect.logError(`The embedded operator failed on Compute ${key}`, cause)
        )
      )
      run(key, guarded, { propagateInterruption: false })
    }

    const reconcile = (object: JsonObject) => {
      const { name, namespace } = placeOf(object)
      const key = keyOf(namespace, name)
      const work = objectAt(object, "spec")["suspend"] === true ? suspend(object, key) : startUp(object, key)
      start(key, work)
    }

    const forget = (object: JsonObject) => {
      const { name, namespace } = placeOf(object)
      const key = keyOf(namespace, name)
      generations.delete(key)
      ports.delete(key)
      Pods.remove(store, namespace, name)
      start(key, stopServer(key))
    }

    const observe = (object: JsonObject) => {
      const { name, namespace } = placeOf(object)
      const key = keyOf(namespace, name)
      const generation = `${uidOf(object)}/${String(objectAt(object, "metadata")["generation"])}`
      if (generations.get(key) === generation) return
      generations.set(key, generation)
      reconcile(object)
    }

    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const unsubscribe = store.subscribe((change) => {
          if (change.plural !== resource.plural) return
          if (change.type === "DELETED") forget(change.object)
          else observe(change.object)
        })
        for (const object of store.list(resource.plural)) observe(object)
        return unsubscribe
      }),
      (unsubscribe) =>
        Effect.gen(function* () {
          unsubscribe()
          yield* FiberMap.clear(fibers)
          yield* Effect.forEach([...servers.keys()], stopServer, { concurrency: "unbounded", discard: true })
        })
    )

    return {
      portOf: (namespace, name) => servers.get(keyOf(namespace, name))?.port,
      knows: (namespace, name) => store.get(resource.plural, namespace, name) !== undefined,
      setPodTrouble: (namespace, name, trouble) => {
        const key = keyOf(namespace, name)
        if (trouble === undefined) troubles.delete(key)
        else troubles.set(key, trouble)
        const object = store.get(resource.plural, namespace, name)
        if (object !== undefined) reconcile(object)
      }
    }
  })
