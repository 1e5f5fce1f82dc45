/** An HTTP server before an API server: answers some requests itself, passes the others on. */
import { createServer, request, type ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { listening } from "../../kit/listening.ts"

export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly contentType?: string | undefined
}

/** `undefined` passes the request on to the target. */
export type Rule = (method: string, path: string) => Answer | undefined

export const status = (code: number, reason: string, message: string): Answer => ({
  status: code,
  body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", code, reason, message }
})

const send = (response: ServerResponse, { body, contentType = "application/json", status }: Answer): void => {
  response.writeHead(status, { "content-type": contentType })
  response.end(typeof body === "string" ? body : JSON.stringify(body))
}

/** Its URL, while the scope is open. */
export const start = (target: string, rule: Rule): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    listening(
      createServer((incoming, response) => {
        const path = incoming.url ?? "/"
        const answer = rule(incoming.method ?? "GET", path.split("?")[0]!)
        if (answer !== undefined) return send(response, answer)
        const outgoing = request(target + path, { method: incoming.method, headers: incoming.headers }, (passed) => {
          response.writeHead(passed.statusCode ?? 500, passed.headers)
          passed.pipe(response)
        })
        outgoing.on("error", () => response.destroy())
        incoming.pipe(outgoing)
      })
    ),
    (port) => `http://127.0.0.1:${port}`
  )
