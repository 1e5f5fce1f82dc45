/**
 * Who owns which fields of a resource, read from `metadata.managedFields` (structured-merge-diff's `FieldsV1`:
 * `f:NAME` a field, `k:{…}` an item of a list keyed by those fields, `v:…` an item of a set, `.` the thing itself).
 *
 * An applier that changes one field must send all fields that it owns, or the rest is removed: `ownedSpec` gives what
 * one manager has applied so far, as client-go's `Extract…` functions do.
 */
import * as Predicate from "effect/Predicate"
import type { ComputeResource, ComputeSpec, ManagedFieldsEntry } from "./ComputeResource.ts"

type Fields = { readonly [key: string]: unknown }

const isLeaf = (fields: Fields): boolean => Object.keys(fields).every((key) => key === ".")

const extract = (value: unknown, fields: Fields): unknown => {
  // A leaf owns its value whole: a scalar, an atomic list.
  if (isLeaf(fields)) return value
  if (Array.isArray(value)) return extractItems(value, fields)
  if (!Predicate.isObject(value)) return undefined
  const owned: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(fields)) {
    if (!key.startsWith("f:")) continue
    const name = key.slice(2)
    const extracted = extract((value as Fields)[name], inner as Fields)
    if (extracted !== undefined) owned[name] = extracted
  }
  return owned
}

const extractItems = (items: ReadonlyArray<unknown>, fields: Fields): ReadonlyArray<unknown> =>
  Object.entries(fields).flatMap(([key, inner]) => {
    if (!key.startsWith("k:")) return []
    const keys = Object.entries(JSON.parse(key.slice(2)) as Fields)
    const item = items.find((item) => Predicate.isObject(item) && keys.every(([k, v]) => (item as Fields)[k] === v))
    if (item === undefined) return []
    return [isLeaf(inner as Fields) ? Object.fromEntries(keys) : extract(item, inner as Fields)]
  })

/** The entry of a manager that applies: operation `Apply`, the object itself and not a subresource. */
export const appliedBy = (resource: ComputeResource, manager: string): ManagedFieldsEntry | undefined =>
  resource.metadata.managedFields?.find(
    (entry) => entry.manager === manager && entry.operation === "Apply" && (entry.subresource ?? "") === ""
  )

/** The part of the spec that a manager has applied; empty when it has applied nothing. */
export const ownedSpec = (resource: ComputeResource, manager: string): ComputeSpec => {
  const fields = appliedBy(resource, manager)?.fieldsV1?.["f:spec"]
  if (!Predicate.isObject(fields) || resource.spec === undefined) return {}
  return extract(resource.spec, fields as Fields) as ComputeSpec
}
