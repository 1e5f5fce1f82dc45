/** Who am I and what may I do: the self-reviews that a client asks before it blames a permission. */
import { type JsonObject, objectAt, stringAt } from "./Json.ts"

/** One access to a resource, as permissions speak of it. */
export interface Access {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}

export const username = "kpu-local-admin"

export const selfSubjectReview = (): JsonObject => ({
  kind: "SelfSubjectReview",
  apiVersion: "authentication.k8s.io/v1",
  metadata: { creationTimestamp: null },
  status: { userInfo: { username, groups: ["system:masters", "system:authenticated"] } }
})

export const selfSubjectAccessReview = (body: JsonObject, allows: (access: Access) => boolean): JsonObject => {
  const spec = objectAt(body, "spec")
  const asked = objectAt(spec, "resourceAttributes")
  const allowed =
    spec["resourceAttributes"] === undefined ||
    allows({
      verb: stringAt(asked, "verb") ?? "",
      group: stringAt(asked, "group") ?? "",
      resource: stringAt(asked, "resource") ?? "",
      subresource: stringAt(asked, "subresource") ?? "",
      namespace: stringAt(asked, "namespace") ?? "",
      name: stringAt(asked, "name") ?? ""
    })
  return {
    kind: "SelfSubjectAccessReview",
    apiVersion: "authorization.k8s.io/v1",
    metadata: { creationTimestamp: null },
    spec,
    status: { allowed }
  }
}

/** The words of a refusal, as the real authorizer says them. */
export const refusal = (access: Access): string => {
  const resource = access.subresource === "" ? access.resource : `${access.resource}/${access.subresource}`
  const where = access.namespace === "" ? " at the cluster scope" : ` in the namespace "${access.namespace}"`
  return `User "${username}" cannot ${access.verb} resource "${resource}" in API group "${access.group}"${where}`
}
