/**
 * The part of OpenAPI that a CustomResourceDefinition may use, and the walks over it that need no ownership: dropping
 * and naming unknown fields, filling in defaults. Validation and merging have files of their own.
 */
import { isArray, isObject, type Json, type JsonObject } from "./Json.ts"

export interface StructuralSchema {
  readonly type?: string
  readonly description?: string
  readonly format?: string
  readonly properties?: { readonly [name: string]: StructuralSchema }
  readonly additionalProperties?: StructuralSchema
  readonly items?: StructuralSchema
  readonly required?: ReadonlyArray<string>
  readonly default?: Json
  readonly enum?: ReadonlyArray<Json>
  readonly minimum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minProperties?: number
  readonly pattern?: string
  readonly anyOf?: ReadonlyArray<StructuralSchema>
  readonly "x-kubernetes-list-type"?: string
  readonly "x-kubernetes-list-map-keys"?: ReadonlyArray<string>
  readonly "x-kubernetes-map-type"?: string
  readonly "x-kubernetes-int-or-string"?: boolean
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean
  readonly "x-kubernetes-validations"?: ReadonlyArray<{ readonly rule: string; readonly message: string }>
}

const metadataString: StructuralSchema = { type: "string" }
const metadataMap: StructuralSchema = { type: "object", additionalProperties: { type: "string" } }

/** `metadata`, which a CustomResourceDefinition leaves to the API server. */
export const objectMetaSchema: StructuralSchema = {
  type: "object",
  properties: {
    annotations: metadataMap,
    creationTimestamp: metadataString,
    deletionGracePeriodSeconds: { type: "integer" },
    deletionTimestamp: metadataString,
    finalizers: { type: "array", items: { type: "string" }, "x-kubernetes-list-type": "set" },
    generateName: metadataString,
    generation: { type: "integer" },
    labels: metadataMap,
    managedFields: {
      type: "array",
      items: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      "x-kubernetes-list-type": "atomic"
    },
    name: metadataString,
    namespace: metadataString,
    ownerReferences: {
      type: "array",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["uid"],
      items: {
        type: "object",
        "x-kubernetes-map-type": "atomic",
        required: ["apiVersion", "kind", "name", "uid"],
        properties: {
          apiVersion: { type: "string" },
          blockOwnerDeletion: { type: "boolean" },
          controller: { type: "boolean" },
          kind: { type: "string" },
          name: { type: "string" },
          uid: { type: "string" }
        }
      }
    },
    resourceVersion: metadataString,
    selfLink: metadataString,
    uid: metadataString
  }
}

/** The schema of whole objects: the definition's, with the API server's own `metadata`. */
export const withObjectMeta = (schema: StructuralSchema): StructuralSchema => ({
  ...schema,
  properties: {
    apiVersion: { type: "string" },
    kind: { type: "string" },
    ...schema.properties,
    metadata: objectMetaSchema
  }
})

/** The schema of one member, when the schema declares it. */
export const memberSchema = (schema: StructuralSchema, key: string): StructuralSchema | undefined =>
  schema.properties !== undefined && Object.hasOwn(schema.properties, key)
    ? schema.properties[key]
    : schema.additionalProperties

/** Drops what the schema does not declare; `unknown` gets the path of each. */
export const pruneUnknown = (value: Json, schema: StructuralSchema, unknown: Array<string>, path = ""): Json => {
  if (schema["x-kubernetes-preserve-unknown-fields"] === true || schema["x-kubernetes-int-or-string"] === true)
    return value
  if (isArray(value)) {
    const items = schema.items
    return items === undefined ? value : value.map((item, i) => pruneUnknown(item, items, unknown, `${path}[${i}]`))
  }
  if (!isObject(value) || schema.type !== "object") return value
  const kept: Array<[string, Json]> = []
  for (const [key, member] of Object.entries(value)) {
    if (member === undefined) continue
    const at = path === "" ? key : `${path}.${key}`
    const inner = memberSchema(schema, key)
    if (inner === undefined) unknown.push(at)
    else kept.push([key, pruneUnknown(member, inner, unknown, at)])
  }
  return Object.fromEntries(kept)
}

/** Fills in the schema's defaults where a member is absent, or null where null is not allowed. */
export const fillDefaults = (value: Json, schema: StructuralSchema): Json => {
  if (isArray(value)) {
    const items = schema.items
    return items === undefined ? value : value.map((item) => fillDefaults(item, items))
  }
  if (!isObject(value)) return value
  const filled: { [key: string]: Json | undefined } = { ...value }
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    const member = filled[key]
    if ((member === undefined || member === null) && inner.default !== undefined) filled[key] = inner.default
  }
  for (const [key, member] of Object.entries(filled)) {
    const inner = memberSchema(schema, key)
    if (member !== undefined && inner !== undefined) filled[key] = fillDefaults(member, inner)
  }
  return filled as JsonObject
}
