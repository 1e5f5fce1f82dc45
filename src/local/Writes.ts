/** Writes on Computes, from the request to the answer: options, bodies, the kinds of patch. */
import type { Computes, FieldValidation, WriteOptions } from "./Computes.ts"
import {
  answer,
  type Call,
  contentType,
  parseApplied,
  parseObject,
  parsePatch,
  readBody,
  warningHeaders
} from "./HttpCall.ts"
import { encode, objectAt, stringAt } from "./Json.ts"
import * as Lists from "./Lists.ts"
import { applyJsonPatch, applyMergePatch } from "./Patch.ts"
import { answerObject } from "./Reads.ts"
import { computes as computesResource } from "./Resources.ts"
import { badRequest, invalid, methodNotAllowed, unsupportedMediaType } from "./Status.ts"
import type { Store } from "./Store.ts"
import { kindOfList } from "./Table.ts"
import type { Target } from "./Target.ts"

/** What the routes share. */
export interface WriteContext {
  readonly store: Store
  readonly computes: Computes
}

/** The options that every write takes in its query. */
export const optionsOf = (call: Call, kind: string): WriteOptions => {
  const refuse = (field: string, message: string, reason = "FieldValueNotSupported") =>
    invalid({ group: "meta.k8s.io", kind, plural: "" }, "", [{ reason, message, field }])
  const dryRun = call.query.getAll("dryRun")
  if (dryRun.some((value) => value !== "All")) {
    throw refuse("dryRun", `Unsupported value: ${encode(dryRun)}: supported values: "All"`)
  }
  const validation = call.query.get("fieldValidation") ?? ""
  if (!["", "Strict", "Warn", "Ignore"].includes(validation)) {
    const supported = '"", "Ignore", "Strict", "Warn"'
    throw refuse("fieldValidation", `Unsupported value: ${encode(validation)}: supported values: ${supported}`)
  }
  const fieldManager = call.query.get("fieldManager") ?? ""
  if ([...fieldManager].length > 128) {
    throw refuse("fieldManager", "Too long: may not be more than 128 bytes", "FieldValueTooLong")
  }
  const agent = (call.request.headers["user-agent"] ?? "").split("/")[0] ?? ""
  return {
    fieldManager: fieldManager || agent || "unknown",
    fieldValidation: (validation || "Warn") as FieldValidation,
    dryRun: dryRun.length > 0
  }
}

const patchCompute = (
  { computes }: WriteContext,
  call: Call,
  namespace: string,
  name: string,
  sub: "status" | undefined,
  body: string
) => {
  const given = optionsOf(call, "PatchOptions")
  const refuse = (field: string, message: string, reason: string) =>
    invalid({ group: "meta.k8s.io", kind: "PatchOptions", plural: "" }, "", [{ reason, message, field }])
  const type = contentType(call.request)
  const force = call.query.get("force")
  if (type === "application/apply-patch+yaml") {
    if ((call.query.get("fieldManager") ?? "") === "") {
      throw refuse("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
    }
    const written = computes.apply(namespace, name, sub, parseApplied(body), { ...given, force: force === "true" })
    const code = written.created ? 201 : 200
    return answerObject(call, computesResource, code, written.object, warningHeaders(written.warnings))
  }
  const change =
    type === "application/merge-patch+json"
      ? applyMergePatch
      : type === "application/json-patch+json"
        ? applyJsonPatch
        : undefined
  if (change === undefined) {
    throw unsupportedMediaType([
      "application/json-patch+json",
      "application/merge-patch+json",
      "application/apply-patch+yaml"
    ])
  }
  if (force !== null) {
    throw refuse("force", "Forbidden: may not be specified for non-apply patch", "FieldValueForbidden")
  }
  const patch = parsePatch(body)
  const written = computes.update(namespace, name, sub, "patch", (live) => change(live, patch), given)
  return answerObject(call, computesResource, 200, written.object, warningHeaders(written.warnings))
}

export const writeCompute = async (
  context: WriteContext,
  call: Call,
  { name, namespace = "", resource, subresource }: Target
) => {
  const { computes, store } = context
  const sub = subresource === "status" ? "status" : undefined
  const body = await readBody(call.request)
  switch (call.method) {
    case "POST": {
      if (name !== undefined) throw methodNotAllowed()
      const written = computes.create(namespace, parseObject(body, resource.kind), optionsOf(call, "CreateOptions"))
      return answerObject(call, resource, 201, written.object, warningHeaders(written.warnings))
    }
    case "PUT": {
      if (name === undefined) throw badRequest("name must be provided")
      const object = parseObject(body, resource.kind)
      const given = optionsOf(call, "UpdateOptions")
      const written = computes.update(namespace, name, sub, "put", () => object, given)
      return answerObject(call, resource, 200, written.object, warningHeaders(written.warnings))
    }
    case "PATCH": {
      if (name === undefined) throw methodNotAllowed()
      return patchCompute(context, call, namespace, name, sub, body)
    }
    case "DELETE": {
      if (sub !== undefined) throw methodNotAllowed()
      const given = body === "" ? {} : parseObject(body, "DeleteOptions")
      const { dryRun } = optionsOf(call, "DeleteOptions")
      const preconditions = objectAt(given, "preconditions")
      const wanted = {
        preconditions: {
          uid: stringAt(preconditions, "uid"),
          resourceVersion: stringAt(preconditions, "resourceVersion")
        },
        dryRun: dryRun || JSON.stringify(given["dryRun"]) === '["All"]'
      }
      if (name !== undefined) return answer(call, 200, computes.delete(namespace, name, wanted))
      const page = Lists.list(store, resource, namespace, call.query)
      for (const object of page.items) {
        const metadata = objectAt(object, "metadata")
        computes.delete(stringAt(metadata, "namespace") ?? "", stringAt(metadata, "name") ?? "", wanted)
      }
      const { apiVersion, kind } = kindOfList(resource)
      return answer(call, 200, { apiVersion, items: page.items, kind, metadata: page.metadata })
    }
    default:
      throw methodNotAllowed()
  }
}
