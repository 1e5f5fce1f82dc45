/**
 * Merging, comparing and pruning objects by their schema: which lists are merged by key, which are replaced whole, and
 * which fields an object sets. The behaviour is that of Kubernetes' structured-merge-diff; what a manager owns and when
 * that conflicts is `FieldManagers.ts`.
 *
 * **Gotchas** An empty list or map has no members to own, so it counts as one field; emptying a list and removing it
 * are different things.
 */
import { type FieldSet, joinPath, keyElement, type Path, splitPath } from "./FieldSet.ts"
import { encode, equals, isArray, isObject, type Json, type JsonObject } from "./Json.ts"
import { memberSchema, type StructuralSchema } from "./StructuralSchema.ts"

const anything: StructuralSchema = { "x-kubernetes-preserve-unknown-fields": true }

/** Replaced whole: scalars, atomic lists (the default for lists) and atomic maps. */
const isLeaf = (schema: StructuralSchema, value: Json): boolean =>
  isArray(value)
    ? schema["x-kubernetes-list-type"] !== "map" && schema["x-kubernetes-list-type"] !== "set"
    : !isObject(value) || schema["x-kubernetes-map-type"] === "atomic"

const inner = (schema: StructuralSchema, key: string): StructuralSchema => memberSchema(schema, key) ?? anything
const isNamedField = (schema: StructuralSchema, key: string): boolean =>
  schema.properties !== undefined && Object.hasOwn(schema.properties, key)

const itemElement = (schema: StructuralSchema, item: Json): string => {
  if (schema["x-kubernetes-list-type"] === "set") return `v:${encode(item)}`
  const keys = schema["x-kubernetes-list-map-keys"] ?? []
  return keyElement(Object.fromEntries(keys.map((key) => [key, isObject(item) ? item[key] : undefined])))
}

const isEmpty = (value: Json | undefined): boolean =>
  value === undefined || value === null || (isArray(value) ? value.length === 0 : isObject(value) && isEmptyMap(value))
const isEmptyMap = (value: JsonObject) => Object.keys(value).length === 0

/** The fields that a value sets. */
export const fieldsOf = (value: Json, schema: StructuralSchema): FieldSet => {
  const set = new Set<string>()
  const walk = (value: Json, schema: StructuralSchema, path: Path) => {
    if (isLeaf(schema, value)) {
      set.add(joinPath(path))
    } else if (isArray(value)) {
      for (const item of value) {
        const at = [...path, itemElement(schema, item)]
        walk(item, schema.items ?? anything, at)
        set.add(joinPath(at))
      }
    } else if (isObject(value)) {
      for (const [key, member] of Object.entries(value)) {
        if (member === undefined) continue
        const at = [...path, `f:${key}`]
        walk(member, inner(schema, key), at)
        if (member === null || (isObject(member) && isEmptyMap(member)) || !isNamedField(schema, key)) {
          set.add(joinPath(at))
        }
      }
    }
  }
  walk(value, schema, [])
  return set
}

/** What changed between two objects; no field is in more than one of the sets. */
export interface Comparison {
  readonly removed: FieldSet
  readonly modified: FieldSet
  readonly added: FieldSet
}

export const compare = (before: Json, after: Json, schema: StructuralSchema): Comparison => {
  const removed = new Set<string>()
  const modified = new Set<string>()
  const added = new Set<string>()
  const walk = (left: Json | undefined, right: Json | undefined, schema: StructuralSchema, path: Path) => {
    const mark = () => {
      if (left === undefined) added.add(joinPath(path))
      else if (right === undefined) removed.add(joinPath(path))
      else if (!equals(left, right)) modified.add(joinPath(path))
    }
    const present = (right ?? left) as Json
    if (isLeaf(schema, present) || (isEmpty(left) && isEmpty(right))) return mark()
    if (isArray(present)) {
      const index = (list: Json | undefined) =>
        new Map(isArray(list) ? list.map((item) => [itemElement(schema, item), item]) : [])
      const lefts = index(left)
      const rights = index(right)
      for (const element of new Set([...lefts.keys(), ...rights.keys()])) {
        walk(lefts.get(element), rights.get(element), schema.items ?? anything, [...path, element])
      }
    } else if (isObject(present)) {
      const lefts = isObject(left) ? left : {}
      const rights = isObject(right) ? right : {}
      for (const key of new Set([...Object.keys(lefts), ...Object.keys(rights)])) {
        const [a, b] = [lefts[key], rights[key]]
        if (a !== undefined || b !== undefined) walk(a, b, inner(schema, key), [...path, `f:${key}`])
      }
    }
    if (left === undefined) added.add(joinPath(path))
    else if (right === undefined) removed.add(joinPath(path))
  }
  walk(before, after, schema, [])
  // The object itself is no field.
  added.delete("")
  removed.delete("")
  return { removed, modified, added }
}

