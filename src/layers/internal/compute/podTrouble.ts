/**
 * What keeps a Pod from starting, read from the Pod and the warnings about it. Pure: looking is
 * `ComputeDiagnosisPods`.
 *
 * **Details**
 *
 * | reason | seen in | waiting mends it |
 * |---|---|---|
 * | `InvalidImageName`, `ErrImageNeverPull` | a container's waiting state | never |
 * | Pod phase `Failed` | the Pod | never |
 * | `ImagePullBackOff`, `ErrImagePull` | a container's waiting state | when the image or the registry appears |
 * | `CrashLoopBackOff` | a container's waiting state | when what it needs appears |
 * | `CreateContainerConfigError` | a container's waiting state | when the ConfigMap or Secret appears |
 * | `Unschedulable` | the Pod's condition PodScheduled | when a node has room |
 * | `FailedMount`, `FailedAttachVolume` | events about the Pod | when the volume appears |
 * | `FailedCreate` | events about the StatefulSet, while there is no Pod | when the quota allows it |
 */
import * as Schema from "effect/Schema"

const text = Schema.optional(Schema.NullOr(Schema.String))

const Detail = Schema.Struct({ reason: text, message: text, exitCode: Schema.optional(Schema.Number) })

const ContainerState = Schema.optional(
  Schema.NullOr(
    Schema.Struct({
      waiting: Schema.optional(Schema.NullOr(Detail)),
      running: Schema.optional(Schema.NullOr(Schema.Struct({ startedAt: text }))),
      terminated: Schema.optional(Schema.NullOr(Detail))
    })
  )
)

const ContainerStatuses = Schema.optional(
  Schema.NullOr(
    Schema.Array(
      Schema.Struct({
        name: Schema.String,
        ready: Schema.optional(Schema.Boolean),
        restartCount: Schema.optional(Schema.Number),
        state: ContainerState,
        lastState: ContainerState
      })
    )
  )
)

/** A core/v1 Pod, as far as it tells why it does not start. */
export const Pod = Schema.Struct({
  metadata: Schema.Struct({ name: Schema.String, uid: Schema.String, deletionTimestamp: text }),
  status: Schema.optional(
    Schema.Struct({
      phase: text,
      reason: text,
      message: text,
      conditions: Schema.optional(
        Schema.NullOr(
          Schema.Array(Schema.Struct({ type: Schema.String, status: Schema.String, reason: text, message: text }))
        )
      ),
      initContainerStatuses: ContainerStatuses,
      containerStatuses: ContainerStatuses
    })
  )
})
export type Pod = typeof Pod.Type

/** A core/v1 Event. */
export const Event = Schema.Struct({
  involvedObject: Schema.Struct({ kind: text, name: text, uid: text }),
  reason: text,
  message: text,
  lastTimestamp: text,
  eventTime: text,
  series: Schema.optional(Schema.NullOr(Schema.Struct({ lastObservedTime: text }))),
  metadata: Schema.Struct({ creationTimestamp: text })
})
export type Event = typeof Event.Type

export interface Trouble {
  /** The Pod, or the StatefulSet whose Pod could not be made. */
  readonly pod: string
  readonly reason: string
  readonly message: string
  /** Waiting cannot mend it. */
  readonly isTerminal: boolean
  /** Troubles of one kind follow each other (`ErrImagePull`, `ImagePullBackOff`) and count as one. */
  readonly kind: string
}

const terminal = new Set(["InvalidImageName", "ErrImageNeverPull"])

const healing: Readonly<Record<string, string>> = {
  ErrImagePull: "image",
  ImagePullBackOff: "image",
  CrashLoopBackOff: "crash",
  CreateContainerConfigError: "configuration",
  CreateContainerError: "configuration"
}

/** When an event was last seen; 0 where it does not say. */
export const timeOf = (event: Event): number => {
  const time =
    event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp
  const millis = time ? Date.parse(time) : Number.NaN
  return Number.isNaN(millis) ? 0 : millis
}

const newest = (events: ReadonlyArray<Event>): Event | undefined =>
  events.reduce<Event | undefined>((a, b) => (a === undefined || timeOf(b) >= timeOf(a) ? b : a), undefined)

const containers = (pod: Pod) => [
  ...(pod.status?.initContainerStatuses ?? []),
  ...(pod.status?.containerStatuses ?? [])
]

