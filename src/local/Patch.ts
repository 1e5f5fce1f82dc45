/** The patches of RFC 7396 (merge) and RFC 6902 (JSON patch), with the refusals of the real API server. */
import { applyPatch, type Operation } from "rfc6902"
import { isArray, isObject, type Json, type JsonObject } from "./Json.ts"
import { ApiFailure, badRequest } from "./Status.ts"

/** RFC 7396: null removes, objects merge, all else replaces. */
export const mergePatch = (target: Json | undefined, patch: Json): Json => {
  if (!isObject(patch)) return patch
  const merged: { [key: string]: Json | undefined } = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) delete merged[key]
    else merged[key] = mergePatch(merged[key], value)
  }
  return merged
}

const goType = (value: Json): string => (isArray(value) ? "array" : value === null ? "null" : typeof value)

export const applyMergePatch = (live: JsonObject, patch: Json): JsonObject => {
  if (!isObject(patch)) {
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${goType(patch)} into Go value of type map[string]interface {}`
    )
  }
  return mergePatch(live, patch) as JsonObject
}

export const applyJsonPatch = (live: JsonObject, patch: Json): JsonObject => {
  if (!isArray(patch)) {
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${goType(patch)} into Go value of type []handlers.jsonPatchOp`
    )
  }
  const patched = structuredClone(live) as JsonObject
  const failures = applyPatch(patched, patch as unknown as Array<Operation>)
  if (failures.some((failure) => failure !== null)) {
    throw new ApiFailure(422, "Invalid", "the server rejected our request due to an error in our request", {})
  }
  return patched
}
