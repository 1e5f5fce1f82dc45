/** Which resource a request is about, and what it wants of it. */
import type { Call } from "./HttpCall.ts"
import { type Resource, rootOf, stored } from "./Resources.ts"
import { badRequest } from "./Status.ts"

/** A request to a resource, taken apart. */
export interface Target {
  readonly resource: Resource
  readonly namespace: string | undefined
  readonly name: string | undefined
  readonly subresource: string | undefined
}

const decodePart = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    throw badRequest(`invalid URL escape in ${JSON.stringify(part)}`)
  }
}

export const targetOf = (path: string): Target | undefined => {
  for (const resource of stored) {
    const root = `${rootOf(resource)}/`
    if (!path.startsWith(root)) continue
    const parts = path.slice(root.length).split("/").map(decodePart)
    if (parts[0] === "namespaces" && resource.namespaced && parts.length >= 3 && parts[2] === resource.plural) {
      const [, namespace, , name, subresource, ...more] = parts
      if (more.length === 0) return { resource, namespace, name, subresource }
    } else if (parts[0] === resource.plural && parts.length <= (resource.namespaced ? 1 : 2)) {
      return { resource, namespace: undefined, name: parts[1], subresource: undefined }
    }
  }
  return undefined
}

export const isWatch = (call: Call) => ["true", "1"].includes(call.query.get("watch") ?? "")

/** The verb that permissions speak of. */
export const verbOf = (call: Call, { name }: Target): string => {
  switch (call.method) {
    case "POST":
      return "create"
    case "PUT":
      return "update"
    case "PATCH":
      return "patch"
    case "DELETE":
      return name === undefined ? "deletecollection" : "delete"
    default:
      return name !== undefined ? "get" : isWatch(call) ? "watch" : "list"
  }
}

/** A field selector that asks for one name, and what the name may be. */
const exactName = /^metadata\.name==?([^=!/%]+)$/

/** The name that permissions speak of: a list or watch of one name counts as access to that name. */
export const nameOf = (call: Call, { name }: Target): string => {
  if (name !== undefined) return name
  for (const term of (call.query.get("fieldSelector") ?? "").split(",")) {
    const exact = exactName.exec(term.trim())?.[1]
    if (exact !== undefined) return exact
  }
  return ""
}
