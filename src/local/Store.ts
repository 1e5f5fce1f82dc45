/**
 * What the embedded cluster knows: objects by resource and place, one revision counter for all of them as in etcd, and
 * a window of past changes from which watches and paged lists go on. What falls out of the window is compacted: whoever
 * asks for it gets 410 Expired.
 *
 * Changes are told to listeners in the same turn in which they happen, in order.
 */
import { type JsonObject, normalizeObject, objectAt, stringAt } from "./Json.ts"

export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED"
  readonly plural: string
  readonly revision: number
  readonly object: JsonObject
  /** The object before this change. */
  readonly previous: JsonObject | undefined
}

export interface Store {
  readonly revision: () => number
  /** The oldest revision from which changes are still known. */
  readonly floor: () => number
  readonly get: (plural: string, namespace: string, name: string) => JsonObject | undefined
  /** All objects of a resource, by namespace and name; as they were at a past revision, when it is given. */
  readonly list: (plural: string, at?: number) => ReadonlyArray<JsonObject>
  /** Creates or replaces; gives the object with its new `metadata.resourceVersion`. */
  readonly put: (plural: string, object: JsonObject) => JsonObject
  /** Gives the object's last state, at the revision of its deletion. */
  readonly remove: (plural: string, namespace: string, name: string) => JsonObject | undefined
  /** Changes after a revision. */
  readonly since: (revision: number) => ReadonlyArray<Change>
  readonly subscribe: (listener: (change: Change) => void) => () => void
  /** Forgets all past changes. */
  readonly compact: () => void
}

const placeOf = (plural: string, namespace: string, name: string) => `${plural}/${namespace}/${name}`

const placeOfObject = (plural: string, object: JsonObject) => {
  const metadata = objectAt(object, "metadata")
  return placeOf(plural, stringAt(metadata, "namespace") ?? "", stringAt(metadata, "name") ?? "")
}

const atRevision = (object: JsonObject, revision: number): JsonObject =>
  normalizeObject({ ...object, metadata: { ...objectAt(object, "metadata"), resourceVersion: String(revision) } })

export const make = (window: number): Store => {
  const objects = new Map<string, JsonObject>()
  const listeners = new Set<(change: Change) => void>()
  let changes: Array<Change> = []
  let revision = 1
  let floor = 1

  // A listener may write: its changes are told after the one that it was told of.
  const untold: Array<Change> = []
  let telling = false
  const tellAll = () => {
    if (telling) return
    telling = true
    try {
      for (let change = untold.shift(); change !== undefined; change = untold.shift()) {
        for (const listener of [...listeners]) listener(change)
      }
    } finally {
      telling = false
    }
  }

  const record = (change: Change) => {
    changes.push(change)
    // Twice the window, then cut to it: so that the cut is rare.
    if (changes.length >= 2 * window) {
      floor = changes[changes.length - window - 1]!.revision
      changes = changes.slice(-window)
    }
    untold.push(change)
    tellAll()
  }

  const inOrder = (plural: string, from: Map<string, JsonObject>) =>
    [...from.entries()]
      .filter(([place]) => place.startsWith(`${plural}/`))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object)

  return {
    revision: () => revision,
    floor: () => floor,
    get: (plural, namespace, name) => objects.get(placeOf(plural, namespace, name)),
    list: (plural, at) => {
      if (at === undefined || at >= revision) return inOrder(plural, objects)
      const past = new Map(objects)
      for (const change of changes.toReversed()) {
        if (change.revision <= at) break
        const place = placeOfObject(change.plural, change.object)
        if (change.previous === undefined) past.delete(place)
        else past.set(place, change.previous)
      }
      return inOrder(plural, past)
    },
    put: (plural, object) => {
      const place = placeOfObject(plural, object)
      const previous = objects.get(place)
      revision++
      const written = atRevision(object, revision)
      objects.set(place, written)
      record({ type: previous === undefined ? "ADDED" : "MODIFIED", plural, revision, object: written, previous })
      return written
    },
    remove: (plural, namespace, name) => {
      const place = placeOf(plural, namespace, name)
      const previous = objects.get(place)
      if (previous === undefined) return undefined
      revision++
      objects.delete(place)
      const last = atRevision(previous, revision)
      record({ type: "DELETED", plural, revision, object: last, previous })
      return last
    },
    since: (after) => changes.filter((change) => change.revision > after),
    subscribe: (listener) => {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
    compact: () => {
      changes = []
      floor = revision
    }
  }
}
