/**
 * What is known of a namespace's Computes, and who wants to know: lists and events go in, each observer gets the states
 * of one name, in order, none twice and none older than it asked for.
 *
 * **The hard thing** is `since`. A watch can lag behind an apply, so an observer that has applied must not be shown what
 * was before. It waits until the store has reached that version: by an event or bookmark at or after it, or by a list
 * that was asked for after the observer came (that one is no older than the apply; where its version is smaller all the
 * same, the server has lost its data and versions start anew).
 */
import type { ComputeResource } from "../../../schema/ComputeResource.ts"
import type { ComputeList, WatchEvent } from "../../../services/ComputeApi.ts"
import type { Observation } from "../../../services/ComputeWatch.ts"
import { versionOf } from "./watchMachine.ts"

/** One who wants to know of one name. Outlives the store that it is added to: it remembers what it was shown. */
export interface Observer {
  readonly name: string
  readonly offer: (observation: Observation) => void
  /** Nothing older than this is shown; `undefined` when that has been reached. */
  since: string | undefined
  /** What was shown last: a state, `null` for an absence, `undefined` for nothing yet. */
  shown: ComputeResource | null | undefined
  /** How many lists had been asked for when it was added. */
  joined: number
}

export const makeObserver = (
  name: string,
  since: string | undefined,
  offer: (observation: Observation) => void
): Observer => ({ name, offer, since, shown: undefined, joined: 0 })

const digits = /^[1-9]\d*$/

/**
 * Whether version `a` is older than `b`. Clients may compare versions as numbers (Kubernetes KEP-5504); where one is no
 * number, nothing is known, and nothing counts as older.
 */
export const isOlder = (a: string, b: string): boolean =>
  digits.test(a) && digits.test(b) && (a.length === b.length ? a < b : a.length < b.length)

/** Shows a state, or its absence, with the absence between two Computes of one name that the watch did not see. */
const show = (observer: Observer, next: ComputeResource | undefined, last: ComputeResource | undefined): void => {
  const { shown } = observer
  observer.since = undefined
  if (next === undefined) {
    if (shown === null) return
    observer.shown = null
    observer.offer({ _tag: "Absent", last: last ?? shown })
    return
  }
  if (shown !== undefined && shown !== null) {
    if (shown.metadata.uid !== next.metadata.uid) observer.offer({ _tag: "Absent", last: shown })
    else if (shown.metadata.resourceVersion === next.metadata.resourceVersion) return
  }
  observer.shown = next
  observer.offer({ _tag: "Present", resource: next })
}

export class ComputeStore {
  private readonly resources = new Map<string, ComputeResource>()
  private readonly observers = new Map<string, Set<Observer>>()
  /** Those that have not been shown anything since they were added. */
  private readonly pending = new Set<Observer>()
  private version: string | undefined
  private lists = 0

  add(observer: Observer): void {
    const others = this.observers.get(observer.name)
    if (others === undefined) this.observers.set(observer.name, new Set([observer]))
    else others.add(observer)
    observer.joined = this.lists
    this.pending.add(observer)
    this.settle(observer)
  }

  remove(observer: Observer): void {
    this.pending.delete(observer)
    const others = this.observers.get(observer.name)
    others?.delete(observer)
    if (others?.size === 0) this.observers.delete(observer.name)
  }

  /** Call before a list is asked for; the number goes with its answer. */
  beginList(): number {
    this.lists += 1
    return this.lists
  }

  /** Everything that there is now. */
  replace(list: ComputeList, number: number): void {
    const before = new Map(this.resources)
    this.resources.clear()
    for (const resource of list.items) this.resources.set(resource.metadata.name, resource)
    this.version = list.resourceVersion
    for (const observers of this.observers.values()) {
      for (const observer of observers) {
        if (observer.joined < number) observer.since = undefined
        if (this.pending.has(observer)) this.settle(observer)
        else show(observer, this.resources.get(observer.name), before.get(observer.name))
      }
    }
  }

  /** One event of the watch. */
  apply(event: WatchEvent): void {
    this.version = versionOf(event)
    if (event._tag !== "Bookmark") {
      const { resource } = event
      const { name, resourceVersion } = resource.metadata
      if (event._tag === "Deleted") this.resources.delete(name)
      else this.resources.set(name, resource)
      for (const observer of this.observers.get(name) ?? []) {
        if (observer.since !== undefined && isOlder(resourceVersion, observer.since)) continue
        this.pending.delete(observer)
        if (event._tag === "Deleted") show(observer, undefined, resource)
        else show(observer, resource, undefined)
      }
    }
    for (const observer of this.pending) this.settle(observer)
  }

  /** Shows a new observer the current state, once the store has reached what it asks for. */
  private settle(observer: Observer): void {
    if (this.version === undefined) return
    const resource = this.resources.get(observer.name)
    if (observer.since !== undefined && isOlder(this.version, observer.since)) {
      if (resource === undefined || isOlder(resource.metadata.resourceVersion, observer.since)) return
    }
    this.pending.delete(observer)
    show(observer, resource, undefined)
  }
}