type Container = ReturnType<typeof containers>[number]

// why a container that crashes again and again ended the last time says more than the words of the back-off
const lastEnd = ({ lastState }: Container): string => {
  const ended = lastState?.terminated
  if (!ended) return ""
  const said = ended.message ? `: ${ended.message.trim()}` : ""
  return `; it last ended with exit code ${ended.exitCode ?? "unknown"}${ended.reason ? ` (${ended.reason})` : ""}${said}`
}

/**
 * What keeps this Pod from starting now, if anything.
 *
 * @param pod `undefined` where there is none (or one that is being deleted)
 * @param events warnings of the namespace
 * @param since milliseconds; events about the StatefulSet that are older belong to another Compute of the same name
 */
export const troubleOf = (
  name: string,
  pod: Pod | undefined,
  events: ReadonlyArray<Event>,
  since: number
): Trouble | undefined => {
  if (pod === undefined) {
    const event = newest(
      events.filter(
        (event) =>
          event.involvedObject.kind === "StatefulSet" &&
          event.involvedObject.name === name &&
          event.reason === "FailedCreate" &&
          timeOf(event) >= since
      )
    )
    return event === undefined
      ? undefined
      : {
          pod: `StatefulSet ${name}`,
          reason: "FailedCreate",
          message: event.message ?? "",
          isTerminal: false,
          kind: "creation"
        }
  }
  const about = (reason: string, message: string, isTerminal: boolean, kind: string): Trouble => ({
    pod: `Pod ${pod.metadata.name}`,
    reason,
    message,
    isTerminal,
    kind
  })
  if (pod.status?.phase === "Failed") {
    const ended = containers(pod).find(({ state }) => state?.terminated)?.state?.terminated
    const code = ended?.exitCode === undefined ? "" : ` with exit code ${ended.exitCode}`
    return about(
      pod.status.reason || ended?.reason || "Failed",
      pod.status.message || ended?.message?.trim() || `the Pod failed${code}`,
      true,
      "failed"
    )
  }
  for (const container of containers(pod)) {
    const waiting = container.state?.waiting
    const reason = waiting?.reason
    if (!reason) continue
    const message = `container ${container.name}: ${waiting.message ?? reason}${lastEnd(container)}`
    if (terminal.has(reason)) return about(reason, message, true, "image")
    const kind = healing[reason]
    if (kind !== undefined) return about(reason, message, false, kind)
  }
  const scheduled = pod.status?.conditions?.find(({ type }) => type === "PodScheduled")
  if (scheduled?.status === "False" && scheduled.reason === "Unschedulable") {
    return about("Unschedulable", scheduled.message ?? "no node takes it", false, "scheduling")
  }
  // a volume that was mounted at last leaves its old warnings behind
  if (containers(pod).some(({ state }) => state?.running)) return undefined
  const event = newest(
    events.filter(
      ({ involvedObject, reason }) =>
        involvedObject.uid === pod.metadata.uid && (reason === "FailedMount" || reason === "FailedAttachVolume")
    )
  )
  return event === undefined ? undefined : about(event.reason ?? "", event.message ?? "", false, "volume")
}

/** Whether the container runs between two crashes: that ends no crash loop. */
export const isBetweenCrashes = (pod: Pod | undefined): boolean =>
  pod !== undefined &&
  containers(pod).some(({ ready, restartCount, state }) => ready !== true && (restartCount ?? 0) > 0 && !state?.waiting)

/** A Pod in a sentence. */
export const describePod = (name: string, pod: Pod | undefined, trouble: Trouble | undefined): string => {
  if (trouble !== undefined) return `${trouble.pod}: ${trouble.reason}: ${trouble.message}`
  if (pod === undefined) return `there is no Pod ${name}-0`
  const states = containers(pod).map(({ name, ready, state }) => {
    if (state?.waiting) return `container ${name} waits (${state.waiting.reason ?? "no reason given"})`
    if (state?.terminated) return `container ${name} has ended (exit code ${state.terminated.exitCode ?? "unknown"})`
    return `container ${name} ${state?.running ? "runs" : "has not started"}${ready === true ? " and is ready" : " and is not ready"}`
  })
  return [`Pod ${pod.metadata.name} is ${pod.status?.phase ?? "of unknown phase"}`, ...states].join(", ")
}
