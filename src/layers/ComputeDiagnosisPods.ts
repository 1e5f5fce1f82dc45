/**
 * Why a Compute does not start, by looking at its Pod `NAME-0` and at the namespace's warnings.
 *
 * **The hard thing** is to look often enough for one and not too often for a thousand. The first look is after 3 s, when
 * most Computes are ready; the next ones come ever later, up to 15 s apart. The warnings of a namespace are read once for
 * all who ask within a few seconds, and few requests are under way at once.
 *
 * The permissions are optional (get on pods, list on events): what is forbidden is not asked for again.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { type ComputeResource, kind } from "../schema/ComputeResource.ts"
import { ComputeFailed } from "../schema/KpuError.ts"
import { ComputeDiagnosis } from "../services/ComputeDiagnosis.ts"
import { KubernetesClient } from "../services/KubernetesClient.ts"
import { Timeouts } from "../services/Timeouts.ts"
import { describePod, Event, isBetweenCrashes, Pod, type Trouble, troubleOf } from "./internal/compute/podTrouble.ts"

const firstLook = 3_000
const longestPause = 15_000
const growth = 1.5

/** How old the shared list of warnings may be. */
const eventsAge = 4_000

const concurrency = 8

const EventList = Schema.Struct({ items: Schema.Array(Event) })
const decodePod = Schema.decodeUnknownEffect(Pod)
const decodeEvents = Schema.decodeUnknownEffect(EventList)

/** The Pod as it is, `undefined` where there is none, and whether that is known at all. */
interface Look {
  readonly isKnown: boolean
  readonly pod: Pod | undefined
  readonly trouble: Trouble | undefined
}

/** An answer, the certainty that there is none, or neither: forbidden, or out of reach now. */
type Answer = { readonly _tag: "Found"; readonly value: unknown } | { readonly _tag: "Absent" | "Unknown" }

interface Warnings {
  readonly lock: Semaphore.Semaphore
  events: ReadonlyArray<Event>
  readAt: number
}

const make = Effect.gen(function* () {
  const client = yield* KubernetesClient
  const { podGrace } = yield* Timeouts
  const busy = yield* Semaphore.make(concurrency)
  /** `pods` or `events`, and the namespace. */
  const forbidden = new Set<string>()
  const warnings = new Map<string, Warnings>()

  const read = Effect.fnUntraced(function* (
    what: "pods" | "events",
    namespace: string,
    suffix: string,
    verb: string
  ): Effect.fn.Return<Answer> {
    const permission = `${what} ${namespace}`
    if (forbidden.has(permission)) return { _tag: "Unknown" }
    return yield* client
      .json({
        verb,
        resource: { kind: what === "pods" ? "Pod" : "Event", namespace },
        method: "GET",
        path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/${what}${suffix}`,
        query: what === "events" ? { fieldSelector: "type=Warning" } : undefined,
        idempotent: true
      })
      .pipe(
        Semaphore.withPermit(busy),
        Effect.map((value): Answer => ({ _tag: "Found", value })),
        Effect.catch((error) => {
          const reason = error._tag === "KubernetesError" ? error.reason._tag : undefined
          if (reason === "Forbidden") forbidden.add(permission)
          return Effect.succeed<Answer>({ _tag: reason === "NotFound" ? "Absent" : "Unknown" })
        })
      )
  })

  const readEvents = (namespace: string): Effect.Effect<ReadonlyArray<Event>> => {
    let shared = warnings.get(namespace)
    if (shared === undefined) {
      shared = { lock: Semaphore.makeUnsafe(1), events: [], readAt: Number.NEGATIVE_INFINITY }
      warnings.set(namespace, shared)
    }
    const { lock } = shared
    const entry = shared
    return Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      if (now - entry.readAt < eventsAge) return entry.events
      const answer = yield* read("events", namespace, "", "list")
      entry.readAt = now
      entry.events =
        answer._tag === "Found"
          ? (yield* Effect.orElseSucceed(decodeEvents(answer.value), () => ({ items: [] }))).items
          : []
      return entry.events
    }).pipe(Semaphore.withPermit(lock))
  }

  const look = Effect.fnUntraced(function* ({ metadata: { creationTimestamp, name, namespace } }: ComputeResource) {
    const answer = yield* read("pods", namespace, `/${encodeURIComponent(`${name}-0`)}`, "get")
    if (answer._tag === "Unknown") return { isKnown: false, pod: undefined, trouble: undefined } satisfies Look
    const found =
      answer._tag === "Found" ? yield* Effect.orElseSucceed(decodePod(answer.value), () => undefined) : undefined
    // a Pod that is going away tells nothing of the one that comes
    const pod = found?.metadata.deletionTimestamp ? undefined : found
    const events = yield* readEvents(namespace)
    const since = creationTimestamp === undefined ? 0 : Date.parse(creationTimestamp)
    return { isKnown: true, pod, trouble: troubleOf(name, pod, events, since) } satisfies Look
  })

  const watch = Effect.fnUntraced(function* (compute: ComputeResource): Effect.fn.Return<never, ComputeFailed> {
    const { name, namespace } = compute.metadata
    let pause = firstLook
    let current: { readonly kind: string; readonly since: number } | undefined
    while (!forbidden.has(`pods ${namespace}`)) {
      yield* Effect.sleep(pause)
      pause = Math.min(longestPause, pause * growth)
      const { isKnown, pod, trouble } = yield* look(compute)
      if (!isKnown) continue
      if (trouble === undefined) {
        if (current?.kind !== "crash" || !isBetweenCrashes(pod)) current = undefined
        continue
      }
      const now = yield* Clock.currentTimeMillis
      if (current?.kind !== trouble.kind) {
        current = { kind: trouble.kind, since: now }
        yield* Effect.logWarning(`Compute ${namespace}/${name}: ${describePod(name, pod, trouble)}`)
      }
      const remaining = Duration.toMillis(podGrace) - (now - current.since)
      if (trouble.isTerminal || remaining <= 0) {
        return yield* new ComputeFailed({
          resource: { kind, namespace, name },
          pod: trouble.pod,
          reason: trouble.reason,
          problem: trouble.message
        })
      }
      // the verdict falls when the grace time ends, not a pause later
      pause = Math.min(pause, Math.max(remaining, 1))
    }
    return yield* Effect.never
  })

  const summary = Effect.fnUntraced(function* (compute: ComputeResource) {
    const { name, namespace } = compute.metadata
    const { isKnown, pod, trouble } = yield* look(compute)
    if (isKnown) return describePod(name, pod, trouble)
    return forbidden.has(`pods ${namespace}`)
      ? `why its Pod does not start cannot be told: these credentials may not get pods in namespace ${namespace} (docs/kubernetes.md shows the Role)`
      : `Pod ${name}-0 could not be looked at`
  })

  return ComputeDiagnosis.of({ watch, summary })
})

/** Diagnosis by looking at Pods and events. */
export const layer: Layer.Layer<ComputeDiagnosis, never, KubernetesClient> = Layer.effect(ComputeDiagnosis, make)
