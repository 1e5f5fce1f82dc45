/**
 * Checks an object against the definition's schema and the rules that every object's metadata obeys, in the words of
 * the real API server.
 */
import { encode, equals, isArray, isObject, type Json, type JsonObject, objectAt, stringAt } from "./Json.ts"
import type { Cause } from "./Status.ts"
import { memberSchema, type StructuralSchema } from "./StructuralSchema.ts"

const cause = (reason: string, field: string, message: string): Cause => ({ reason, message, field })
const invalidValue = (field: string, value: Json, why: string) =>
  cause("FieldValueInvalid", field, `Invalid value: ${encode(value)}: ${why}`)

const typeOf = (value: Json): string =>
  value === null
    ? "null"
    : isArray(value)
      ? "array"
      : typeof value === "number"
        ? Number.isInteger(value)
          ? "integer"
          : "number"
        : typeof value

const hasType = (value: Json, schema: StructuralSchema): boolean => {
  if (schema["x-kubernetes-int-or-string"] === true) return typeof value === "string" || Number.isInteger(value)
  const type = typeOf(value)
  return schema.type === undefined || type === schema.type || (schema.type === "number" && type === "integer")
}

const dateTime = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

const schemaCauses = (value: Json, schema: StructuralSchema, field: string): ReadonlyArray<Cause> => {
  if (!hasType(value, schema)) {
    const type = typeOf(value)
    const why = `${field} in body must be of type ${schema.type}: ${JSON.stringify(type)}`
    return [cause("FieldValueTypeInvalid", field, `Invalid value: ${JSON.stringify(type)}: ${why}`)]
  }
  const causes: Array<Cause> = []
  if (typeof value === "string") {
    // Of these three the first that fails is told.
    if (schema.maxLength !== undefined && [...value].length > schema.maxLength) {
      causes.push(cause("FieldValueTooLong", field, `Too long: may not be more than ${schema.maxLength} bytes`))
    } else if (schema.minLength !== undefined && [...value].length < schema.minLength) {
      causes.push(invalidValue(field, value, `${field} in body should be at least ${schema.minLength} chars long`))
    } else if (schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value)) {
      causes.push(invalidValue(field, value, `${field} in body should match '${schema.pattern}'`))
    }
    if (schema.format === "date-time" && !(dateTime.test(value) && !Number.isNaN(Date.parse(value)))) {
      causes.push(
        cause(
          "FieldValueTypeInvalid",
          field,
          `Invalid value: ${encode(value)}: ${field} in body must be of type date-time: ${encode(value)}`
        )
      )
    }
  }
  if (typeof value === "number" && schema.minimum !== undefined && value < schema.minimum) {
    causes.push(invalidValue(field, value, `${field} in body should be greater than or equal to ${schema.minimum}`))
  }
  if (schema.enum !== undefined && !schema.enum.some((one) => equals(one, value))) {
    const supported = schema.enum.map((one) => JSON.stringify(one)).join(", ")
    const message = `Unsupported value: ${encode(value)}: supported values: ${supported}`
    causes.push(cause("FieldValueNotSupported", field, message))
  }
  if (isArray(value) && schema.items !== undefined) {
    const items = schema.items
    causes.push(...value.flatMap((item, i) => schemaCauses(item, items, `${field}[${i}]`)))
  }
  if (isObject(value)) {
    if (schema.minProperties !== undefined && Object.keys(value).length < schema.minProperties) {
      causes.push(
        invalidValue(field, value, `${field} in body should have at least ${schema.minProperties} properties`)
      )
    }
    const at = (key: string) => (field === "" ? key : `${field}.${key}`)
    const inner = [
      ...(schema.required ?? [])
        .filter((key) => value[key] === undefined)
        .map((key) => [key, [cause("FieldValueRequired", at(key), "Required value")]] as const),
      ...Object.entries(value).flatMap(([key, member]) => {
        const type = memberSchema(schema, key)
        if (member === undefined || type === undefined) return []
        return [[key, schemaCauses(member, type, at(key))] as const]
      })
    ]
    for (const [, found] of inner.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) causes.push(...found)
  }
  return causes
}

