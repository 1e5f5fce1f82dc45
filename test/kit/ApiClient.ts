/**
 * A bare client of a Kubernetes API for tests: one request and its answer, and a watch as a Stream. Written on
 * `node:http(s)` alone, so that what the package's own client does is tested against something else.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http"
import { Agent as HttpsAgent, request as httpsRequest } from "node:https"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

export interface Target {
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  readonly url: string
  readonly token?: string | undefined
  /** PEM. */
  readonly ca?: string | undefined
  /** A client certificate, PEM. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

export interface Response {
  readonly status: number
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  /** The parsed JSON, or the text where it is none. */
  readonly body: any
}

export interface RequestOptions {
  readonly body?: unknown
  /** `application/json` unless told otherwise. */
  readonly contentType?: string | undefined
  /** In place of the target's. */
  readonly token?: string | undefined
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR"
  readonly object: any
}

export interface ApiClient {
  /** One request, and its answer whatever the status is; fails where there is none. */
  readonly request: (method: string, path: string, options?: RequestOptions) => Effect.Effect<Response, Error>
  /** The events of one watch request, until the server ends it; fails with a broken connection or another status than 200. */
  readonly watch: (path: string) => Stream.Stream<WatchEvent, Error>
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const textOf = (response: IncomingMessage): Promise<string> =>
  new Promise((done, fail) => {
    const chunks: Array<Buffer> = []
    response.on("data", (chunk: Buffer) => chunks.push(chunk))
    response.once("error", fail)
    response.once("end", () => done(Buffer.concat(chunks).toString("utf8")))
  })

/** A client whose connections end with the scope. */
export const make = (target: Target): Effect.Effect<ApiClient, never, Scope.Scope> =>
  Effect.gen(function* () {
    const secure = target.url.startsWith("https:")
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() =>
        secure
          ? new HttpsAgent({ ca: target.ca, cert: target.cert, key: target.key, keepAlive: true })
          : new HttpAgent({ keepAlive: true })
      ),
      (agent) => Effect.sync(() => agent.destroy())
    )
    const open = (method: string, path: string, options: RequestOptions) => {
      const body = options.body === undefined ? undefined : JSON.stringify(options.body)
      const token = options.token ?? target.token
      const request = (secure ? httpsRequest : httpRequest)(`${target.url}${path}`, {
        agent,
        method,
        headers: {
          accept: "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined
            ? {}
            : {
                "content-type": options.contentType ?? "application/json",
                "content-length": String(Buffer.byteLength(body))
              })
        }
      })
      request.end(body)
      return request
    }
    return {
      request: (method, path, options = {}) =>
        Effect.callback<Response, Error>((resume) => {
          const request = open(method, path, options)
          request.once("error", (error) => resume(Effect.fail(error)))
          request.once("response", (response) => {
            textOf(response).then(
              (text) =>
                resume(
                  Effect.succeed({
                    status: response.statusCode ?? 0,
                    headers: response.headers,
                    body: parsed(text)
                  })
                ),
              (error: Error) => resume(Effect.fail(error))
            )
          })
          return Effect.sync(() => request.destroy())
        }),
      watch: (path) =>
        Stream.callback<WatchEvent, Error>((queue) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const request = open("GET", path, {})
              const fail = (error: Error) => void Effect.runFork(Queue.fail(queue, error))
              request.once("error", fail)
              request.once("response", (response) => {
                if (response.statusCode !== 200) {
                  textOf(response).then((text) => fail(new Error(`watch: ${response.statusCode} ${text}`)), fail)
                  return
                }
                let pending = ""
                response.setEncoding("utf8")
                response.once("error", fail)
                response.on("data", (chunk: string) => {
                  const lines = (pending + chunk).split("\n")
                  pending = lines.pop() ?? ""
                  for (const line of lines) Queue.offerUnsafe(queue, JSON.parse(line) as WatchEvent)
                })
                response.once("end", () => Queue.endUnsafe(queue))
              })
              return request
            }),
            (request) => Effect.sync(() => request.destroy())
          )
        )
    }
  })
