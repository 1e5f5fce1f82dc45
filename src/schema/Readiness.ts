/**
 * What a Compute's status says, as pure predicates.
 *
 * **Gotchas.** `observedGeneration` is usually absent, so `Ready=True` may speak of a spec that is no longer the spec:
 * just after a suspend, a quick resume, or an update of a running Compute. `statusMayBeStale` tells when that can be.
 */
import * as Equal from "effect/Equal"
import { type ComputeResource, findCondition } from "./ComputeResource.ts"
import { type Condition, formatCondition } from "./Condition.ts"

const isCurrent = (resource: ComputeResource, condition: Condition): boolean =>
  condition.observedGeneration === undefined ||
  resource.metadata.generation === undefined ||
  condition.observedGeneration >= resource.metadata.generation

const isTrue = (resource: ComputeResource, type: string): boolean => {
  const condition = findCondition(resource, type)
  return condition !== undefined && condition.status === "True" && isCurrent(resource, condition)
}

/** Somebody has asked for its deletion. */
export const isDeleting = (resource: ComputeResource): boolean => resource.metadata.deletionTimestamp !== undefined

/** `Ready=True` for this generation, not suspended, not being deleted. */
export const isReady = (resource: ComputeResource): boolean =>
  !isDeleting(resource) &&
  resource.spec?.suspend !== true &&
  findCondition(resource, "Suspended")?.status !== "True" &&
  isTrue(resource, "Ready")

/** The operator has acknowledged a suspend: `Suspended=True`, and `Ready` no longer True. */
export const isSuspended = (resource: ComputeResource): boolean =>
  isTrue(resource, "Suspended") && findCondition(resource, "Ready")?.status !== "True"

/** No condition has ever been set: no controller has acted. */
export const isUntouched = (resource: ComputeResource): boolean => (resource.status?.conditions ?? []).length === 0

/** The conditions in one line, for logs and errors. */
export const describe = (resource: ComputeResource): string =>
  isUntouched(resource)
    ? "no controller has acted on this Compute; is the KPU operator installed?"
    : resource.status!.conditions!.map(formatCondition).join(", ")

/** Whether the two carry the same status. */
export const sameStatus = (a: ComputeResource, b: ComputeResource): boolean =>
  Equal.equals(a.status?.conditions ?? [], b.status?.conditions ?? [])

const latest = (times: ReadonlyArray<string | undefined>): number =>
  times.reduce((max, time) => Math.max(max, time === undefined ? 0 : Date.parse(time)), 0)

/**
 * Whether the status of an apply's answer may speak of an older spec: it says Ready, and the spec was written in the
 * same second as the status or later (`managedFields` has times in seconds).
 */
export const statusMayBeStale = (applied: ComputeResource): boolean => {
  if (!isTrue(applied, "Ready")) return false
  if (findCondition(applied, "Ready")?.observedGeneration !== undefined) return false
  const entries = applied.metadata.managedFields ?? []
  const specTime = latest(entries.filter((entry) => entry.subresource !== "status").map((entry) => entry.time))
  const statusTime = latest(entries.filter((entry) => entry.subresource === "status").map((entry) => entry.time))
  return applied.metadata.generation !== 1 && specTime >= statusTime
}