/** Items of a list-map with the same key. */
const duplicateCauses = (value: Json, schema: StructuralSchema, field: string): ReadonlyArray<Cause> => {
  if (isArray(value)) {
    const keys = schema["x-kubernetes-list-map-keys"]
    const isSet = schema["x-kubernetes-list-type"] === "set"
    const seen = new Set<string>()
    const told = new Set<string>()
    return value.flatMap((item, i) => {
      const below = schema.items === undefined ? [] : duplicateCauses(item, schema.items, `${field}[${i}]`)
      if (keys === undefined && !isSet) return below
      const key = encode(
        isSet ? item : Object.fromEntries((keys ?? []).map((name) => [name, isObject(item) ? item[name] : undefined]))
      )
      const isDuplicate = seen.has(key) && !told.has(key)
      if (isDuplicate) told.add(key)
      seen.add(key)
      return isDuplicate ? [cause("FieldValueDuplicate", `${field}[${i}]`, `Duplicate value: ${key}`), ...below] : below
    })
  }
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, member]) => {
    const type = memberSchema(schema, key)
    return member === undefined || type === undefined
      ? []
      : duplicateCauses(member, type, field === "" ? key : `${field}.${key}`)
  })
}

/** The rules of the definition in TypeScript, by their expression in CEL. */
const rules: { readonly [rule: string]: (name: string) => boolean } = {
  "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')": (name) => /^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name),
  "size(self.metadata.name) <= 63": (name) => [...name].length <= 63
}

const blocking = new Set([
  "FieldValueNotSupported",
  "FieldValueRequired",
  "FieldValueTooLong",
  "FieldValueTooMany",
  "FieldValueTypeInvalid"
])

/** Said where an object is too broken for its rules. */
const unchecked = cause(
  "FieldValueInvalid",
  "<nil>",
  "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
)

const ruleCauses = (object: JsonObject, schema: StructuralSchema): ReadonlyArray<Cause> => {
  const name = stringAt(objectAt(object, "metadata"), "name") ?? ""
  return (schema["x-kubernetes-validations"] ?? [])
    .filter(({ rule }) => rules[rule]?.(name) === false)
    .map(({ message }) => cause("FieldValueInvalid", "<nil>", `Invalid value: "object": ${message}`))
}

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const subdomainMessage =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const qualifiedMessage =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const labelValueMessage =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

/** What is wrong with the key of a label or annotation. */
const keyProblems = (key: string): ReadonlyArray<string> => {
  const parts = key.split("/")
  const [prefix, name] = parts.length === 1 ? [undefined, parts[0]!] : [parts[0]!, parts[1]!]
  if (parts.length > 2) {
    return [
      `a qualified name ${qualifiedMessage} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`
    ]
  }
  const problems: Array<string> = []
  if (prefix === "") problems.push("prefix part must be non-empty")
  else if (prefix !== undefined && !subdomain.test(prefix)) problems.push(`prefix part ${subdomainMessage}`)
  if (name === "") problems.push("name part must be non-empty")
  else if (name.length > 63) problems.push("name part must be no more than 63 characters")
  if (!qualifiedName.test(name)) problems.push(`name part ${qualifiedMessage}`)
  return problems
}

