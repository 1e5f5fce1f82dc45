/**
 * A TCP proxy for tests: between a client and a server it can cut connections, as a dying machine does, and delay each
 * direction, as distance does, with unlimited room on the way.
 */
import { connect, createServer, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface TcpProxy {
  readonly host: string
  readonly port: number
  /** How many connections were made through it. */
  readonly accepted: () => number
  /** Resets every connection. */
  readonly cut: Effect.Effect<void>
}

/** Copies with a delay: what comes is written that much later, whatever is under way. */
const pipe = (from: Socket, to: Socket, delayMillis: number): void => {
  from.on("data", (bytes: Buffer) => {
    if (delayMillis > 0) setTimeout(() => to.write(bytes), delayMillis)
    else if (!to.write(bytes)) {
      from.pause()
      to.once("drain", () => from.resume())
    }
  })
  from.on("end", () => (delayMillis > 0 ? setTimeout(() => to.end(), delayMillis) : to.end()))
  from.on("error", () => to.destroy())
  from.on("close", () => {
    if (from.errored !== null) to.destroy()
  })
}

export const make = (
  target: { readonly host: string; readonly port: number },
  options: { readonly delayMillis?: number | undefined } = {}
): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    let accepted = 0
    const server = createServer({ noDelay: true }, (downstream) => {
      accepted++
      const upstream = connect({ host: target.host, port: target.port, noDelay: true })
      for (const socket of [downstream, upstream]) {
        sockets.add(socket)
        socket.once("close", () => sockets.delete(socket))
      }
      pipe(downstream, upstream, options.delayMillis ?? 0)
      pipe(upstream, downstream, options.delayMillis ?? 0)
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as { port: number }).port)))
      }),
      () =>
        Effect.callback<void>((resume) => {
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    )
    return {
      host: "127.0.0.1",
      port,
      accepted: () => accepted,
      cut: Effect.sync(() => {
        for (const socket of sockets) socket.resetAndDestroy()
      })
    }
  })
