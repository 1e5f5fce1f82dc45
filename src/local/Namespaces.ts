/** Namespaces: created, and deleted with all that is in them. */
import { randomUUID } from "node:crypto"
import { timestamp } from "./Computes.ts"
import { type JsonObject, normalizeObject, objectAt, stringAt } from "./Json.ts"
import { computes, events, namespaces, pods } from "./Resources.ts"
import { alreadyExists, forbidden, invalid, notFound } from "./Status.ts"
import type { Store } from "./Store.ts"

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const labelMessage =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"

export const create = (store: Store, body: JsonObject, dryRun: boolean): JsonObject => {
  const given = objectAt(body, "metadata")
  const generateName = stringAt(given, "generateName") ?? ""
  const generated = generateName === "" ? "" : generateName + randomUUID().slice(0, 5)
  const name = (stringAt(given, "name") ?? "") || generated
  if (!label.test(name) || name.length > 63) {
    const message = `Invalid value: ${JSON.stringify(name)}: ${labelMessage}`
    const cause = { reason: "FieldValueInvalid", message, field: "metadata.name" }
    throw invalid(namespaces, name, [cause])
  }
  if (store.get(namespaces.plural, "", name) !== undefined) throw alreadyExists(namespaces, name)
  const object: JsonObject = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name,
      uid: randomUUID(),
      creationTimestamp: timestamp(),
      labels: { ...objectAt(given, "labels"), "kubernetes.io/metadata.name": name }
    },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" }
  }
  return dryRun ? normalizeObject(object) : store.put(namespaces.plural, object)
}

export const remove = (store: Store, name: string): JsonObject => {
  const object = store.get(namespaces.plural, "", name)
  if (object === undefined) throw notFound(namespaces, name)
  if (name === "default" || name === "kube-system")
    throw forbidden(namespaces, name, "this namespace may not be deleted")
  for (const { plural } of [computes, pods, events]) {
    for (const one of store.list(plural)) {
      const metadata = objectAt(one, "metadata")
      if (metadata["namespace"] === name) store.remove(plural, name, stringAt(metadata, "name") ?? "")
    }
  }
  store.remove(namespaces.plural, "", name)
  const terminating = {
    metadata: { ...objectAt(object, "metadata"), deletionTimestamp: timestamp() },
    status: { phase: "Terminating" }
  }
  return normalizeObject({ ...object, ...terminating })
}
