/**
 * The Gateway: one port that routes calls by their `compute-id: NAMESPACE/NAME` metadata to the Compute's tensor server,
 * as the operator's GRPCRoutes make a real one do. Bytes are passed through as they come, each side waiting for the other.
 *
 * **Details** A call for an unknown Compute gets what Envoy answers where no route matches: 404, which gRPC reads as
 * UNIMPLEMENTED. A known one without a running server gets 503: UNAVAILABLE, "no healthy upstream".
 */
import * as Http2 from "node:http2"
import type { AddressInfo } from "node:net"
import { GrpcFailure, refuse, sessionOptions, UNAVAILABLE, UNIMPLEMENTED, widen } from "./GrpcServer.ts"

export interface GatewayOptions {
  readonly host: string
  readonly port: number
  /** The port of a Compute's server; `undefined` when none runs, `"unknown"` when there is no such Compute. */
  readonly route: (namespace: string, name: string) => number | undefined | "unknown"
}

export interface Gateway {
  readonly port: number
  readonly close: () => Promise<void>
}

/** Headers of one connection, which do not go on to the next. */
const hopByHop = new Set(["host", "connection", "te", "http2-settings"])

const forwarded = (headers: Http2.IncomingHttpHeaders, port: number): Http2.OutgoingHttpHeaders => ({
  ...Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name))),
  ":authority": `127.0.0.1:${port}`,
  te: "trailers"
})

export const start = async (options: GatewayOptions): Promise<Gateway> => {
  const upstreams = new Map<number, Http2.ClientHttp2Session>()
  const sessions = new Set<Http2.ServerHttp2Session>()

  const upstream = (port: number): Http2.ClientHttp2Session => {
    const open = upstreams.get(port)
    if (open !== undefined && !open.closed && !open.destroyed) return open
    const session = Http2.connect(`http://127.0.0.1:${port}`, sessionOptions)
    session.on("connect", () => widen(session))
    session.on("error", () => {})
    session.on("close", () => {
      if (upstreams.get(port) === session) upstreams.delete(port)
    })
    upstreams.set(port, session)
    return session
  }

  const relay = (stream: Http2.ServerHttp2Stream, headers: Http2.IncomingHttpHeaders) => {
    const [namespace = "", name = "", ...more] = String(headers["compute-id"] ?? "").split("/")
    const port = more.length > 0 ? "unknown" : options.route(namespace, name)
    if (port === "unknown") return refuse(stream, new GrpcFailure(UNIMPLEMENTED, ""))
    if (port === undefined) return refuse(stream, new GrpcFailure(UNAVAILABLE, "no healthy upstream"))
    const request = upstream(port).request(forwarded(headers, port), { endStream: false })
    let trailers: Http2.IncomingHttpHeaders | undefined
    request.on("response", (response, flags) => {
      const endStream = (flags & Http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0
      const { ":status": status, ...rest } = response
      if (stream.destroyed || stream.headersSent) return
      stream.respond({ ":status": status ?? 200, ...rest }, endStream ? { endStream } : { waitForTrailers: true })
      if (!endStream) request.pipe(stream)
    })
    request.on("trailers", (received) => {
      trailers = received
    })
    stream.on("wantTrailers", () =>
      stream.sendTrailers(trailers ?? { "grpc-status": String(UNAVAILABLE), "grpc-message": "upstream reset" })
    )
    stream.pipe(request)
    // Neither side outlives the other: a cancelled call is cancelled upstream, a dead server ends the call.
    stream.on("close", () => {
      if (stream.rstCode !== Http2.constants.NGHTTP2_NO_ERROR || !request.writableEnded) {
        request.close(Http2.constants.NGHTTP2_CANCEL)
      }
    })
    stream.on("error", () => request.close(Http2.constants.NGHTTP2_CANCEL))
    request.on("error", () => lost(stream))
    request.on("close", () => {
      if (request.rstCode !== Http2.constants.NGHTTP2_NO_ERROR) lost(stream)
    })
  }

  const lost = (stream: Http2.ServerHttp2Stream) => {
    if (stream.destroyed || stream.closed) return
    if (stream.headersSent) stream.close(Http2.constants.NGHTTP2_INTERNAL_ERROR)
    else refuse(stream, new GrpcFailure(UNAVAILABLE, "upstream connect error or disconnect/reset before headers"))
  }

  const server = Http2.createServer(sessionOptions)
  server.on("session", (session) => {
    sessions.add(session)
    session.on("close", () => sessions.delete(session))
    session.on("error", () => {})
    widen(session)
  })
  server.on("sessionError", () => {})
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {})
    relay(stream, headers)
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(options.port, options.host, () => {
      server.off("error", reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const session of sessions) session.destroy()
        for (const session of upstreams.values()) session.destroy()
      })
  }
}
