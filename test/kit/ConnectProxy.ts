/** An HTTP proxy that tunnels (CONNECT), and sends every tunnel to one address whatever the client asked for. */
import { createServer } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface ConnectProxy {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** What clients asked to be connected to: `HOST:PORT`. */
  readonly asked: ReadonlyArray<string>
}

export const make = (target: {
  readonly port: number
  /** The `Proxy-Authorization` that it wants; none when absent. */
  readonly authorization?: string | undefined
}): Effect.Effect<ConnectProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const asked: Array<string> = []
    const sockets = new Set<Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((_, response) => response.writeHead(501).end())
        server.on("connect", (request, client: Socket, head: Buffer) => {
          asked.push(request.url ?? "")
          if (target.authorization !== undefined && request.headers["proxy-authorization"] !== target.authorization) {
            client.end("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
          }
          const upstream = connect(target.port, "127.0.0.1", () => {
            client.write("HTTP/1.1 200 Connection Established\r\n\r\n")
            upstream.write(head)
            upstream.pipe(client).pipe(upstream)
          })
          for (const socket of [client, upstream]) {
            sockets.add(socket)
            socket.on("error", () => {
              client.destroy()
              upstream.destroy()
            })
          }
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    )
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
  })
