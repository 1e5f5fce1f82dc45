/**
 * A proxy that breaks HTTP on purpose, on the wire: put in front of a real Kubernetes API server, it closes, resets, cuts
 * events in half, falls silent, answers in the server's place, drips bytes, and loses answers.
 *
 * Clients speak plain HTTP to it; it speaks to the target in the target's scheme and passes all headers. Faults are
 * scripted: `inject` queues them for requests that match, one a request, and what matches none passes untouched.
 */
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http"
import { request as httpsRequest } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** What happens to one request. `afterEvents` counts whole lines of the answer that pass before. */
export type Fault =
  /** Untouched: for a place in the queue. */
  | { readonly _tag: "Pass" }
  /** The proxy answers, and the target never sees the request. */
  | {
      readonly _tag: "Answer"
      readonly status: number
      readonly headers?: Readonly<Record<string, string>> | undefined
      readonly body?: string | undefined
    }
  /** The connection is reset before an answer, and the target never sees the request. */
  | { readonly _tag: "Reset" }
  /** The target acts on the request; its answer is lost by a reset. */
  | { readonly _tag: "LoseAnswer" }
  /** The request is taken and never answered. */
  | { readonly _tag: "Ignore" }
  /** The answer ends properly. */
  | { readonly _tag: "CloseAfter"; readonly afterEvents: number }
  /** The connection is reset. */
  | { readonly _tag: "ResetAfter"; readonly afterEvents: number }
  /** Half of the next event passes, then the answer ends properly or by a reset. */
  | { readonly _tag: "HalfEvent"; readonly afterEvents: number; readonly then: "close" | "reset" }
  /** Nothing passes any more, and the connection stays open. */
  | { readonly _tag: "SilentAfter"; readonly afterEvents: number }
  /** A line of the proxy's own, then a proper end. */
  | { readonly _tag: "Insert"; readonly afterEvents: number; readonly line: string }
  /** Pieces of so many bytes, one every so many milliseconds. */
  | { readonly _tag: "Drip"; readonly bytes: number; readonly everyMillis: number }
  /** Only lines that match pass. */
  | { readonly _tag: "Only"; readonly matches: (line: string) => boolean }

export interface SeenRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

export interface FaultProxy {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** Every request since the start, in order. */
  readonly seen: ReadonlyArray<SeenRequest>
  /** Sockets of clients that are open now. */
  readonly connections: () => number
  /** Queues faults for requests that match, one a request; earlier injections come first. */
  readonly inject: (matches: (request: SeenRequest) => boolean, ...faults: ReadonlyArray<Fault>) => Effect.Effect<void>
  /** Does this to every request that matches, until `clear`. */
  readonly injectAlways: (matches: (request: SeenRequest) => boolean, fault: Fault) => Effect.Effect<void>
  /** Drops all faults that wait. */
  readonly clear: Effect.Effect<void>
  /** Resets all connections that are open now. */
  readonly resetAll: Effect.Effect<void>
}

export interface Target {
  readonly url: string
  /** PEM. */
  readonly ca?: string | undefined
}

export const isWatch = ({ method, url }: SeenRequest): boolean => method === "GET" && /[?&]watch=true/.test(url)
export const isList = ({ method, url }: SeenRequest): boolean =>
  method === "GET" && /\/computes(\?|$)/.test(url) && !/[?&]watch=true/.test(url)
export const isApply = ({ method }: SeenRequest): boolean => method === "PATCH"
export const isDelete = ({ method }: SeenRequest): boolean => method === "DELETE"

/** A Status object as the API server answers it. */
export const status = (code: number, reason: string, message: string, details: object = {}): string =>
  JSON.stringify({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, details, code })

/** The same as a watch event. */
export const errorEvent = (code: number, reason: string, message: string): string =>
  JSON.stringify({ type: "ERROR", object: JSON.parse(status(code, reason, message)) })

