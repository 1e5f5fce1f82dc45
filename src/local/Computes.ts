/**
 * Writes on Computes: what the API server does to an object between the request and the store. Unknown fields are
 * dropped, defaults filled in, `spec` and `status` kept apart, ownership recorded, the generation counted, the result
 * validated; and a write that changes nothing writes nothing.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { computeSchema } from "./Crd.ts"
import { equalButTimes, recordApply, recordUpdate, type Write } from "./FieldManagers.ts"
import { pathOf } from "./FieldSet.ts"
import { equals, isArray, isObject, type Json, type JsonObject, normalizeObject, objectAt, stringAt } from "./Json.ts"
import { apiVersionOf, computes, namespaces } from "./Resources.ts"
import {
  ApiFailure,
  alreadyExists,
  badRequest,
  cannotFulfil,
  internal,
  invalid,
  modified,
  notFound,
  type Status,
  success
} from "./Status.ts"
import type { Store } from "./Store.ts"
import { fillDefaults, pruneUnknown, withObjectMeta } from "./StructuralSchema.ts"
import { typeErrors } from "./TypedMerge.ts"
import { metadataTypeProblem, problemsOf, statusProblemsOf } from "./Validation.ts"

const apiVersion = apiVersionOf(computes)
/** The schema of Computes, with the API server's own `metadata`. */
export const schema = withObjectMeta(computeSchema)

export type Subresource = "status" | undefined
export type FieldValidation = "Strict" | "Warn" | "Ignore"

export interface WriteOptions {
  readonly fieldManager: string
  readonly fieldValidation: FieldValidation
  readonly dryRun: boolean
}

export interface Written {
  readonly object: JsonObject
  readonly created: boolean
  /** For the client's `Warning` headers. */
  readonly warnings: ReadonlyArray<string>
}

export interface Preconditions {
  readonly uid?: string | undefined
  readonly resourceVersion?: string | undefined
}

export interface Computes {
  readonly create: (namespace: string, body: JsonObject, options: WriteOptions) => Written
  /** Replaces the object with what `change` makes of it. */
  readonly update: (
    namespace: string,
    name: string,
    subresource: Subresource,
    kind: "put" | "patch",
    change: (live: JsonObject) => JsonObject,
    options: WriteOptions
  ) => Written
  readonly apply: (
    namespace: string,
    name: string,
    subresource: Subresource,
    body: JsonObject,
    options: WriteOptions & { readonly force: boolean }
  ) => Written
  readonly delete: (
    namespace: string,
    name: string,
    options: { readonly preconditions: Preconditions; readonly dryRun: boolean }
  ) => JsonObject | Status
}

/** `2026-11-24T20:13:57Z`: Kubernetes' times have no fraction. */
export const timestamp = (at: Date = new Date()): string => at.toISOString().replace(/\.\d+Z$/, "Z")

const metadataOf = (object: JsonObject): JsonObject => objectAt(object, "metadata")
const withMetadata = (object: JsonObject, metadata: JsonObject): JsonObject => ({
  ...object,
  metadata: { ...metadataOf(object), ...metadata }
})

const alphanumerics = "bcdfghjklmnpqrstvwxz2456789"
const randomSuffix = () => [...randomBytes(5)].map((byte) => alphanumerics[byte % alphanumerics.length]).join("")

const contentOf = (object: JsonObject): JsonObject => {
  const { metadata: _, ...content } = object
  return content
}

/** Fields that a door does not write. */
const ignoredBy = (subresource: Subresource) => [pathOf(subresource === "status" ? "spec" : "status")]

const writeOf = (options: WriteOptions, subresource: Subresource): Write => ({
  manager: options.fieldManager,
  apiVersion,
  subresource,
  ignored: ignoredBy(subresource),
  time: timestamp()
})

const unreadable = (problem: string) =>
  badRequest(
    `${computes.kind} in version ${JSON.stringify(computes.version)} cannot be handled as a ${computes.kind}: ${problem}`
  )

const unpatchable = (patched: JsonObject, problem: string) => {
  const message = `Invalid value: ${JSON.stringify(JSON.stringify(normalizeObject(patched)))}: ${problem}`
  return invalid({ group: "", kind: "", plural: "" }, "", [{ reason: "FieldValueInvalid", message, field: "patch" }])
}