/** The live value with the applied one laid over it: maps by member, list-maps by key, the rest replaced. */
export const merge = (live: Json | undefined, applied: Json | undefined, schema: StructuralSchema): Json => {
  if (applied === undefined) return live as Json
  if (live === undefined || isLeaf(schema, applied) || (isEmpty(live) && isEmpty(applied))) return applied
  if (isArray(applied)) return isArray(live) ? mergeLists(live, applied, schema) : applied
  if (!isObject(applied) || !isObject(live)) return applied
  const merged: { [key: string]: Json | undefined } = { ...live }
  for (const [key, member] of Object.entries(applied)) {
    if (member !== undefined) merged[key] = merge(live[key], member, inner(schema, key))
  }
  return merged
}

/**
 * Items of both lists come in the applied order; items of the live list alone stay before the shared item that they
 * stood before.
 */
const mergeLists = (live: ReadonlyArray<Json>, applied: ReadonlyArray<Json>, schema: StructuralSchema): Json => {
  const liveItems = live.map((item) => [itemElement(schema, item), item] as const)
  const appliedItems = applied.map((item) => [itemElement(schema, item), item] as const)
  const liveByElement = new Map(liveItems)
  const appliedByElement = new Map(appliedItems)
  const sharedOrder = appliedItems.map(([element]) => element).filter((element) => liveByElement.has(element))
  const done = new Set<string>()
  const merged: Array<Json> = []
  let l = 0
  let r = 0
  let nextShared = 0
  const takeApplied = () => {
    const [element, item] = appliedItems[r++]!
    merged.push(merge(liveByElement.get(element), item, schema.items ?? anything))
    done.add(element)
    if (sharedOrder[nextShared] === element) nextShared++
  }
  while (l < liveItems.length || r < appliedItems.length) {
    const left = liveItems[l]
    const right = appliedItems[r]
    if (left !== undefined && right !== undefined) {
      if (left[0] === right[0]) {
        takeApplied()
        l++
        continue
      }
      if (appliedByElement.has(left[0]) && nextShared < sharedOrder.length && sharedOrder[nextShared] !== left[0]) {
        l++
        continue
      }
    }
    if (left !== undefined) {
      if (!appliedByElement.has(left[0])) {
        merged.push(left[1])
        l++
        continue
      }
      if (done.has(left[0])) l++
    }
    if (r < appliedItems.length) takeApplied()
  }
  return merged
}

/** The set, and every declared field on the way to one of its members. */
export const withNamedParents = (set: FieldSet, schema: StructuralSchema): FieldSet => {
  const all = new Set(set)
  for (const joined of set) {
    const path = splitPath(joined)
    let at: StructuralSchema = schema
    for (let i = 0; i < path.length - 1; i++) {
      const element = path[i]!
      if (element.startsWith("f:")) {
        const key = element.slice(2)
        if (isNamedField(at, key)) all.add(joinPath(path.slice(0, i + 1)))
        at = inner(at, key)
      } else {
        at = at.items ?? anything
      }
    }
  }
  return all
}

/** The value without the fields of a set. A list or map of which nothing is left becomes null. */
export const removeFields = (value: Json, set: FieldSet, schema: StructuralSchema): Json => {
  const prefixes = new Set<string>()
  for (const joined of set) {
    const path = splitPath(joined)
    for (let i = 1; i < path.length; i++) prefixes.add(joinPath(path.slice(0, i)))
  }
  const child = (value: Json, schema: StructuralSchema, path: Path) =>
    prefixes.has(joinPath(path)) ? walk(value, schema, path) : value
  const walk = (value: Json, schema: StructuralSchema, path: Path): Json => {
    if (isLeaf(schema, value)) return isArray(value) || isObject(value) ? null : value
    if (isArray(value)) {
      const kept = value.flatMap((item) => {
        const at = [...path, itemElement(schema, item)]
        return set.has(joinPath(at)) ? [] : [child(item, schema.items ?? anything, at)]
      })
      return kept.length === 0 ? null : kept
    }
    const kept = Object.entries(value as JsonObject).flatMap(([key, member]): Array<[string, Json]> => {
      const at = [...path, `f:${key}`]
      return member === undefined || set.has(joinPath(at)) ? [] : [[key, child(member, inner(schema, key), at)]]
    })
    return kept.length === 0 ? null : Object.fromEntries(kept)
  }
  return walk(value, schema, [])
}

