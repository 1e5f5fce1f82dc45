/**
 * One HTTP exchange on an Undici dispatcher, as an Effect: interrupting it closes or frees its connection.
 *
 * **Why not Effect's HttpClient.** A header that comes several times (`Impersonate-Group`) has no place there, and on a
 * machine that also runs the API server its work for each request, twice that of Undici itself, is the server's to miss.
 */
import type { Readable } from "node:stream"
import type * as Undici from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface HttpRequest {
  readonly method: string
  /** From the server's root, with its query. */
  readonly path: string
  /** Names in small letters; several values are several headers. */
  readonly headers: Readonly<Record<string, string | Array<string>>>
  readonly body?: string | undefined
}

export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  readonly retryAfter: string | undefined
  /** The sender's clock. */
  readonly date: string | undefined
  readonly text: string
}

/** There was no answer, or no whole one: what the socket, TLS or Undici said. */
export class Broken {
  readonly _tag = "Broken"
  readonly cause: unknown
  constructor(cause: unknown) {
    this.cause = cause
  }
}

type Headers = Readonly<Record<string, string | Array<string> | undefined>>

const header = (headers: Headers, name: string): string | undefined => {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

const answer = (status: number, headers: Headers, text: string): HttpAnswer => ({
  status,
  contentType: header(headers, "content-type") ?? "",
  retryAfter: header(headers, "retry-after"),
  date: header(headers, "date"),
  text
})

const optionsOf = (origin: string, { body, headers, method, path }: HttpRequest) => ({
  origin,
  method: method as Undici.Dispatcher.HttpMethod,
  path,
  headers: { ...headers },
  ...(body === undefined ? {} : { body }),
  // the time limits are Effect's
  headersTimeout: 0,
  bodyTimeout: 0
})

const interrupted = () => new Error("the request was interrupted")

/** The whole answer. */
export const exchange = (
  dispatcher: Undici.Dispatcher,
  origin: string,
  request: HttpRequest
): Effect.Effect<HttpAnswer, Broken> =>
  Effect.callback((resume) => {
    let controller: Undici.Dispatcher.DispatchController | undefined
    let unwanted = false
    let status = 0
    let headers: Headers = {}
    const chunks: Array<Buffer> = []
    dispatcher.dispatch(optionsOf(origin, request), {
      onRequestStart: (started) => {
        controller = started
        if (unwanted) started.abort(interrupted())
      },
      // interim answers come here too, before the one that counts
      onResponseStart: (_, code, fields) => {
        status = code
        headers = fields
      },
      onResponseData: (_, chunk) => {
        chunks.push(chunk)
      },
      onResponseEnd: () => {
        const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
        resume(Effect.succeed(answer(status, headers, bytes.toString("utf8"))))
      },
      onResponseError: (_, cause) => resume(Effect.fail(new Broken(cause)))
    })
    return Effect.sync(() => {
      unwanted = true
      controller?.abort(interrupted())
    })
  })

/** An answer whose body has no end, or the whole of one that is no success. */
export type Opened =
  | { readonly _tag: "Streaming"; readonly status: number; readonly body: Readable }
  | { readonly _tag: "Refused"; readonly answer: HttpAnswer }

/** The head of an answer; its connection is closed with the scope. */
export const open = (
  dispatcher: Undici.Dispatcher,
  origin: string,
  request: HttpRequest
): Effect.Effect<Opened, Broken, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: (signal) => dispatcher.request({ ...optionsOf(origin, request), signal }),
      catch: (cause) => new Broken(cause)
    }),
    ({ body }) =>
      Effect.sync(() => {
        // what it says when it is destroyed is nobody's business any more
        body.on("error", () => {})
        body.destroy()
      }),
    { interruptible: true }
  ).pipe(
    Effect.flatMap(({ body, headers, statusCode }): Effect.Effect<Opened, Broken> => {
      if (statusCode >= 200 && statusCode < 300) {
        return Effect.succeed({ _tag: "Streaming", status: statusCode, body })
      }
      return Effect.tryPromise({ try: () => body.text(), catch: (cause) => new Broken(cause) }).pipe(
        Effect.map((text) => ({ _tag: "Refused", answer: answer(statusCode, headers, text) }))
      )
    })
  )
