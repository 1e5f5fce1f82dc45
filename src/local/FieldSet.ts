/**
 * Sets of fields of an object, as server-side apply keeps them, and `fieldsV1`, their form in `metadata.managedFields`.
 *
 * **Details** A path is a list of elements in `fieldsV1`'s own notation: `f:spec`, `k:{"name":"A"}`, `v:"x"`. A set
 * holds each path as one string, its elements joined by NUL, which occurs in none of them; so that union and difference
 * are those of plain sets.
 */
import { encode, isObject, type JsonObject } from "./Json.ts"

export type Path = ReadonlyArray<string>
export type FieldSet = ReadonlySet<string>

const SEPARATOR = "\0"

export const empty: FieldSet = new Set()
export const joinPath = (path: Path): string => path.join(SEPARATOR)
export const splitPath = (joined: string): Path => joined.split(SEPARATOR)
/** The path to a field by names alone: `pathOf("metadata", "name")`. */
export const pathOf = (...names: ReadonlyArray<string>): string => joinPath(names.map((name) => `f:${name}`))

/** The paths in or below one of those given. */
export const without = (set: FieldSet, roots: ReadonlyArray<string>): FieldSet =>
  new Set([...set].filter((path) => !roots.some((root) => path === root || path.startsWith(root + SEPARATOR))))

/** The set as `fieldsV1` shows it. */
export const toFieldsV1 = (set: FieldSet): JsonObject => {
  interface Node {
    member: boolean
    readonly children: Map<string, Node>
  }
  const root: Node = { member: false, children: new Map() }
  for (const joined of set) {
    let node = root
    for (const element of splitPath(joined)) {
      let next = node.children.get(element)
      if (next === undefined) {
        next = { member: false, children: new Map() }
        node.children.set(element, next)
      }
      node = next
    }
    node.member = true
  }
  const write = (node: Node): JsonObject => {
    const children = [...node.children.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([element, child]) => [element, write(child)] as const)
    return Object.fromEntries(node.member && children.length > 0 ? [[".", {}], ...children] : children)
  }
  return write(root)
}

/** The set that `fieldsV1` shows. */
export const fromFieldsV1 = (fields: JsonObject): FieldSet => {
  const set = new Set<string>()
  const read = (node: JsonObject, path: Path) => {
    const entries = Object.entries(node)
    if (path.length > 0 && (entries.length === 0 || Object.hasOwn(node, "."))) set.add(joinPath(path))
    for (const [element, child] of entries) {
      if (element !== "." && isObject(child)) read(child, [...path, canonical(element)])
    }
  }
  read(fields, [])
  return set
}

/** A key's JSON written anew, so that spaces or the order of keys make no difference. */
const canonical = (element: string): string => {
  if (!element.startsWith("k:")) return element
  try {
    return keyElement(JSON.parse(element.slice(2)))
  } catch {
    return element
  }
}

/** The element of a list-map's item: `k:{"name":"A"}`. */
export const keyElement = (keys: JsonObject): string =>
  `k:${encode(Object.fromEntries(Object.entries(keys).sort(([a], [b]) => (a < b ? -1 : 1))))}`

/** `.spec.env[name="A"].value`, as conflicts name a path. */
export const showPath = (joined: string): string =>
  splitPath(joined)
    .map((element) => {
      if (element.startsWith("f:")) return `.${element.slice(2)}`
      if (element.startsWith("v:")) return `[=${element.slice(2)}]`
      const keys = JSON.parse(element.slice(2)) as JsonObject
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(",")}]`
    })
    .join("")

/** Field names come before keys, and keys before values. */
const rank = (element: string) => "fkv".indexOf(element.charAt(0))
const compareElements = (a: string, b: string) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0)

/** The order in which conflicts are told: at each level its own members first, then what lies below. */
export const comparePaths = (a: string, b: string): number => {
  const left = splitPath(a)
  const right = splitPath(b)
  for (let i = 0; ; i++) {
    const leftEnds = i === left.length - 1
    const rightEnds = i === right.length - 1
    if (leftEnds !== rightEnds) return leftEnds ? -1 : 1
    const order = compareElements(left[i]!, right[i]!)
    if (order !== 0 || leftEnds) return order
  }
}
