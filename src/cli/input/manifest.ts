/**
 * Computes from YAML (or JSON) manifests, as kubectl takes them: one or several documents, or a `List`.
 *
 * **Details.** Every problem names the file, the document and the field. Fields that no Compute has are errors, since a
 * typing error that goes unseen is worse than one that stops. `status` and what the API server writes into `metadata` are
 * passed over, so that `kpu get -o yaml` can be applied again.
 *
 * **Gotchas.** `env` entries with `valueFrom` (secrets, field references) cannot be said by the client's options, which
 * hold plain values: they are refused by name.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type ComputeOptions, checkComputeOptions } from "../../schema/ComputeOptions.ts"
import { apiVersion, kind } from "../../schema/ComputeResource.ts"
import { InvalidInput } from "../../schema/KpuError.ts"

export interface ManifestItem {
  /** Where it stands: `compute.yaml`, or `compute.yaml, document 2`. */
  readonly source: string
  /** `metadata.namespace`, when it is there. */
  readonly namespace: string | undefined
  readonly options: ComputeOptions
}

type Fields = Readonly<Record<string, unknown>>

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const typeName = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "a list" : typeof value === "object" ? "a map" : `a ${typeof value}`

class Problem extends Error {
  readonly field: string
  constructor(field: string, problem: string) {
    super(problem)
    this.field = field
  }
}

const serverWritten = [
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "managedFields",
  "selfLink",
  "ownerReferences",
  "finalizers"
]

const checkKeys = (fields: Fields, path: string, known: ReadonlyArray<string>): void => {
  for (const key of Object.keys(fields)) {
    if (!known.includes(key))
      throw new Problem(path === "" ? key : `${path}.${key}`, `there is no such field (${known.join(", ")})`)
  }
}

const fieldsAt = (fields: Fields, key: string, path: string): Fields => {
  const value = fields[key]
  if (value === undefined || value === null) return {}
  if (!isFields(value)) throw new Problem(path, `must be a map, not ${typeName(value)}`)
  return value
}

const stringAt = (fields: Fields, key: string, path: string): string | undefined => {
  const value = fields[key]
  if (value === undefined || value === null) return undefined
  if (typeof value !== "string") throw new Problem(path, `must be a string, not ${typeName(value)}; put it in quotes`)
  return value
}

const stringsAt = (fields: Fields, key: string, path: string): ReadonlyArray<string> | undefined => {
  const value = fields[key]
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value)) throw new Problem(path, `must be a list of strings, not ${typeName(value)}`)
  value.forEach((item, index) => {
    if (typeof item !== "string") {
      throw new Problem(`${path}[${index}]`, `must be a string, not ${typeName(item)}; put it in quotes`)
    }
  })
  return value as ReadonlyArray<string>
}

const recordAt = (fields: Fields, key: string, path: string): Readonly<Record<string, string>> | undefined => {
  const value = fields[key]
  if (value === undefined || value === null) return undefined
  if (!isFields(value)) throw new Problem(path, `must be a map of strings, not ${typeName(value)}`)
  for (const [name, item] of Object.entries(value)) {
    if (typeof item !== "string") {
      throw new Problem(`${path}.${name}`, `must be a string, not ${typeName(item)}; put it in quotes`)
    }
  }
  return value as Readonly<Record<string, string>>
}

const envAt = (fields: Fields, path: string): Readonly<Record<string, string>> | undefined => {
  const value = fields["env"]
  if (value === undefined || value === null) return undefined
  // A map is what people write who come from other tools; it says the same.
  if (isFields(value)) return recordAt(fields, "env", path)
  if (!Array.isArray(value)) throw new Problem(path, `must be a list of name and value, not ${typeName(value)}`)
  const env: Record<string, string> = {}
  value.forEach((entry: unknown, index) => {
    const at = `${path}[${index}]`
    if (!isFields(entry)) throw new Problem(at, `must be a map with name and value, not ${typeName(entry)}`)
    if (entry["valueFrom"] !== undefined) {
      throw new Problem(
        `${at}.valueFrom`,
        "is not supported by this command, which sends plain values; apply this manifest with kubectl"
      )
    }
    checkKeys(entry, at, ["name", "value"])
    const name = stringAt(entry, "name", `${at}.name`)
    if (name === undefined || name === "") throw new Problem(`${at}.name`, "is missing")
    if (Object.hasOwn(env, name)) throw new Problem(`${at}.name`, `${name} is there already`)
    env[name] = stringAt(entry, "value", `${at}.value`) ?? ""
  })
  return env
}

