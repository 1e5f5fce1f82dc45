/**
 * The operator's part for tests: it watches Computes on any Kubernetes API and sets their conditions as the KPU operator
 * does, with the same field manager, reasons and messages, by server-side apply on the status subresource.
 *
 * It starts nothing: a test that needs a tensor server starts one and points the Compute's `host` and `port` at it.
 *
 * **Gotchas.** As with the real one, `Ready=True` outlives a suspend for a while (`staleFor`), and conditions carry no
 * `observedGeneration` unless asked for. Delays are on the real clock, also under a test clock.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ApiClient from "./ApiClient.ts"

export interface Options {
  /** From a change of a Compute to the first sign of the operator: 10 ms. */
  readonly reactAfter?: Duration.Input | undefined
  /** From that to `Ready=True`: 50 ms. */
  readonly readyAfter?: Duration.Input | undefined
  /** From `Suspended=True` until `Ready` is no longer True: 50 ms. */
  readonly staleFor?: Duration.Input | undefined
  /** Set `observedGeneration` on conditions, as few operators do: false. */
  readonly observedGeneration?: boolean | undefined
  /** Computes that it leaves alone: none. */
  readonly ignores?: ((name: string, namespace: string) => boolean) | undefined
}

export interface Controller {
  /** Acts no more, as an operator that is down; what changes meanwhile is seen on `resume`. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

interface Condition {
  readonly type: string
  readonly status: "True" | "False" | "Unknown"
  readonly reason: string
  readonly message: string
}

interface Compute {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly uid: string
    readonly generation: number
    readonly deletionTimestamp?: string
  }
  readonly spec?: { readonly suspend?: boolean }
  readonly status?: { readonly conditions?: ReadonlyArray<Condition & { readonly lastTransitionTime: string }> }
}

const path = "/apis/compute.kpu.dev/v1alpha1"

/** The field manager of the real operator. */
export const fieldManager = "kpu-compute-controller"

/** The conditions that the operator sets, in its words. */
export const conditions = {
  notAvailable: {
    type: "Ready",
    status: "False",
    reason: "StatefulSetNotAvailable",
    message: "StatefulSet is not available"
  },
  notReady: (ready: number, wanted: number): Condition => ({
    type: "Ready",
    status: "False",
    reason: "StatefulSetNotReady",
    message: `StatefulSet has ${ready}/${wanted} ready replicas`
  }),
  ready: { type: "Ready", status: "True", reason: "StatefulSetReady", message: "All 1 replicas are ready" },
  suspended: { type: "Suspended", status: "True", reason: "Suspended", message: "Compute is suspended" },
  resumed: { type: "Suspended", status: "False", reason: "Resumed", message: "Compute is resumed" }
} as const

/** A delay on the real clock. */
const pauseFor = (duration: Duration.Input): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), Duration.toMillis(duration))
    return Effect.sync(() => clearTimeout(timer))
  })

/** Whether a condition holds; undefined where it was never set. */
const holds = (compute: Compute, type: string): boolean | undefined => {
  const condition = compute.status?.conditions?.find((condition) => condition.type === type)
  return condition === undefined ? undefined : condition.status === "True"
}

/**
 * Plays the operator on the Kubernetes API at `target` until the scope closes.
 *
 * @example
 * const server = yield* KubeApiServer
 * const controller = yield* Controller.make(
 *   { url: server.url, token: server.token, ca: server.serverAuthority.cert },
 *   { readyAfter: "200 millis" }
 * )
 */
