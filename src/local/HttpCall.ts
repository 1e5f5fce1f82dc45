/**
 * One HTTP exchange: reading its body, parsing it with the words that the real API server has for what it cannot read,
 * and answering.
 */
import type * as Http from "node:http"
import { parse as parseYaml } from "yaml"
import { encode, isObject, type Json, type JsonObject, stringAt } from "./Json.ts"
import * as Protobuf from "./Protobuf.ts"
import { ApiFailure, badRequest, internal, unauthorized } from "./Status.ts"

/** The real server's limit on a request's body. */
const MAX_BODY = 3 * 1024 * 1024

export interface Call {
  readonly request: Http.IncomingMessage
  readonly response: Http.ServerResponse
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly accept: string
  /** People's tools get their JSON indented. */
  readonly pretty: boolean
}

export type Headers = { readonly [name: string]: string | Array<string> }

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

export const readBody = async (request: Http.IncomingMessage): Promise<string> =>
  (await readBytes(request)).toString("utf8")

/** An object of a built-in kind, which kubectl may write as protobuf. */
export const readBuiltIn = async (request: Http.IncomingMessage, kind: string): Promise<JsonObject> => {
  const bytes = await readBytes(request)
  return contentType(request) === Protobuf.contentType ? Protobuf.decode(bytes) : parseObject(bytes.toString(), kind)
}

export const answer = (call: Call, code: number, body: unknown, headers: Headers = {}) => {
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

export const answerText = (call: Call, code: number, text: string) => {
  call.response.writeHead(code, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" })
  call.response.end(text)
}

export const answerFailure = (call: Call, error: unknown) => {
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
export const authenticate = (request: Http.IncomingMessage, token: string) => {
  const { authorization, host, origin } = request.headers
  if (authorization !== undefined && authorization !== `Bearer ${token}`) throw unauthorized()
  if (authorization === undefined) {
    const name = (host ?? "").replace(/:\d+$/, "")
    if (origin !== undefined || !["localhost", "127.0.0.1", "[::1]"].includes(name)) throw unauthorized()
  }
}

/** The media type without parameters. */
export const contentType = (request: Http.IncomingMessage) =>
  (request.headers["content-type"] ?? "").split(";")[0]!.trim()

/** How the real server quotes a body that it cannot read. */
const summary = (text: string): string => {
  if (text === "") return "<empty>"
  if (text.startsWith("{")) return text.length > 30 ? `${text.slice(0, 30)} ...` : text
  const bytes = Buffer.from(text)
  return bytes.length > 30 ? `${bytes.subarray(0, 30).toString("hex")} ...` : bytes.toString("hex")
}

export const parseObject = (text: string, kind: string): JsonObject => {
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

export const parsePatch = (text: string): Json => {
  try {
    return JSON.parse(text)
  } catch {
    throw badRequest("error decoding patch: unexpected end of JSON input")
  }
}

export const parseApplied = (text: string): JsonObject => {
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

export const warningHeaders = (warnings: ReadonlyArray<string>): Headers =>
  warnings.length === 0 ? {} : { warning: warnings.map((text) => `299 - ${JSON.stringify(text)}`) }

export const callOf = (request: Http.IncomingMessage, response: Http.ServerResponse): Call => {
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
