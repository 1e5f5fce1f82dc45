/**
 * The HTTP door of the embedded API: authentication, routing, content negotiation, watches as streams. What a request
 * means is in the modules that it calls; every refusal arrives here as an `ApiFailure` and leaves as a `Status`.
 *
 * **Gotchas** Plain HTTP on loopback. A watch whose client reads too slowly is closed, as the real
 * server does: the client lists anew.
 */
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { parse as parseYaml } from "yaml"
import { type Computes, schema as computeSchema, type FieldValidation, type WriteOptions } from "./Computes.ts"
import * as Discovery from "./Discovery.ts"
import { encode, isObject, type Json, type JsonObject, objectAt, stringAt } from "./Json.ts"
import * as Lists from "./Lists.ts"
import * as Namespaces from "./Namespaces.ts"
import * as OpenApi from "./OpenApi.ts"
import { applyJsonPatch, applyMergePatch } from "./Patch.ts"
import * as Protobuf from "./Protobuf.ts"
import { computes as computesResource, namespaces, type Resource, rootOf, stored } from "./Resources.ts"
import { type Access, refusal, selfSubjectAccessReview, selfSubjectReview } from "./Reviews.ts"
import {
  ApiFailure,
  badRequest,
  forbidden,
  internal,
  invalid,
  methodNotAllowed,
  notFound,
  unauthorized,
  unsupportedMediaType
} from "./Status.ts"
import type { Store } from "./Store.ts"
import { kindOfList, type TableOptions, tableOf, tableVersion } from "./Table.ts"

export interface ApiServerOptions {
  readonly host: string
  readonly port: number
  readonly token: string
  readonly store: Store
  readonly computes: Computes
  readonly allows: (access: Access) => boolean
  readonly bookmarkMillis: number
}

export interface ApiServer {
  readonly port: number
  readonly close: () => Promise<void>
  /** Cuts every watch, as a restart of the server would. */
  readonly cutWatches: () => void
}

/** Bytes that may wait for a slow watcher. */
const MAX_WATCH_BACKLOG = 32 * 1024 * 1024
/** The real server's limit on a request's body. */
const MAX_BODY = 3 * 1024 * 1024

interface Call {
  readonly request: Http.IncomingMessage
  readonly response: Http.ServerResponse
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly accept: string
  /** People's tools get their JSON indented. */
  readonly pretty: boolean
}

type Headers = { readonly [name: string]: string | Array<string> }