const readCompute = (
  document: Fields
): { readonly namespace: string | undefined; readonly options: ComputeOptions } => {
  if (document["apiVersion"] !== apiVersion) {
    const found = document["apiVersion"]
    throw new Problem(
      "apiVersion",
      found === undefined ? `is missing; it must be ${apiVersion}` : `must be ${apiVersion}, not ${String(found)}`
    )
  }
  if (document["kind"] !== kind) {
    const found = document["kind"]
    throw new Problem(
      "kind",
      found === undefined ? `is missing; it must be ${kind}` : `must be ${kind}, not ${String(found)}`
    )
  }
  checkKeys(document, "", ["apiVersion", "kind", "metadata", "spec", "status"])
  const metadata = fieldsAt(document, "metadata", "metadata")
  for (const key of ["labels", "annotations"]) {
    if (metadata[key] !== undefined && Object.keys(fieldsAt(metadata, key, `metadata.${key}`)).length > 0) {
      throw new Problem(
        `metadata.${key}`,
        `the resource's own ${key} are not sent by this command; those of its Pod are spec.${key}`
      )
    }
  }
  checkKeys(metadata, "metadata", ["name", "namespace", "labels", "annotations", ...serverWritten])
  const name = stringAt(metadata, "name", "metadata.name")
  if (name === undefined) throw new Problem("metadata.name", "is missing")
  const spec = fieldsAt(document, "spec", "spec")
  checkKeys(spec, "spec", ["image", "command", "args", "env", "labels", "annotations", "suspend"])
  const suspend = spec["suspend"]
  if (suspend !== undefined && suspend !== null && typeof suspend !== "boolean") {
    throw new Problem("spec.suspend", `must be true or false, not ${typeName(suspend)}`)
  }
  const options: ComputeOptions = {
    name,
    image: stringAt(spec, "image", "spec.image"),
    command: stringsAt(spec, "command", "spec.command"),
    args: stringsAt(spec, "args", "spec.args"),
    env: envAt(spec, "spec.env"),
    labels: recordAt(spec, "labels", "spec.labels"),
    annotations: recordAt(spec, "annotations", "spec.annotations"),
    suspend: suspend ?? undefined
  }
  const checked = checkComputeOptions(options)
  if (Result.isFailure(checked)) {
    const { field, problem } = checked.failure
    throw new Problem(field === "name" ? "metadata.name" : `spec.${field}`, problem)
  }
  return { namespace: stringAt(metadata, "namespace", "metadata.namespace"), options }
}

/** The Computes of a manifest. `file` is its name, for errors. */
export const readManifest = (file: string, text: string): Effect.Effect<ReadonlyArray<ManifestItem>, InvalidInput> =>
  Effect.gen(function* () {
    const { LineCounter, parseAllDocuments } = yield* Effect.promise(() => import("yaml"))
    const lines = new LineCounter()
    const documents = parseAllDocuments(text, { lineCounter: lines })
    const items: Array<ManifestItem> = []
    const all = Array.isArray(documents) ? documents : []
    for (const [index, document] of all.entries()) {
      const source = all.length > 1 ? `${file}, document ${index + 1}` : file
      const error = document.errors[0]
      if (error !== undefined) {
        const { col, line } = lines.linePos(error.pos[0])
        const problem = error.message.split("\n")[0]!.replace(/ at line \d+, column \d+:?$/, "")
        return yield* new InvalidInput({ field: `${file}:${line}:${col}`, problem: `not YAML: ${problem}` })
      }
      let value: unknown
      try {
        value = document.toJS({ maxAliasCount: 100 })
      } catch (cause) {
        return yield* new InvalidInput({
          field: source,
          problem: `not YAML that can be read: ${(cause as Error).message}`
        })
      }
      if (value === null || value === undefined) continue
      const found = yield* readDocument(source, value)
      items.push(...found)
    }
    if (items.length === 0) return yield* new InvalidInput({ field: file, problem: "holds no Compute" })
    return items
  })

const readDocument = (source: string, value: unknown): Effect.Effect<ReadonlyArray<ManifestItem>, InvalidInput> =>
  Effect.suspend(() => {
    let prefix = ""
    try {
      if (!isFields(value))
        throw new Problem("", `a manifest is a map with apiVersion, kind, metadata and spec, not ${typeName(value)}`)
      if (value["kind"] !== "List" && value["kind"] !== "ComputeList")
        return Effect.succeed([{ source, ...readCompute(value) }])
      const items = value["items"]
      if (!Array.isArray(items)) throw new Problem("items", `must be a list, not ${typeName(items)}`)
      return Effect.succeed(
        items.map((item: unknown, index) => {
          prefix = `items[${index}].`
          if (!isFields(item)) throw new Problem("", `must be a map, not ${typeName(item)}`)
          return { source, ...readCompute(item) }
        })
      )
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      const field = (prefix + error.field).replace(/\.$/, "")
      return Effect.fail(
        new InvalidInput({ field: field === "" ? source : `${source}: ${field}`, problem: error.message })
      )
    }
  })
