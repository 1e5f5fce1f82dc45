/** Lists and single objects as the `Table` that `kubectl get` asks for, with the columns of the definition. */
import { printerColumns } from "./Crd.ts"
import { isArray, isObject, type Json, type JsonObject, objectAt, stringAt } from "./Json.ts"
import { apiVersionOf, type Resource } from "./Resources.ts"

interface Column {
  readonly name: string
  readonly type: string
  readonly description: string
  readonly cell: (object: JsonObject) => Json
}

/** `5s`, `3m20s`, `2d`: how long ago, as kubectl shows ages. */
export const age = (since: string | undefined, now = Date.now()): string => {
  const then = Date.parse(since ?? "")
  if (Number.isNaN(then)) return "<unknown>"
  const seconds = Math.max(0, Math.floor((now - then) / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  if (seconds < 120) return `${seconds}s`
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`
  if (hours < 3) return `${minutes}m`
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`
  if (hours < 48) return `${hours}h`
  if (days < 8) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`
  return `${days}d`
}

/** The few JSON paths that the definition's columns use. */
const atPath = (object: JsonObject, path: string): Json | undefined => {
  const condition = /^\.status\.conditions\[\?\(@\.type=="([^"]+)"\)\]\.status$/.exec(path)
  if (condition !== null) {
    const conditions = objectAt(object, "status")["conditions"]
    const found = isArray(conditions) ? conditions.find((one) => stringAt(one, "type") === condition[1]) : undefined
    return stringAt(found, "status")
  }
  let at: Json | undefined = object
  for (const name of path.split(".").slice(1)) at = isObject(at) ? at[name] : undefined
  return at
}

const nameColumn: Column = {
  name: "Name",
  type: "string",
  description:
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
  cell: (object) => stringAt(objectAt(object, "metadata"), "name") ?? ""
}

const created = (object: JsonObject) => stringAt(objectAt(object, "metadata"), "creationTimestamp")

const columnsOf = (resource: Resource): ReadonlyArray<Column> => {
  if (resource.kind === "Compute") {
    return [
      nameColumn,
      ...printerColumns.map(
        ({ jsonPath, name, type }): Column => ({
          name,
          type,
          description: `Custom resource definition column (in JSONPath format): ${jsonPath}`,
          cell: (object) => {
            const value = atPath(object, jsonPath)
            if (type === "date") return age(typeof value === "string" ? value : undefined)
            return value ?? null
          }
        })
      )
    ]
  }
  const text = (name: string, cell: (object: JsonObject) => Json): Column => ({
    name,
    type: "string",
    description: name,
    cell
  })
  const ageColumn = text("Age", (object) => age(created(object)))
  switch (resource.kind) {
    case "Pod":
      return [
        nameColumn,
        text("Ready", (object) => {
          const statuses = objectAt(object, "status")["containerStatuses"]
          const containers = isArray(statuses) ? statuses : []
          return `${containers.filter((one) => isObject(one) && one["ready"] === true).length}/${Math.max(1, containers.length)}`
        }),
        text("Status", (object) => {
          const statuses = objectAt(object, "status")["containerStatuses"]
          const waiting = isArray(statuses) ? objectAt(objectAt(statuses[0], "state"), "waiting")["reason"] : undefined
          return waiting ?? objectAt(object, "status")["phase"] ?? "Unknown"
        }),
        text("Restarts", () => "0"),
        ageColumn
      ]
    case "Namespace":
      return [nameColumn, text("Status", (object) => objectAt(object, "status")["phase"] ?? "Active"), ageColumn]
    case "Event":
      return [
        text("Last Seen", (object) => age(stringAt(object, "lastTimestamp"))),
        text("Type", (object) => object["type"] ?? ""),
        text("Reason", (object) => object["reason"] ?? ""),
        text("Object", (object) => {
          const about = objectAt(object, "involvedObject")
          return `${(stringAt(about, "kind") ?? "").toLowerCase()}/${stringAt(about, "name") ?? ""}`
        }),
        text("Message", (object) => object["message"] ?? "")
      ]
    case "CustomResourceDefinition":
      return [nameColumn, { ...text("Created At", (object) => created(object) ?? null), type: "date" }]
    default:
      return [nameColumn, ageColumn]
  }
}

/** What each row carries beside its cells. */
export type IncludeObject = "None" | "Metadata" | "Object"

export interface TableOptions {
  /** `meta.k8s.io/v1`, or the older `v1beta1`. */
  readonly apiVersion: string
  readonly includeObject: IncludeObject
  /** Whether the columns are described; once in a watch is enough. */
  readonly columns: boolean
}

export const tableOf = (
  objects: ReadonlyArray<JsonObject>,
  metadata: JsonObject,
  resource: Resource,
  options: TableOptions
): unknown => {
  const columns = columnsOf(resource)
  return {
    kind: "Table",
    apiVersion: options.apiVersion,
    metadata: {
      resourceVersion: metadata["resourceVersion"],
      continue: metadata["continue"] || undefined,
      remainingItemCount: metadata["remainingItemCount"]
    },
    columnDefinitions: options.columns
      ? columns.map(({ description, name, type }) => ({
          name,
          type,
          format: name === "Name" ? "name" : "",
          description,
          priority: 0
        }))
      : null,
    rows: objects.map((object) => ({
      cells: columns.map(({ cell }) => cell(object)),
      object:
        options.includeObject === "None"
          ? null
          : options.includeObject === "Object"
            ? object
            : {
                kind: "PartialObjectMetadata",
                apiVersion: options.apiVersion,
                metadata: inStructOrder(objectAt(object, "metadata"))
              }
    }))
  }
}

const metadataMembers = [
  "name",
  "generateName",
  "namespace",
  "selfLink",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "labels",
  "annotations",
  "ownerReferences",
  "finalizers"
]
const managerMembers = ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"]

const pick = (object: JsonObject, members: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(members.map((member) => [member, object[member]]))

/** Metadata alone is written from a struct, in its order, where whole objects have their keys sorted. */
const inStructOrder = (metadata: JsonObject): JsonObject => {
  const managers = metadata["managedFields"]
  return {
    ...pick(metadata, metadataMembers),
    managedFields: isArray(managers)
      ? managers.map((manager) => (isObject(manager) ? pick(manager, managerMembers) : manager))
      : undefined
  }
}

/** What a client accepts: plain JSON, or a table. */
export const tableVersion = (accept: string): string | undefined => {
  for (const part of accept.split(",")) {
    const [type, ...parameters] = part.split(";").map((one) => one.trim())
    const as = parameters.find((one) => one.startsWith("as="))?.slice(3)
    if (type !== "application/json" && type !== "*/*") continue
    if (as === undefined) return undefined
    if (as !== "Table") continue
    return `meta.k8s.io/${parameters.find((one) => one.startsWith("v="))?.slice(2) ?? "v1"}`
  }
  return undefined
}

export const kindOfList = (resource: Resource) => ({
  apiVersion: apiVersionOf(resource),
  kind: `${resource.kind}List`
})