const checkType = (object: JsonObject, name: string) => {
  const given = stringAt(object, "apiVersion") ?? ""
  const kind = stringAt(object, "kind") ?? ""
  if (given !== "" && given !== apiVersion) {
    throw badRequest(`the API version in the data (${given}) does not match the expected API version (${apiVersion})`)
  }
  if (kind !== "" && kind !== computes.kind) {
    const message = `Invalid value: ${JSON.stringify(kind)}: must be ${computes.kind}`
    throw invalid({ ...computes, kind }, name, [{ reason: "FieldValueInvalid", message, field: "kind" }])
  }
  const problem = metadataTypeProblem(object)
  if (problem !== undefined) throw unreadable(problem)
}

/** Drops unknown fields; gives the warnings, or refuses, as the client asked. */
const prune = (
  object: JsonObject,
  validation: FieldValidation,
  refuse: (problem: string) => ApiFailure
): readonly [JsonObject, ReadonlyArray<string>] => {
  const unknown: Array<string> = []
  const kept = pruneUnknown(object, schema, unknown) as JsonObject
  const problems = unknown.sort().map((path) => `unknown field ${JSON.stringify(path)}`)
  if (validation === "Strict" && problems.length > 0) throw refuse(`strict decoding error: ${problems.join(", ")}`)
  return [kept, validation === "Warn" ? problems : []]
}

/** A null counts as absent where the schema does not say that null is a value. */
const dropNulls = (value: Json): Json => {
  if (isArray(value)) return value.map(dropNulls)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) =>
      member === undefined || member === null ? [] : [[key, dropNulls(member)]]
    )
  )
}

/**
 * What is empty in the metadata is not kept: the real server reads it into a struct that leaves such members out. (What
 * it stores may still hold them, and then the next write that changes nothing counts as one. That is not imitated.)
 */
const withoutEmptyMetadata = (object: JsonObject): JsonObject => ({
  ...object,
  metadata: Object.fromEntries(
    Object.entries(metadataOf(object)).filter(
      ([key, value]) => key === "managedFields" || !(value === "" || value === null || isEmptyCollection(value))
    )
  )
})

const isEmptyCollection = (value: Json | undefined): boolean =>
  isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0

/** A request's object; of an apply's result the nulls stay, as they do on the real server. */
const complete = (object: JsonObject, applied = false): JsonObject =>
  withoutEmptyMetadata(fillDefaults(applied ? object : dropNulls(object), schema) as JsonObject)

/** A refusal carries the warnings too that came before it. */
const warning = <A>(warnings: ReadonlyArray<string>, write: () => A): A => {
  try {
    return write()
  } catch (error) {
    if (error instanceof ApiFailure) error.warnings = warnings
    throw error
  }
}

const asNumber = (version: string) => (/^\d+$/.test(version) ? version : "0")

