/**
 * Who owns which field: server-side apply and the bookkeeping of every other write, as `metadata.managedFields` shows
 * it. An apply that takes a field of another manager is a conflict unless forced; every other write just takes it.
 */
import type { FieldSet } from "./FieldSet.ts"
import { comparePaths, fromFieldsV1, pathOf, toFieldsV1, without } from "./FieldSet.ts"
import { encode, equals, isArray, isObject, type Json, type JsonObject, objectAt } from "./Json.ts"
import { conflict, type FieldConflict } from "./Status.ts"
import type { StructuralSchema } from "./StructuralSchema.ts"
import { compare, fieldsOf, merge, removeFields, withNamedParents } from "./TypedMerge.ts"

interface Entry {
  readonly manager: string
  readonly operation: "Apply" | "Update"
  readonly apiVersion: string
  readonly subresource: string | undefined
  readonly time: string | undefined
  readonly fields: FieldSet
}

/** By identity: manager, operation and subresource, and for updates the API version. */
type Managers = Map<string, Entry>

const identityOf = (entry: Omit<Entry, "fields" | "time">): string =>
  JSON.stringify([
    entry.manager,
    entry.operation,
    entry.operation === "Apply" ? "" : entry.apiVersion,
    entry.subresource ?? ""
  ])

/** Never part of what a manager owns. */
const unowned: ReadonlySet<string> = new Set([
  pathOf("apiVersion"),
  pathOf("kind"),
  pathOf("metadata"),
  ...[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion"
  ].map((name) => pathOf("metadata", name))
])

/** The most managers of plain writes that are told apart; older ones are merged into `ancient-changes`. */
const MAX_UPDATE_MANAGERS = 10

/** Who writes, and through which door. */
export interface Write {
  readonly manager: string
  readonly apiVersion: string
  readonly subresource?: string | undefined
  /** Parts of the object that this door does not write. */
  readonly ignored: ReadonlyArray<string>
  /** Now, as `metadata` writes times. */
  readonly time: string
}

const decode = (managedFields: Json | undefined): Managers | undefined => {
  const managers: Managers = new Map()
  if (!isArray(managedFields)) return managers
  for (const item of managedFields) {
    if (!isObject(item)) return undefined
    const { apiVersion, fieldsType, manager, operation, subresource, time } = item
    if ((operation !== "Apply" && operation !== "Update") || !apiVersion || fieldsType !== "FieldsV1") return undefined
    const entry: Entry = {
      manager: String(manager ?? ""),
      operation,
      apiVersion: String(apiVersion),
      subresource: typeof subresource === "string" && subresource !== "" ? subresource : undefined,
      time: typeof time === "string" ? time : undefined,
      fields: fromFieldsV1(objectAt(item, "fieldsV1"))
    }
    managers.set(identityOf(entry), entry)
  }
  return managers
}

const compareStrings = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

const encodeEntries = (managers: Managers): ReadonlyArray<Json> | undefined =>
  managers.size === 0
    ? undefined
    : [...managers.values()]
        .sort(
          (a, b) =>
            compareStrings(a.operation, b.operation) ||
            compareStrings(a.time ?? "", b.time ?? "") ||
            compareStrings(a.manager, b.manager) ||
            compareStrings(a.apiVersion, b.apiVersion) ||
            compareStrings(a.subresource ?? "", b.subresource ?? "")
        )
        .map(({ fields, ...entry }) => ({ ...entry, fieldsType: "FieldsV1", fieldsV1: toFieldsV1(fields) }))

const withManagedFields = (object: JsonObject, managers: Managers | undefined): JsonObject => ({
  ...object,
  metadata: {
    ...objectAt(object, "metadata"),
    managedFields: managers === undefined ? undefined : encodeEntries(managers)
  }
})

const difference = (a: FieldSet, b: FieldSet): FieldSet => new Set([...a].filter((path) => !b.has(path)))
const union = (...sets: ReadonlyArray<FieldSet>): FieldSet => new Set(sets.flatMap((set) => [...set]))
const intersection = (a: FieldSet, b: FieldSet): FieldSet => new Set([...a].filter((path) => b.has(path)))

/** Takes from every other manager what this write has changed; throws the conflicts unless it may. */
const takeOver = (
  before: JsonObject,
  after: JsonObject,
  schema: StructuralSchema,
  managers: Managers,
  self: string,
  write: Write,
  force: boolean
) => {
  const { added, modified, removed } = compare(before, after, schema)
  const changes = {
    added: without(added, write.ignored),
    modified: without(modified, write.ignored),
    removed: without(removed, write.ignored)
  }
  const changed = union(changes.modified, changes.added)
  const conflicts: Array<FieldConflict> = []
  for (const [identity, entry] of managers) {
    if (identity === self) continue
    const taken = intersection(entry.fields, changed)
    for (const path of [...taken].sort(comparePaths)) conflicts.push({ ...entry, path })
    const left = difference(difference(entry.fields, taken), changes.removed)
    managers.set(identity, { ...entry, fields: left })
  }
  if (!force && conflicts.length > 0) throw conflict(conflicts)
  for (const [identity, entry] of managers) if (entry.fields.size === 0) managers.delete(identity)
  return changes
}