const readBytes = async (request: Http.IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY) {
      throw new ApiFailure(413, "RequestEntityTooLarge", `Request entity too large: limit is ${MAX_BODY}`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const readBody = async (request: Http.IncomingMessage): Promise<string> => (await readBytes(request)).toString("utf8")

/** An object of a built-in kind, which kubectl may write as protobuf. */
const readBuiltIn = async (request: Http.IncomingMessage, kind: string): Promise<JsonObject> => {
  const bytes = await readBytes(request)
  return contentType(request) === Protobuf.contentType ? Protobuf.decode(bytes) : parseObject(bytes.toString(), kind)
}

const answer = (call: Call, code: number, body: unknown, headers: Headers = {}) => {
  if (call.response.headersSent || call.response.destroyed) return
  const text = encode(body, call.pretty) + (call.pretty ? "" : "\n")
  call.response.writeHead(code, {
    "cache-control": "no-cache, private",
    "content-type": "application/json",
    ...headers,
    "content-length": Buffer.byteLength(text)
  })
  call.response.end(call.method === "HEAD" ? undefined : text)
}

const answerText = (call: Call, code: number, text: string) => {
  call.response.writeHead(code, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" })
  call.response.end(text)
}

const answerFailure = (call: Call, error: unknown) => {
  const failure = error instanceof ApiFailure ? error : internal(error instanceof Error ? error.message : String(error))
  const retry = failure.body.details?.retryAfterSeconds
  answer(call, failure.code, failure.body, {
    ...warningHeaders(failure.warnings),
    ...(retry === undefined ? {} : { "retry-after": String(retry) })
  })
}

/**
 * A wrong token is refused; none at all is let in, because kubectl sends none over plain HTTP. Web pages are not: a
 * browser tells where a request comes from, or names a host that is not this one.
 */
const authenticate = (request: Http.IncomingMessage, token: string) => {
  const { authorization, host, origin } = request.headers
  if (authorization !== undefined && authorization !== `Bearer ${token}`) throw unauthorized()
  if (authorization === undefined) {
    const name = (host ?? "").replace(/:\d+$/, "")
    if (origin !== undefined || !["localhost", "127.0.0.1", "[::1]"].includes(name)) throw unauthorized()
  }
}

/** The media type without parameters. */
const contentType = (request: Http.IncomingMessage) => (request.headers["content-type"] ?? "").split(";")[0]!.trim()

/** How the real server quotes a body that it cannot read. */
const summary = (text: string): string => {
  if (text === "") return "<empty>"
  if (text.startsWith("{")) return text.length > 30 ? `${text.slice(0, 30)} ...` : text
  const bytes = Buffer.from(text)
  return bytes.length > 30 ? `${bytes.subarray(0, 30).toString("hex")} ...` : bytes.toString("hex")
}

const parseObject = (text: string, kind: string): JsonObject => {
  const refuse = (problem: string) =>
    badRequest(`the object provided is unrecognized (must be of type ${kind}): ${problem} (${summary(text)})`)
  let value: Json
  try {
    value = JSON.parse(text)
  } catch {
    throw refuse("couldn't get version/kind; json parse error: unexpected end of JSON input")
  }
  if (!isObject(value)) {
    const type = Array.isArray(value) ? "array" : typeof value
    const into =
      'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
    throw refuse(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${type} into Go value of type ${into}`
    )
  }
  if (kind !== "DeleteOptions" && (stringAt(value, "kind") ?? "") === "") {
    throw refuse(`Object 'Kind' is missing in '${text}'`)
  }
  return value
}

const parsePatch = (text: string): Json => {
  try {
    return JSON.parse(text)
  } catch {
    throw badRequest("error decoding patch: unexpected end of JSON input")
  }
}

const parseApplied = (text: string): JsonObject => {
  let value: Json
  try {
    value = JSON.parse(text)
  } catch {
    try {
      value = parseYaml(text)
    } catch (error) {
      const words = error instanceof Error ? error.message.split("\n")[0] : String(error)
      throw badRequest(`error decoding YAML: error converting YAML to JSON: yaml: ${words}`)
    }
  }
  if (!isObject(value)) throw badRequest("error decoding YAML: error unmarshaling JSON: the patch is not an object")
  return value
}

const optionsOf = (call: Call, kind: string): WriteOptions => {
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

const warningHeaders = (warnings: ReadonlyArray<string>): Headers =>
  warnings.length === 0 ? {} : { warning: warnings.map((text) => `299 - ${JSON.stringify(text)}`) }

/** A request to a resource, taken apart. */
interface Target {
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

const targetOf = (path: string): Target | undefined => {
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

export const start = async (options: ApiServerOptions): Promise<ApiServer> => {
  const { store } = options
  const watches = new Set<Http.ServerResponse>()

  const tableOptions = (call: Call): TableOptions | undefined => {
    const apiVersion = tableVersion(call.accept)
    if (apiVersion === undefined) return undefined
    const include = call.query.get("includeObject")
    return {
      apiVersion,
      includeObject: include === "None" || include === "Object" ? include : "Metadata",
      columns: true
    }
  }

  const answerObject = (call: Call, resource: Resource, code: number, object: JsonObject, headers?: Headers) => {
    const table = tableOptions(call)
    const metadata = { resourceVersion: stringAt(objectAt(object, "metadata"), "resourceVersion") }
    answer(call, code, table === undefined ? object : tableOf([object], metadata, resource, table), headers)
  }

  const startWatch = (call: Call, { namespace, resource }: Target) => {
    const { response } = call
    const table = tableOptions(call)
    let columns = true
    const pending: Array<string> = []
    let ended = false
    const send = ({ object, type }: Lists.WatchEvent) => {
      let shown: unknown = object
      if (table !== undefined && type !== "ERROR") {
        const metadata = { resourceVersion: stringAt(objectAt(object, "metadata"), "resourceVersion") }
        shown = tableOf(type === "BOOKMARK" ? [] : [object], metadata, resource, { ...table, columns })
        columns = false
      }
      const line = `${encode({ type, object: shown })}\n`
      if (!response.headersSent) pending.push(line)
      else {
        response.write(line)
        if (response.writableLength > MAX_WATCH_BACKLOG) response.destroy()
      }
    }
    const stop = Lists.watch(
      store,
      resource,
      namespace,
      call.query,
      { bookmarkMillis: options.bookmarkMillis, defaultTimeoutSeconds: () => 1800 + Math.random() * 1800 },
      send,
      () => {
        ended = true
        if (response.headersSent) response.end()
      }
    )
    response.on("close", () => {
      stop()
      watches.delete(response)
    })
    response.writeHead(200, { "cache-control": "no-cache, private", "content-type": "application/json" })
    response.flushHeaders()
    for (const line of pending) response.write(line)
    if (ended) response.end()
    else watches.add(response)
  }

  const isWatch = (call: Call) => ["true", "1"].includes(call.query.get("watch") ?? "")

  const read = (call: Call, target: Target) => {
    const { name, namespace, resource } = target
    if (name === undefined && isWatch(call)) return startWatch(call, target)
    if (name !== undefined) {
      const object = store.get(resource.plural, namespace ?? "", name)
      if (object === undefined) throw notFound(resource, name)
      return answerObject(call, resource, 200, object)
    }
    const page = Lists.list(store, resource, namespace, call.query)
    const table = tableOptions(call)
    if (table !== undefined) return answer(call, 200, tableOf(page.items, page.metadata, resource, table))
    const { apiVersion, kind } = kindOfList(resource)
    return answer(call, 200, { apiVersion, items: page.items, kind, metadata: page.metadata })
  }

  const writeCompute = async (call: Call, { name, namespace = "", resource, subresource }: Target) => {
    const { computes } = options
    const sub = subresource === "status" ? "status" : undefined
    const body = await readBody(call.request)
    switch (call.method) {
      case "POST": {
        if (name !== undefined) throw methodNotAllowed(resource)
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
        if (name === undefined) throw methodNotAllowed(resource)
        return patchCompute(call, namespace, name, sub, body)
      }
      case "DELETE": {
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
        throw methodNotAllowed(resource)
    }
  }

  const patchCompute = (call: Call, namespace: string, name: string, sub: "status" | undefined, body: string) => {
    const { computes } = options
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

  const verbOf = (call: Call, { name }: Target): string => {
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

  const handleResource = (call: Call, target: Target): void | Promise<void> => {
    const { resource, subresource } = target
    const access: Access = {
      verb: verbOf(call, target),
      group: resource.group,
      resource: resource.plural,
      subresource: subresource ?? "",
      namespace: target.namespace ?? "",
      name: target.name ?? ""
    }
    if (!options.allows(access)) {
      const failure = forbidden(resource, refusal(access))
      if (target.name === undefined) throw failure
      const about = `${failure.body.message ?? ""}`.replace(
        " is forbidden",
        ` ${JSON.stringify(target.name)} is forbidden`
      )
      throw new ApiFailure(403, "Forbidden", about, { ...failure.body.details, name: target.name })
    }
    if (subresource !== undefined && !(resource === computesResource && subresource === "status")) {
      throw notFound(resource, target.name ?? "")
    }
    if (call.method === "GET" || call.method === "HEAD") return read(call, target)
    if (resource === namespaces) return writeNamespace(call, target)
    if (resource !== computesResource) throw methodNotAllowed(resource)
    return writeCompute(call, target)
  }

  const writeNamespace = async (call: Call, { name, resource }: Target) => {
    if (call.method === "POST" && name === undefined) {
      const { dryRun } = optionsOf(call, "CreateOptions")
      const body = await readBuiltIn(call.request, "Namespace")
      return answerObject(call, resource, 201, Namespaces.create(store, body, dryRun))
    }
    if (call.method === "DELETE" && name !== undefined) {
      return answerObject(call, resource, 200, Namespaces.remove(store, name))
    }
    throw methodNotAllowed(resource)
  }

  const handleReview = async (call: Call) => {
    const body = await readBuiltIn(call.request, "SelfSubjectAccessReview")
    const reviewed = call.path.includes("selfsubjectaccessreviews")
      ? selfSubjectAccessReview(body, options.allows)
      : selfSubjectReview()
    answer(call, 201, reviewed)
  }

  const wantsAggregated = (call: Call) => /g=apidiscovery\.k8s\.io/.test(call.accept) && /v=v2\b/.test(call.accept)
  const aggregatedType = {
    "content-type": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
  }

  const handle = (call: Call, port: number): void | Promise<void> => {
    const { path } = call
    switch (path) {
      case "/version":
      case "/version/":
        return answer(call, 200, Discovery.version)
      case "/healthz":
      case "/livez":
      case "/readyz":
        return answerText(call, 200, "ok")
      case "/api":
      case "/api/":
        return wantsAggregated(call)
          ? answer(call, 200, Discovery.aggregated(true), aggregatedType)
          : answer(call, 200, Discovery.coreVersions(`${options.host}:${port}`))
      case "/apis":
      case "/apis/":
        return wantsAggregated(call)
          ? answer(call, 200, Discovery.aggregated(false), aggregatedType)
          : answer(call, 200, Discovery.groupList())
      case "/openapi/v2":
        return answer(call, 200, OpenApi.v2(computeSchema))
      case "/openapi/v3":
        return answer(call, 200, OpenApi.v3Index(computeSchema))
    }
    if (path.startsWith("/openapi/v3/")) {
      const document = OpenApi.v3(path.slice("/openapi/v3/".length), computeSchema)
      return document === undefined ? answerText(call, 404, "404 page not found\n") : answer(call, 200, document)
    }
    if (
      call.method === "POST" &&
      (path === "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" ||
        path === "/apis/authentication.k8s.io/v1/selfsubjectreviews")
    ) {
      return handleReview(call)
    }
    const target = targetOf(path)
    if (target !== undefined) return handleResource(call, target)
    const [, root, first = "", second] = path.replace(/\/$/, "").split("/")
    const document =
      root === "api"
        ? Discovery.resourceList("", first)
        : root === "apis"
          ? second === undefined
            ? Discovery.groupNamed(first)
            : path.split("/").length > 4
              ? undefined
              : Discovery.resourceList(first, second)
          : undefined
    return document === undefined ? answerText(call, 404, "404 page not found\n") : answer(call, 200, document)
  }

  const callOf = (request: Http.IncomingMessage, response: Http.ServerResponse): Call => {
    const [path = "/", query = ""] = (request.url ?? "/").split("?", 2)
    const parameters = new URLSearchParams(query)
    const agent = request.headers["user-agent"] ?? ""
    return {
      request,
      response,
      method: request.method ?? "GET",
      path,
      query: parameters,
      accept: String(request.headers["accept"] ?? ""),
      pretty: /^(curl|Wget|Mozilla)/.test(agent) || ["1", "true"].includes(parameters.get("pretty") ?? "")
    }
  }

  const server = Http.createServer((request, response) => {
    const call = callOf(request, response)
    const work = async () => {
      authenticate(request, options.token)
      await handle(call, (server.address() as AddressInfo).port)
    }
    work()
      .catch((error) => answerFailure(call, error))
      // A body that nobody reads would hold up the next request on its connection.
      .finally(() => request.resume())
  })
  server.keepAliveTimeout = 30_000
  server.requestTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(options.port, options.host, () => {
      server.off("error", reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    cutWatches: () => {
      for (const response of watches) response.destroy()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