export const make = (store: Store): Computes => {
  const liveOf = (namespace: string, name: string) => store.get(computes.plural, namespace, name)

  const create = (
    namespace: string,
    body: JsonObject,
    options: WriteOptions,
    record: "applied" | ((object: JsonObject) => JsonObject)
  ): Written => {
    checkType(body, stringAt(metadataOf(body), "name") ?? "")
    const [kept, warnings] = prune(body, options.fieldValidation, unreadable)
    return warning(warnings, () => createKept(namespace, kept, options, record, warnings))
  }

  const createKept = (
    namespace: string,
    kept: JsonObject,
    options: WriteOptions,
    record: "applied" | ((object: JsonObject) => JsonObject),
    warnings: ReadonlyArray<string>
  ): Written => {
    const given = metadataOf(kept)
    const inBody = stringAt(given, "namespace") ?? ""
    if (inBody !== "" && inBody !== namespace) {
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request")
    }
    if (store.get(namespaces.plural, "", namespace) === undefined) throw notFound(namespaces, namespace)
    if ((stringAt(given, "resourceVersion") ?? "") !== "") {
      throw internal("resourceVersion should not be set on objects to be created")
    }
    const generateName = stringAt(given, "generateName") ?? ""
    const name = (stringAt(given, "name") ?? "") || (generateName === "" ? "" : generateName + randomSuffix())
    const { status: _, ...desired } = complete({ ...kept, apiVersion, kind: computes.kind }, record === "applied")
    const recorded = record === "applied" ? desired : record(desired)
    const object = withMetadata(recorded, {
      name: name === "" ? undefined : name,
      namespace,
      uid: randomUUID(),
      creationTimestamp: timestamp(),
      generation: 1,
      resourceVersion: undefined,
      deletionTimestamp: undefined,
      deletionGracePeriodSeconds: undefined,
      selfLink: undefined
    })
    const causes = problemsOf(object, schema)
    if (causes.length > 0) throw invalid(computes, name, causes)
    if (liveOf(namespace, name) !== undefined) throw alreadyExists(computes, name)
    return {
      object: options.dryRun ? normalizeObject(object) : store.put(computes.plural, object),
      created: true,
      warnings
    }
  }

  /** From the desired object, ownership recorded, to the stored one. */
  const replace = (
    live: JsonObject,
    desired: JsonObject,
    subresource: Subresource,
    warnings: ReadonlyArray<string>,
    dryRun: boolean
  ): Written => {
    const now = metadataOf(live)
    const name = stringAt(now, "name") ?? ""
    const wanted = metadataOf(desired)
    let object: JsonObject
    if (subresource === "status") {
      object = { ...live, status: desired["status"] }
      object = withMetadata(object, { managedFields: wanted["managedFields"] })
    } else {
      object = withMetadata(
        { ...desired, status: live["status"] },
        {
          name,
          namespace: now["namespace"],
          uid: now["uid"],
          creationTimestamp: now["creationTimestamp"],
          generation: now["generation"],
          resourceVersion: now["resourceVersion"],
          deletionTimestamp: now["deletionTimestamp"],
          deletionGracePeriodSeconds: now["deletionGracePeriodSeconds"],
          generateName: wanted["generateName"],
          selfLink: undefined
        }
      )
      if (!equals(contentOf(object), contentOf(live))) {
        object = withMetadata(object, { generation: Number(now["generation"]) + 1 })
      }
    }
    object = normalizeObject(object)
    const causes = subresource === "status" ? statusProblemsOf(object, schema) : problemsOf(object, schema)
    if (causes.length > 0) throw invalid(computes, name, causes)
    if (equalButTimes(object, live)) return { object: live, created: false, warnings }
    if (dryRun) return { object, created: false, warnings }
    if (metadataOf(object)["deletionTimestamp"] !== undefined && !hasFinalizers(object)) {
      store.remove(computes.plural, stringAt(now, "namespace") ?? "", name)
      return { object, created: false, warnings }
    }
    return { object: store.put(computes.plural, object), created: false, warnings }
  }

  const checkIdentity = (body: JsonObject, namespace: string, name: string) => {
    const metadata = metadataOf(body)
    const given = stringAt(metadata, "name") ?? ""
    if (given !== "" && given !== name) {
      throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`)
    }
    const inBody = stringAt(metadata, "namespace") ?? ""
    if (inBody !== "" && inBody !== namespace) {
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request")
    }
  }

  const checkUid = (body: JsonObject, live: JsonObject, name: string) => {
    const uid = stringAt(metadataOf(body), "uid") ?? ""
    if (uid === "" || uid === metadataOf(live)["uid"]) return
    const cause = {
      reason: "FieldValueInvalid",
      message: `Invalid value: ${JSON.stringify(uid)}: field is immutable`,
      field: "metadata.uid"
    }
    throw invalid(computes, name, [cause, cause])
  }

  const checkVersion = (body: JsonObject, live: JsonObject, name: string) => {
    const version = stringAt(metadataOf(body), "resourceVersion") ?? ""
    if (version !== "" && version !== "0" && version !== metadataOf(live)["resourceVersion"]) {
      throw modified(computes, name)
    }
  }

  /** A replacement says which version it replaces, and not another object's uid. */
  const checkReplacement = (body: JsonObject, live: JsonObject, namespace: string, name: string) => {
    const given = metadataOf(body)
    if (asNumber(stringAt(given, "resourceVersion") ?? "") === "0") {
      const message = "Invalid value: 0: must be specified for an update"
      const cause = { reason: "FieldValueInvalid", message, field: "metadata.resourceVersion" }
      throw invalid({ ...computes, kind: computes.plural }, name, [cause])
    }
    const uid = stringAt(given, "uid") ?? ""
    const actual = stringAt(metadataOf(live), "uid") ?? ""
    if (uid !== "" && uid !== actual) {
      const key = `/registry/${computes.group}/${computes.plural}/${namespace}/${name}`
      throw cannotFulfil(
        computes,
        computes.plural,
        name,
        `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${uid}, UID in object meta: ${actual}`
      )
    }
  }

  return {
    create: (namespace, body, options) =>
      create(namespace, body, options, (object) => recordUpdate({}, object, schema, writeOf(options, undefined))),

    update: (namespace, name, subresource, kind, change, options) => {
      const live = liveOf(namespace, name)
      if (kind === "patch" && live === undefined) throw notFound(computes, name)
      const body = change(live ?? {})
      checkType(body, name)
      const [kept, warnings] = prune(body, options.fieldValidation, (problem) =>
        kind === "put" ? unreadable(problem) : unpatchable(body, problem)
      )
      return warning(warnings, () => {
        checkIdentity(body, namespace, name)
        if (live === undefined) throw notFound(computes, name)
        if (kind === "patch") checkUid(body, live, name)
        else checkReplacement(body, live, namespace, name)
        checkVersion(body, live, name)
        const recorded = recordUpdate(
          live,
          complete({ ...kept, apiVersion, kind: computes.kind }),
          schema,
          writeOf(options, subresource)
        )
        return replace(live, recorded, subresource, warnings, options.dryRun)
      })
    },

    apply: (namespace, name, subresource, body, options) => {
      checkIdentity(body, namespace, name)
      const live = liveOf(namespace, name)
      if (live === undefined && subresource !== undefined) throw notFound(computes, name)
      const [given, kind] = [stringAt(body, "apiVersion") ?? "", stringAt(body, "kind") ?? ""]
      if (given !== apiVersion || kind !== computes.kind) {
        const [group = "", version = ""] = given.includes("/") ? given.split("/") : ["", given]
        throw badRequest(`invalid object type: ${group}/${version}, Kind=${kind}`)
      }
      if (metadataOf(body)["managedFields"] !== undefined && metadataOf(body)["managedFields"] !== null) {
        throw badRequest("metadata.managedFields must be nil")
      }
      if (live !== undefined) checkVersion(body, live, name)
      const errors = typeErrors(body, schema)
      if (errors.length > 0) {
        const { metadata } = body
        const who = `${stringAt(metadata, "namespace") ?? ""}/${stringAt(metadata, "name") ?? ""}; ${apiVersion}, Kind=${kind}`
        const told = errors.length === 1 ? errors[0] : `errors:\n${errors.map((error) => `  ${error}`).join("\n")}`
        throw internal(`failed to create typed patch object (${who}): ${told}`)
      }
      const base = live ?? { apiVersion, kind: computes.kind, metadata: { name, namespace } }
      const merged = recordApply(base, body, schema, writeOf(options, subresource), options.force)
      if (live === undefined) {
        const uid = stringAt(metadataOf(body), "uid") ?? ""
        if (uid !== "") {
          const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`
          throw cannotFulfil(computes, computes.plural, name, why)
        }
        return create(namespace, withMetadata(merged, { resourceVersion: undefined }), options, "applied")
      }
      checkUid(merged, live, name)
      return replace(live, complete(merged, true), subresource, [], options.dryRun)
    },

    delete: (namespace, name, { dryRun, preconditions }) => {
      const live = liveOf(namespace, name)
      if (live === undefined) throw notFound(computes, name)
      const metadata = metadataOf(live)
      const uid = stringAt(metadata, "uid") ?? ""
      const version = stringAt(metadata, "resourceVersion") ?? ""
      if (preconditions.uid !== undefined && preconditions.uid !== uid) {
        throw cannotFulfil(
          computes,
          computes.kind,
          name,
          `the UID in the precondition (${preconditions.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`
        )
      }
      if (preconditions.resourceVersion !== undefined && preconditions.resourceVersion !== version) {
        throw cannotFulfil(
          computes,
          computes.kind,
          name,
          `the ResourceVersion in the precondition (${preconditions.resourceVersion}) does not match the ResourceVersion in record (${version}). The object might have been modified`
        )
      }
      if (!hasFinalizers(live)) {
        if (!dryRun) store.remove(computes.plural, namespace, name)
        return success(computes, name, uid)
      }
      if (metadata["deletionTimestamp"] !== undefined) return live
      const deleting = withMetadata(live, {
        deletionTimestamp: timestamp(),
        deletionGracePeriodSeconds: 0,
        generation: Number(metadata["generation"]) + 1
      })
      return dryRun ? normalizeObject(deleting) : store.put(computes.plural, deleting)
    }
  }
}

const hasFinalizers = (object: JsonObject): boolean => {
  const finalizers = metadataOf(object)["finalizers"]
  return isArray(finalizers) && finalizers.length > 0
}
