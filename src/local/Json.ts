/**
 * JSON values as the API server keeps them. Objects are held with sorted keys, which is how the real one writes custom
 * resources.
 */

export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonObject
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const isArray = (value: unknown): value is ReadonlyArray<Json> => Array.isArray(value)

/** A member that should be an object; an empty one otherwise. */
export const objectAt = (value: Json | undefined, key: string): JsonObject => {
  const member = isObject(value) ? value[key] : undefined
  return isObject(member) ? member : {}
}

/** A member that should be a string. */
export const stringAt = (value: Json | undefined, key: string): string | undefined => {
  const member = isObject(value) ? value[key] : undefined
  return typeof member === "string" ? member : undefined
}

const compareKeys = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : a > b ? 1 : 0)

/** A copy with the keys of every object in order and without undefined members. */
export const normalize = (value: Json): Json => {
  if (isArray(value)) return value.map(normalize)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter((entry): entry is [string, Json] => entry[1] !== undefined)
      .sort(compareKeys)
      .map(([key, member]) => [key, normalize(member)])
  )
}

export const normalizeObject = (value: JsonObject): JsonObject => normalize(value) as JsonObject

/** Deep equality, blind to the order of keys. */
export const equals = (a: Json | undefined, b: Json | undefined): boolean => {
  if (a === b) return true
  if (isArray(a)) return isArray(b) && a.length === b.length && a.every((item, i) => equals(item, b[i]))
  if (!isObject(a) || !isObject(b) || isArray(b)) return false
  const keys = Object.keys(a).filter((key) => a[key] !== undefined)
  return (
    keys.length === Object.keys(b).filter((key) => b[key] !== undefined).length &&
    keys.every((key) => Object.hasOwn(b, key) && equals(a[key], b[key]))
  )
}

const escapes: { readonly [char: string]: string } = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029"
}

/** JSON as Go writes it: HTML's characters escaped. */
export const encode = (value: unknown, pretty = false): string =>
  JSON.stringify(value, undefined, pretty ? 2 : undefined).replace(/[<>&\u2028\u2029]/g, (char) => escapes[char]!)