/** The object of a create, update or patch, with `managedFields` brought up to date. */
export const recordUpdate = (
  live: JsonObject,
  next: JsonObject,
  schema: StructuralSchema,
  write: Write
): JsonObject => {
  const liveManaged = objectAt(live, "metadata")["managedFields"]
  const given = objectAt(next, "metadata")["managedFields"]
  const managers = startingManagers(liveManaged, given, write.subresource !== undefined)
  const before = withManagedFields(live, undefined)
  const after = withManagedFields(next, undefined)
  // Ownership that was given up stays so, until the next apply.
  if (managers.size === 0 && objectAt(live, "metadata")["uid"] !== undefined) return after
  const self = { manager: write.manager || "unknown", operation: "Update", ...door(write) } as const
  const identity = identityOf(self)
  const changes = takeOver(before, after, schema, managers, "current-operation", write, true)
  const taken = difference(union(changes.modified, changes.added), unowned)
  if (taken.size > 0) {
    const previous = managers.get(identity)?.fields ?? new Set<string>()
    managers.set(identity, { ...self, time: write.time, fields: union(taken, previous) })
  }
  capUpdateManagers(managers)
  return withManagedFields(after, managers)
}

const door = (write: Write) => ({ apiVersion: write.apiVersion, subresource: write.subresource })

/** Whose ownership a write starts from: a client may edit `managedFields`, and clear it with `[]` or `[{}]`. */
const startingManagers = (live: Json | undefined, given: Json | undefined, isSubresource: boolean): Managers => {
  if (!isSubresource) {
    if (isArray(given) && (given.length === 0 || (given.length === 1 && equals(given[0], {})))) return new Map()
    const managers = decode(given)
    if (managers !== undefined && managers.size > 0) return managers
  }
  return decode(live) ?? new Map()
}

const capUpdateManagers = (managers: Managers) => {
  const updates = [...managers.entries()]
    .filter(([, entry]) => entry.operation === "Update")
    .sort(([, a], [, b]) => compareStrings(a.time ?? "", b.time ?? "") || compareStrings(a.manager, b.manager))
  const surplus = updates.slice(0, Math.max(0, updates.length - MAX_UPDATE_MANAGERS + 1))
  if (updates.length <= MAX_UPDATE_MANAGERS) return
  const last = surplus.at(-1)![1]
  for (const [identity] of surplus) managers.delete(identity)
  const bucket: Entry = {
    manager: "ancient-changes",
    operation: "Update",
    apiVersion: last.apiVersion,
    subresource: undefined,
    time: last.time,
    fields: union(...surplus.map(([, entry]) => entry.fields))
  }
  managers.set(identityOf(bucket), bucket)
}

/** The object of a server-side apply, before defaults. An apply that changes nothing gives the live object's fields. */
export const recordApply = (
  live: JsonObject,
  applied: JsonObject,
  schema: StructuralSchema,
  write: Write,
  force: boolean
): JsonObject => {
  let managers = decode(objectAt(live, "metadata")["managedFields"]) ?? new Map<string, Entry>()
  const before = withManagedFields(live, undefined)
  if (managers.size === 0 && objectAt(live, "metadata")["uid"] !== undefined) {
    // Fields that were set before ownership was recorded belong to a manager of that name.
    const first = recordUpdate({}, before, schema, { ...write, manager: "before-first-apply" })
    managers = decode(objectAt(first, "metadata")["managedFields"]) ?? managers
  }
  const self = { manager: write.manager, operation: "Apply", ...door(write) } as const
  const identity = identityOf(self)
  const last = managers.get(identity)
  const fields = without(fieldsOf(applied, schema), write.ignored)
  managers.set(identity, { ...self, time: last?.time, fields })
  const merged = merge(before, applied, schema) as JsonObject
  const pruned = last === undefined ? merged : prune(merged, managers, last.fields, schema)
  takeOver(before, pruned, schema, managers, identity, write, force)
  const changed = !equals(before, pruned)
  const entry = managers.get(identity)
  if (entry !== undefined) {
    const owned = difference(entry.fields, unowned)
    if (owned.size === 0) managers.delete(identity)
    else managers.set(identity, { ...entry, time: changed ? write.time : entry.time, fields: owned })
  }
  return withManagedFields(pruned, managers)
}

/** Removes what this manager applied last time, does not apply now, and nobody else owns. */
const prune = (merged: JsonObject, managers: Managers, last: FieldSet, schema: StructuralSchema): JsonObject => {
  if (last.size === 0) return merged
  const named = (set: FieldSet) => withNamedParents(set, schema)
  const remove = (set: FieldSet) => (removeFields(merged, set, schema) ?? {}) as JsonObject
  const all = named(fieldsOf(merged, schema))
  const owned = named(union(...[...managers.values()].map((entry) => entry.fields)))
  const withoutLast = remove(named(last))
  const withOwned = remove(difference(all, union(named(fieldsOf(withoutLast, schema)), owned)))
  // What goes must have been this manager's: defaults and other leftovers stay.
  return remove(intersection(difference(all, named(fieldsOf(withOwned, schema))), named(last)))
}

/** Whether two objects differ in nothing but the times of their managers. */
export const equalButTimes = (a: JsonObject, b: JsonObject): boolean => {
  const timeless = (object: JsonObject) => {
    const managed = objectAt(object, "metadata")["managedFields"]
    const entries = isArray(managed)
      ? managed.map((item) => encode(isObject(item) ? { ...item, time: undefined } : item)).sort()
      : undefined
    return { ...object, metadata: { ...objectAt(object, "metadata"), managedFields: entries } }
  }
  return equals(timeless(a), timeless(b))
}