export const make = (target: ApiClient.Target, options: Options = {}): Effect.Effect<Controller, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { observedGeneration = false, reactAfter = 10, readyAfter = 50, staleFor = 50 } = options
    const client = yield* ApiClient.make(target)
    const running = yield* Latch.make(true)
    /** One fiber for each Compute, by uid: what it is on its way to. */
    const fibers = yield* FiberMap.make<string, void>()
    const aims = new Map<string, string>()

    /** Sets these conditions and keeps the others; gives the Compute as it is then, or undefined when it is gone. */
    const set = (compute: Compute, ...wanted: ReadonlyArray<Condition>): Effect.Effect<Compute | undefined, Error> =>
      Effect.gen(function* () {
        yield* running.await
        const { generation, name, namespace, uid } = compute.metadata
        const before = compute.status?.conditions ?? []
        const now = new Date().toISOString().replace(/\.\d+/, "")
        const next = wanted.map((condition) => {
          const old = before.find(({ type }) => type === condition.type)
          return {
            ...condition,
            ...(observedGeneration ? { observedGeneration: generation } : {}),
            lastTransitionTime: old?.status === condition.status ? old.lastTransitionTime : now
          }
        })
        const kept = before.filter(({ type }) => !wanted.some((condition) => condition.type === type))
        const patch = client.request(
          "PATCH",
          `${path}/namespaces/${namespace}/computes/${name}/status?fieldManager=${fieldManager}&force=true`,
          {
            contentType: "application/apply-patch+yaml",
            body: {
              apiVersion: "compute.kpu.dev/v1alpha1",
              kind: "Compute",
              // With its uid the patch touches no Compute that took the name since.
              metadata: { name, namespace, uid },
              status: { conditions: [...kept, ...next] }
            }
          }
        )
        // A patch cut short could still arrive, after that of the newer aim.
        const response = yield* Effect.uninterruptible(patch)
        if (response.status === 404 || response.status === 409) return undefined
        if (response.status !== 200) {
          return yield* Effect.fail(new Error(`status of ${namespace}/${name}: ${JSON.stringify(response.body)}`))
        }
        return response.body as Compute
      })

    /** The Compute as it is now, or undefined when it is gone or replaced. */
    const read = (compute: Compute): Effect.Effect<Compute | undefined, Error> =>
      Effect.gen(function* () {
        const { name, namespace, uid } = compute.metadata
        const { body, status } = yield* client.request("GET", `${path}/namespaces/${namespace}/computes/${name}`)
        if (status === 404) return undefined
        if (status !== 200) return yield* Effect.fail(new Error(`get ${namespace}/${name}: ${status}`))
        return (body as Compute).metadata.uid === uid ? (body as Compute) : undefined
      })

    const start = Effect.fnUntraced(function* (compute: Compute) {
      let current: Compute | undefined = compute
      if (holds(current, "Suspended") === true) {
        current = yield* set(current, conditions.resumed)
      } else if (holds(current, "Ready") === undefined) {
        current = yield* set(current, conditions.notAvailable)
      }
      if (current !== undefined) current = yield* set(current, conditions.notReady(0, 1))
      yield* pauseFor(readyAfter)
      if (current !== undefined) yield* set(current, conditions.ready)
    })

    const suspend = Effect.fnUntraced(function* (compute: Compute) {
      const first = holds(compute, "Ready") === undefined ? [conditions.notAvailable] : []
      const current = yield* set(compute, conditions.suspended, ...first)
      yield* pauseFor(staleFor)
      if (current !== undefined) yield* set(current, conditions.notReady(0, 0))
    })

    const pursue = (compute: Compute, aim: string): Effect.Effect<void> =>
      Effect.gen(function* () {
        yield* running.await
        yield* pauseFor(reactAfter)
        const current = yield* read(compute)
        if (current !== undefined) yield* aim === "ready" ? start(current) : suspend(current)
      }).pipe(
        // The API server may be down, restarted or overloaded: the operator tries again.
        Effect.catch(() => Effect.andThen(pauseFor(200), pursue(compute, aim)))
      )

    const reconcile = (compute: Compute): Effect.Effect<void> => {
      const { deletionTimestamp, name, namespace, uid } = compute.metadata
      if (deletionTimestamp !== undefined || options.ignores?.(name, namespace) === true) return Effect.void
      const aim = compute.spec?.suspend === true ? "suspended" : "ready"
      const reached =
        aim === "ready"
          ? holds(compute, "Ready") === true && holds(compute, "Suspended") !== true
          : holds(compute, "Suspended") === true && holds(compute, "Ready") === false
      if (aims.get(uid) === aim || (reached && !aims.has(uid))) return Effect.void
      aims.set(uid, aim)
      return Effect.asVoid(FiberMap.run(fibers, uid, pursue(compute, aim)))
    }

    const forget = (uid: string) => {
      aims.delete(uid)
      return FiberMap.remove(fibers, uid)
    }

    const followOnce = Effect.gen(function* () {
      const list = yield* client.request("GET", `${path}/computes`)
      if (list.status !== 200) return yield* Effect.fail(new Error(`list: ${list.status}`))
      const items: ReadonlyArray<Compute> = list.body.items
      const present = new Set(items.map(({ metadata }) => metadata.uid))
      for (const uid of aims.keys()) if (!present.has(uid)) yield* forget(uid)
      yield* Effect.forEach(items, reconcile)
      const from = list.body.metadata.resourceVersion
      yield* client.watch(`${path}/computes?watch=1&resourceVersion=${from}`).pipe(
        Stream.runForEach(({ object, type }) => {
          if (type === "ADDED" || type === "MODIFIED") return reconcile(object)
          if (type === "DELETED") return forget(object.metadata.uid)
          return type === "ERROR" ? Effect.fail(new Error(JSON.stringify(object))) : Effect.void
        })
      )
    })
    yield* followOnce.pipe(
      Effect.catch(() => pauseFor(100)),
      Effect.forever,
      Effect.forkScoped
    )
    return { pause: Effect.asVoid(running.close), resume: Effect.asVoid(running.open) }
  })