/** A proxy in front of `target`, gone with the scope. */
export const make = (target: Target): Effect.Effect<FaultProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const seen: Array<SeenRequest> = []
    const sockets = new Set<Socket>()
    const rules: Array<{
      readonly matches: (request: SeenRequest) => boolean
      readonly fault: Fault
      readonly always: boolean
    }> = []
    const timers = new Set<NodeJS.Timeout>()

    const faultFor = (request: SeenRequest): Fault => {
      const index = rules.findIndex(({ matches }) => matches(request))
      if (index === -1) return { _tag: "Pass" }
      const rule = rules[index]!
      if (!rule.always) rules.splice(index, 1)
      return rule.fault
    }

    const reset = (response: ServerResponse) => response.socket?.resetAndDestroy()

    /** Passes the answer on line by line; `onLine` says what becomes of each. */
    const pipeLines = (
      incoming: IncomingMessage,
      response: ServerResponse,
      onLine: (line: Buffer, count: number) => "pass" | "drop" | "stop",
      onStart: () => "go on" | "stop"
    ) => {
      let pending = Buffer.alloc(0)
      let count = 0
      response.flushHeaders()
      let stopped = onStart() === "stop"
      incoming.on("data", (chunk: Buffer) => {
        if (stopped) return
        pending = Buffer.concat([pending, chunk])
        for (let end = pending.indexOf(10); end !== -1; end = pending.indexOf(10)) {
          const line = pending.subarray(0, end + 1)
          pending = pending.subarray(end + 1)
          const verdict = onLine(line, count)
          if (verdict === "stop") {
            stopped = true
            return
          }
          if (verdict === "pass") {
            response.write(line)
            count += 1
          }
        }
      })
      incoming.once("end", () => {
        if (!stopped) response.end(pending)
      })
    }

    const answer = (fault: Fault, incoming: IncomingMessage, response: ServerResponse) => {
      response.writeHead(incoming.statusCode ?? 502, incoming.headers)
      const cut = (afterEvents: number, act: () => void, beforeAct: (line: Buffer) => void = () => {}) => {
        const finish = () => {
          act()
          incoming.destroy()
        }
        // with nothing to wait for, the cut comes with the head of the answer
        const immediately = afterEvents === 0 && fault._tag !== "HalfEvent"
        pipeLines(
          incoming,
          response,
          (line, count) => {
            if (fault._tag === "HalfEvent") {
              if (count < afterEvents) return "pass"
              beforeAct(line)
              // the bytes must be on the wire before the connection goes
              timers.add(setTimeout(finish, 20))
              return "stop"
            }
            if (count + 1 < afterEvents) return "pass"
            response.write(line)
            timers.add(setTimeout(finish, 20))
            return "stop"
          },
          () => {
            if (!immediately) return "go on"
            timers.add(setTimeout(finish, 5))
            return "stop"
          }
        )
      }
      switch (fault._tag) {
        case "CloseAfter":
          return cut(fault.afterEvents, () => response.end())
        case "ResetAfter":
          return cut(fault.afterEvents, () => reset(response))
        case "SilentAfter":
          return cut(fault.afterEvents, () => {})
        case "Insert":
          return cut(fault.afterEvents, () => response.end(`${fault.line}\n`))
        case "HalfEvent":
          return cut(
            fault.afterEvents,
            () => (fault.then === "close" ? response.end() : reset(response)),
            (line) => response.write(line.subarray(0, Math.floor(line.length / 2)))
          )
        case "Only":
          return pipeLines(
            incoming,
            response,
            (line) => (fault.matches(line.toString("utf8")) ? "pass" : "drop"),
            () => "go on"
          )
        case "Drip": {
          response.flushHeaders()
          let queue = Buffer.alloc(0)
          let ended = false
          incoming.on("data", (chunk: Buffer) => {
            queue = Buffer.concat([queue, chunk])
          })
          incoming.once("end", () => {
            ended = true
          })
          const timer = setInterval(() => {
            if (queue.length > 0) {
              response.write(queue.subarray(0, fault.bytes))
              queue = queue.subarray(fault.bytes)
            } else if (ended) {
              response.end()
              clearInterval(timer)
            }
          }, fault.everyMillis)
          timers.add(timer)
          response.once("close", () => clearInterval(timer))
          return
        }
        case "LoseAnswer":
          incoming.resume()
          incoming.once("end", () => reset(response))
          return
        default:
          incoming.pipe(response)
          return
      }
    }

    const handle = (request: IncomingMessage, response: ServerResponse) => {
      const info: SeenRequest = { method: request.method ?? "", url: request.url ?? "", at: Date.now() }
      seen.push(info)
      const fault = faultFor(info)
      if (fault._tag === "Answer") {
        request.resume()
        response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers })
        response.end(fault.body ?? "")
        return
      }
      if (fault._tag === "Reset") {
        reset(response)
        return
      }
      if (fault._tag === "Ignore") {
        request.resume()
        return
      }
      const url = new URL(info.url, target.url)
      const outgoing = (url.protocol === "https:" ? httpsRequest : httpRequest)(
        url,
        {
          method: info.method,
          headers: { ...request.headers, host: url.host },
          agent: false,
          ...(target.ca === undefined ? {} : { ca: target.ca })
        },
        (incoming) => {
          incoming.once("error", () => response.destroy())
          answer(fault, incoming, response)
        }
      )
      // a target that is down looks to the client like a connection that breaks
      outgoing.once("error", () => reset(response))
      response.once("close", () => outgoing.destroy())
      request.pipe(outgoing)
    }

    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer(handle)
        server.on("connection", (socket) => {
          sockets.add(socket)
          socket.once("close", () => sockets.delete(socket))
          socket.on("error", () => {})
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          for (const timer of timers) clearTimeout(timer)
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    )

    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      seen,
      connections: () => sockets.size,
      inject: (matches, ...faults) =>
        Effect.sync(() => {
          for (const fault of faults) rules.push({ matches, fault, always: false })
        }),
      injectAlways: (matches, fault) =>
        Effect.sync(() => {
          rules.push({ matches, fault, always: true })
        }),
      clear: Effect.sync(() => {
        rules.length = 0
      }),
      resetAll: Effect.sync(() => {
        for (const socket of sockets) socket.resetAndDestroy()
      })
    }
  })