/** `%v` of Go, which the real API server shows where a list or map was expected. */
const goValue = (value: Json): string => {
  if (value === null) return "<nil>"
  if (isArray(value)) return `[${value.map(goValue).join(" ")}]`
  if (!isObject(value)) return String(value)
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[${members.map(([key, member]) => `${key}:${goValue(member ?? null)}`).join(" ")}]`
}

/** `%#v` of Go, which it shows where a scalar was expected. */
const goSyntax = (value: Json): string => {
  if (value === null) return "interface {}(nil)"
  if (isArray(value)) return `[]interface {}{${value.map(goSyntax).join(", ")}}`
  if (!isObject(value)) return JSON.stringify(value)
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  const shown = members.map(([key, member]) => `${JSON.stringify(key)}:${goSyntax(member ?? null)}`)
  return `map[string]interface {}{${shown.join(", ")}}`
}

/** Why a value cannot be merged by the schema: wrong types, unknown fields, list items without their key. */
export const typeErrors = (value: Json, schema: StructuralSchema): ReadonlyArray<string> =>
  [...problemsAt(value, schema, "")].sort()

const scalarTypes: { readonly [type: string]: readonly [typeof_: string, said: string] } = {
  string: ["string", "string"],
  boolean: ["boolean", "boolean"],
  integer: ["number", "numeric (int or float)"],
  number: ["number", "numeric (int or float)"]
}

function* problemsAt(value: Json, schema: StructuralSchema, path: string): Generator<string> {
  const expected = (type: string) => `${path}: expected ${type}, got &{${goValue(value)}}`
  if (value === null || schema["x-kubernetes-preserve-unknown-fields"] === true) return
  const scalar = scalarTypes[schema.type ?? ""]
  if (scalar !== undefined) {
    if (typeof value !== scalar[0]) {
      yield `${path}: expected ${scalar[1]}, got &value.valueUnstructured{Value:${goSyntax(value)}}`
    }
  } else if (schema.type === "array") {
    if (isArray(value)) yield* itemProblems(value, schema, path)
    else yield expected("list")
  } else if (schema.type === "object") {
    if (!isObject(value)) return yield expected("map")
    for (const [key, member] of Object.entries(value)) {
      const type = memberSchema(schema, key)
      if (type === undefined) yield `${path}.${key}: field not declared in schema`
      else if (member !== undefined) yield* problemsAt(member, type, `${path}.${key}`)
    }
  }
}

function* itemProblems(list: ReadonlyArray<Json>, schema: StructuralSchema, path: string): Generator<string> {
  const items = schema.items ?? anything
  const keys = schema["x-kubernetes-list-map-keys"]
  const seen = new Set<string>()
  for (const [i, item] of list.entries()) {
    if (isLeaf(schema, list)) {
      yield* problemsAt(item, items, `${path}[${i}]`)
    } else if (keys !== undefined && !isObject(item)) {
      yield `${path}: element ${i}: associative list with keys may not have non-map elements`
    } else if (keys !== undefined && isObject(item) && keys.every((key) => item[key] === undefined)) {
      const names = keys.map((key) => JSON.stringify(key)).join(" ")
      const omits = `element ${i}: associative list with keys has an element that omits all key fields [${names}]`
      yield `${path}: ${omits} (and doesn't have default values for any key fields)`
    } else {
      const element = itemElement(schema, item)
      const shown = showElement(element)
      if (seen.has(element)) yield `${path}: duplicate entries for key ${shown}`
      else yield* problemsAt(item, items, `${path}${shown}`)
      seen.add(element)
    }
  }
}

const showElement = (element: string): string => {
  if (element.startsWith("v:")) return `[=${element.slice(2)}]`
  const keys = JSON.parse(element.slice(2)) as JsonObject
  return `[${Object.entries(keys)
    .map(([key, member]) => `${key}=${JSON.stringify(member)}`)
    .join(",")}]`
}
