/** The Pod of each Compute, `NAME-0`, and the Events that tell what is wrong with it, as far as a client looks at them. */
import { randomUUID } from "node:crypto"
import { timestamp } from "./Computes.ts"
import { type JsonObject, objectAt, stringAt } from "./Json.ts"
import { events, pods } from "./Resources.ts"
import type { Store } from "./Store.ts"

/**
 * Why a Pod does not start: a container that waits or a phase (`ErrImagePull`, `CrashLoopBackOff`, `Failed`, …), or what
 * only Events tell (`FailedMount`, `FailedCreate`).
 */
export interface PodTrouble {
  readonly reason: string
  readonly message: string
}

const onlyTold = new Set(["FailedMount", "FailedCreate"])

const statusOf = (state: PodTrouble | "starting" | "running"): JsonObject => {
  const startTime = timestamp()
  if (state === "running") {
    return {
      phase: "Running",
      startTime,
      containerStatuses: [
        { name: "server", ready: true, restartCount: 0, started: true, state: { running: { startedAt: startTime } } }
      ]
    }
  }
  const waiting = (reason: string, message?: string): JsonObject => ({
    phase: "Pending",
    startTime,
    containerStatuses: [
      { name: "server", ready: false, restartCount: 0, started: false, state: { waiting: { reason, message } } }
    ]
  })
  if (state === "starting" || onlyTold.has(state.reason)) return waiting("ContainerCreating")
  if (state.reason === "Failed") return { phase: "Failed", reason: "Failed", message: state.message, startTime }
  if (state.reason === "Unschedulable") {
    return {
      phase: "Pending",
      conditions: [
        {
          type: "PodScheduled",
          status: "False",
          reason: "Unschedulable",
          message: state.message,
          lastTransitionTime: startTime
        }
      ]
    }
  }
  return waiting(state.reason, state.message)
}

/** Creates or replaces the Pod of a Compute. */
export const put = (store: Store, compute: JsonObject, state: PodTrouble | "starting" | "running"): void => {
  const metadata = objectAt(compute, "metadata")
  const namespace = stringAt(metadata, "namespace") ?? ""
  const name = `${stringAt(metadata, "name") ?? ""}-0`
  const before = store.get(pods.plural, namespace, name)
  const uid = stringAt(objectAt(before, "metadata"), "uid") ?? randomUUID()
  const trouble = typeof state === "string" ? undefined : state
  if (trouble?.reason === "FailedCreate") {
    store.remove(pods.plural, namespace, name)
  } else {
    store.put(pods.plural, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name,
        namespace,
        uid,
        creationTimestamp: stringAt(objectAt(before, "metadata"), "creationTimestamp") ?? timestamp(),
        ownerReferences: [
          {
            apiVersion: "apps/v1",
            kind: "StatefulSet",
            name: stringAt(metadata, "name"),
            uid: stringAt(metadata, "uid"),
            controller: true,
            blockOwnerDeletion: true
          }
        ]
      },
      spec: { containers: [{ name: "server", image: objectAt(compute, "spec")["image"] ?? "kpu-torch-server" }] },
      status: statusOf(state)
    })
  }
  if (trouble !== undefined) tell(store, compute, namespace, name, uid, trouble)
}

/** The reason that the kubelet's or the StatefulSet controller's Event carries. */
const eventReason = (reason: string): string => {
  if (reason === "Unschedulable") return "FailedScheduling"
  if (reason === "CrashLoopBackOff" || reason === "ImagePullBackOff") return "BackOff"
  return onlyTold.has(reason) ? reason : "Failed"
}

const tell = (
  store: Store,
  compute: JsonObject,
  namespace: string,
  pod: string,
  uid: string,
  { message, reason }: PodTrouble
): void => {
  const owner = objectAt(compute, "metadata")
  const about =
    reason === "FailedCreate"
      ? { apiVersion: "apps/v1", kind: "StatefulSet", name: stringAt(owner, "name"), uid: stringAt(owner, "uid") }
      : { apiVersion: "v1", kind: "Pod", name: pod, uid }
  const now = timestamp()
  store.put(events.plural, {
    apiVersion: "v1",
    kind: "Event",
    metadata: {
      name: `${pod}.${randomUUID().slice(0, 13).replace("-", "")}`,
      namespace,
      uid: randomUUID(),
      creationTimestamp: now
    },
    involvedObject: { ...about, namespace },
    reason: eventReason(reason),
    message,
    type: "Warning",
    count: 1,
    firstTimestamp: now,
    lastTimestamp: now,
    source: { component: reason === "FailedCreate" ? "statefulset-controller" : "kubelet" }
  })
}

/** Removes the Pod of a Compute. */
export const remove = (store: Store, namespace: string, compute: string): void => {
  store.remove(pods.plural, namespace, `${compute}-0`)
}
