/** Label and field selectors of lists and watches. */
import { type JsonObject, objectAt, stringAt } from "./Json.ts"
import type { Resource } from "./Resources.ts"
import { badRequest } from "./Status.ts"

export type Selector = (object: JsonObject) => boolean

/** Cuts at commas outside of parentheses. */
const requirements = (selector: string): ReadonlyArray<string> =>
  selector
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== "")

const setBased = /^([^\s!=(),]+)\s+(in|notin)\s*\(([^)]*)\)$/
const equalityBased = /^([^\s!=(),]+)\s*(==|=|!=)\s*([^\s!=(),]*)$/
const exists = /^(!?)\s*([^\s!=(),]+)$/

const labelRequirement = (text: string): ((labels: JsonObject) => boolean) => {
  const inSet = setBased.exec(text)
  if (inSet !== null) {
    const [, key = "", operator, list = ""] = inSet
    const values = new Set(list.split(",").map((value) => value.trim()))
    return operator === "in"
      ? (labels) => labels[key] !== undefined && values.has(String(labels[key]))
      : (labels) => labels[key] === undefined || !values.has(String(labels[key]))
  }
  const equality = equalityBased.exec(text)
  if (equality !== null) {
    const [, key = "", operator, value] = equality
    return operator === "!=" ? (labels) => labels[key] !== value : (labels) => labels[key] === value
  }
  const presence = exists.exec(text)
  if (presence !== null) {
    const [, not, key = ""] = presence
    return (labels) => (labels[key] !== undefined) === (not === "")
  }
  const found = text.split(/\s+/)[1] ?? text
  throw badRequest(`unable to parse requirement: found '${found}', expected: in, notin, =, ==, !=, gt, lt`)
}

export const labelSelector = (selector: string): Selector => {
  const all = requirements(selector).map(labelRequirement)
  return (object) => {
    const labels = objectAt(objectAt(object, "metadata"), "labels")
    return all.every((holds) => holds(labels))
  }
}

const metadataFields = ["metadata.name", "metadata.namespace"]
const fieldsOfKind: { readonly [kind: string]: ReadonlyArray<string> } = {
  Pod: ["spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"],
  Event: [
    ...["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"].map(
      (field) => `involvedObject.${field}`
    ),
    "reason",
    "source",
    "type"
  ],
  Namespace: ["status.phase"]
}

const valueAt = (object: JsonObject, path: string): string => {
  const names = path.split(".")
  let at = object
  for (const name of names.slice(0, -1)) at = objectAt(at, name)
  return stringAt(at, names.at(-1)!) ?? ""
}

export const fieldSelector = (selector: string, resource: Resource): Selector => {
  const supported = [...metadataFields, ...(fieldsOfKind[resource.kind] ?? [])]
  const all = requirements(selector).map((text) => {
    const match = /^([^=!]+)(==|!=|=)(.*)$/.exec(text)
    if (match === null) throw badRequest(`invalid selector: '${selector}'; can't understand '${text}'`)
    const [, field = "", operator, value] = match
    if (!supported.includes(field)) throw badRequest(`field label not supported: ${field}`)
    return (object: JsonObject) => (valueAt(object, field) === value) === (operator !== "!=")
  })
  return (object) => all.every((holds) => holds(object))
}