const metadataCauses = (object: JsonObject): ReadonlyArray<Cause> => {
  const metadata = objectAt(object, "metadata")
  const name = stringAt(metadata, "name") ?? ""
  const causes: Array<Cause> = []
  const generateName = stringAt(metadata, "generateName") ?? ""
  if (name === "") {
    const message = generateName === "" ? "Required value: name or generateName is required" : "Required value"
    causes.push(cause("FieldValueRequired", "metadata.name", message))
  } else {
    if (name.length > 253) causes.push(invalidValue("metadata.name", name, "must be no more than 253 characters"))
    if (!subdomain.test(name)) causes.push(invalidValue("metadata.name", name, subdomainMessage))
  }
  const byKey = (a: readonly [string, unknown], b: readonly [string, unknown]) => (a[0] < b[0] ? -1 : 1)
  for (const [key, value] of Object.entries(objectAt(metadata, "labels")).sort(byKey)) {
    for (const problem of keyProblems(key)) causes.push(invalidValue("metadata.labels", key, problem))
    const text = String(value)
    if (text.length > 63) causes.push(invalidValue("metadata.labels", text, "must be no more than 63 characters"))
    if (text !== "" && !qualifiedName.test(text)) causes.push(invalidValue("metadata.labels", text, labelValueMessage))
  }
  const annotations = Object.entries(objectAt(metadata, "annotations")).sort(byKey)
  for (const [key] of annotations) {
    for (const problem of keyProblems(key.toLowerCase()))
      causes.push(invalidValue("metadata.annotations", key, problem))
  }
  const size = annotations.reduce((sum, [key, value]) => sum + Buffer.byteLength(key + String(value)), 0)
  if (size > 256 * 1024) {
    causes.push(cause("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes"))
  }
  return causes
}

/** Everything that is wrong with an object; nothing for a good one. */
export const problemsOf = (object: JsonObject, schema: StructuralSchema): ReadonlyArray<Cause> => {
  const { metadata, ...body } = schema.properties ?? {}
  const bodySchema = { ...schema, properties: body }
  const { metadata: _, ...content } = object
  const causes = [
    ...metadataCauses(object),
    ...schemaCauses(content, bodySchema, ""),
    ...duplicateCauses(content, bodySchema, "")
  ]
  if (causes.some(({ reason }) => blocking.has(reason))) return [...causes, unchecked]
  return [...causes, ...ruleCauses(object, schema)]
}

/** What is wrong with the status alone, which is all that its door checks. */
export const statusProblemsOf = (object: JsonObject, schema: StructuralSchema): ReadonlyArray<Cause> => {
  const status = object["status"]
  const type = memberSchema(schema, "status")
  if (status === undefined || type === undefined) return []
  const causes = [...schemaCauses(status, type, ""), ...duplicateCauses(status, type, "")].map((found) => ({
    ...found,
    field: found.field === "" ? "status" : `status.${found.field}`
  }))
  return causes.some(({ reason }) => blocking.has(reason)) ? [...causes, unchecked] : causes
}

/** Why a Go server cannot read the metadata at all, in Go's words. */
export const metadataTypeProblem = (object: JsonObject): string | undefined => {
  const metadata = object["metadata"]
  const go = (value: Json) => (isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value)
  if (metadata === undefined || metadata === null) return undefined
  if (!isObject(metadata)) return `json: cannot unmarshal ${go(metadata)} into Go value of type v1.ObjectMeta`
  for (const key of ["annotations", "labels"]) {
    const map = metadata[key]
    if (map === undefined || map === null) continue
    if (!isObject(map)) {
      return `json: cannot unmarshal ${go(map)} into Go struct field ObjectMeta.${key} of type map[string]string`
    }
    const wrong = Object.values(map).find((value) => value !== null && typeof value !== "string")
    if (wrong !== undefined) {
      return `json: cannot unmarshal ${go(wrong)} into Go struct field ObjectMeta.${key} of type string`
    }
  }
  for (const key of ["name", "namespace", "generateName", "uid", "resourceVersion"]) {
    const value = metadata[key]
    if (value !== undefined && value !== null && typeof value !== "string") {
      const type = key === "uid" ? "types.UID" : "string"
      return `json: cannot unmarshal ${go(value)} into Go struct field ObjectMeta.${key} of type ${type}`
    }
  }
  return undefined
}
