/** A SOCKS5 proxy without authentication (RFC 1928), which sends every connection to one address. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface SocksProxy {
  /** `socks5://127.0.0.1:PORT` */
  readonly url: string
  /** How many connections were made through it. */
  readonly count: () => number
}

export const make = (target: { readonly port: number }): Effect.Effect<SocksProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    let count = 0
    const sockets = new Set<Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((client) => {
          sockets.add(client)
          client.on("error", () => {})
          client.once("data", () => {
            // version 5, no authentication
            client.write(Uint8Array.of(5, 0))
            client.once("data", () => {
              const upstream = connect(target.port, "127.0.0.1", () => {
                count += 1
                // granted; the bound address is of no interest
                client.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
                upstream.pipe(client).pipe(upstream)
              })
              sockets.add(upstream)
              upstream.on("error", () => client.destroy())
            })
          })
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    )
    return { url: `socks5://127.0.0.1:${(server.address() as AddressInfo).port}`, count: () => count }
  })
