/**
 * A gRPC server on Node's own HTTP/2: length-prefixed messages, trailers, backpressure both ways. A handler reads
 * messages as they come and writes while it reads; neither side is buffered beyond HTTP/2's windows.
 *
 * **Gotchas** Only what the tensor service needs: no compression, and deadlines are left to clients. A write waits until
 * Node has taken the bytes, so a client that does not read holds up the handler, not the memory.
 */
import * as Http2 from "node:http2"
import type { AddressInfo } from "node:net"

/** A status that ends a call. */
export class GrpcFailure extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const CANCELLED = 1
const RESOURCE_EXHAUSTED = 8
export const UNIMPLEMENTED = 12
export const INTERNAL = 13
export const UNAVAILABLE = 14

/** One call: messages in, messages out. */
export interface Call {
  readonly metadata: Http2.IncomingHttpHeaders
  readonly messages: AsyncIterable<Uint8Array>
  /** Writes one message, given in pieces; resolves when there is room for the next. */
  readonly write: (...pieces: ReadonlyArray<Uint8Array>) => Promise<void>
}

export interface GrpcServerOptions {
  readonly host: string
  readonly port: number
  readonly handlers: { readonly [path: string]: (call: Call) => Promise<void> }
  /** Bytes of the largest message accepted. */
  readonly maxMessageBytes: number
}

export interface GrpcServer {
  readonly port: number
  readonly close: () => Promise<void>
}

/**
 * gRPC's default of 64 KiB would cap a stream at that much a round trip. No more than a loopback socket holds, though:
 * Node reads nothing from a socket while a write to it waits, so that two Nodes whose writes both wait would wait for
 * ever. A client whose writes always fit goes on reading.
 */
const WINDOW = 1024 * 1024

/**
 * For both ends of every session. Node cuts streams off with ENHANCE_YOUR_CALM when 10 MB wait in one session, which a
 * few chunks of several streams are; the windows bound what waits.
 */
export const sessionOptions = {
  settings: { initialWindowSize: WINDOW, maxFrameSize: 1024 * 1024 },
  maxSessionMemory: 1024
} as const

/** Opens the window of a whole session as wide as that of a stream. */
export const widen = (session: Http2.Http2Session): void => session.setLocalWindowSize(WINDOW)

/** Percent-encoding as gRPC writes `grpc-message`. */
const encodeMessage = (message: string) =>
  [...Buffer.from(message)]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
    )
    .join("")

const trailersOf = (error: unknown): Http2.OutgoingHttpHeaders => {
  if (error === undefined) return { "grpc-status": "0" }
  const failure = error instanceof GrpcFailure ? error : new GrpcFailure(INTERNAL, String(error))
  return { "grpc-status": String(failure.code), "grpc-message": encodeMessage(failure.message) }
}

/** An answer that is all trailers. */
export const refuse = (stream: Http2.ServerHttp2Stream, failure: GrpcFailure) => {
  if (stream.destroyed || stream.headersSent) return
  stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailersOf(failure) }, { endStream: true })
  // What the client still sends is not read.
  stream.resume()
}

/** Cuts the stream of bytes into messages. */
async function* messagesOf(stream: Http2.ServerHttp2Stream, maxBytes: number): AsyncGenerator<Uint8Array> {
  let pieces: Array<Buffer> = []
  let size = 0
  const take = (bytes: number): Buffer => {
    const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
    pieces = whole.length > bytes ? [whole.subarray(bytes)] : []
    size -= bytes
    return whole.subarray(0, bytes)
  }
  let needed: number | undefined
  // A handler that has read enough still writes: leaving the loop must not destroy the stream.
  for await (const piece of stream.iterator({ destroyOnReturn: false })) {
    pieces.push(piece)
    size += piece.length
    for (;;) {
      if (needed === undefined) {
        if (size < 5) break
        const prefix = take(5)
        if (prefix[0] !== 0) throw new GrpcFailure(UNIMPLEMENTED, "compressed messages are not supported")
        needed = prefix.readUInt32BE(1)
        if (needed > maxBytes) {
          throw new GrpcFailure(
            RESOURCE_EXHAUSTED,
            `SERVER: Received message larger than max (${needed} vs. ${maxBytes})`
          )
        }
      }
      if (size < needed) break
      const message = take(needed)
      needed = undefined
      yield message
    }
  }
  if (needed !== undefined || size > 0) throw new GrpcFailure(INTERNAL, "the stream ended within a message")
}

/** Resolves when the stream has room, or will never have. */
const drained = (stream: Http2.ServerHttp2Stream): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done)
      stream.off("close", done)
      resolve()
    }
    stream.on("drain", done)
    stream.on("close", done)
  })

const writeTo =
  (stream: Http2.ServerHttp2Stream) =>
  async (...pieces: ReadonlyArray<Uint8Array>): Promise<void> => {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(
      pieces.reduce((sum, piece) => sum + piece.length, 0),
      1
    )
    if (stream.destroyed) throw new GrpcFailure(CANCELLED, "the client has gone")
    // Together, so that a message is a few frames and not as many as it has pieces.
    stream.cork()
    let room = stream.write(prefix)
    for (const piece of pieces) room = stream.write(piece)
    stream.uncork()
    if (!room) await drained(stream)
  }

const serve = async (
  stream: Http2.ServerHttp2Stream,
  headers: Http2.IncomingHttpHeaders,
  options: GrpcServerOptions
) => {
  const handler = options.handlers[headers[":path"] ?? ""]
  if (handler === undefined)
    return refuse(stream, new GrpcFailure(UNIMPLEMENTED, `Method not found: ${headers[":path"]}`))
  let outcome: unknown
  stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true })
  stream.on("wantTrailers", () => stream.sendTrailers(trailersOf(outcome)))
  try {
    await handler({ metadata: headers, messages: messagesOf(stream, options.maxMessageBytes), write: writeTo(stream) })
  } catch (error) {
    outcome = error
  }
  if (stream.destroyed) return
  stream.end()
  stream.resume()
}

/** Listens on a port that was used before, or on any other where it is taken. */
const listen = (server: Http2.Http2Server, host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, host, () => {
      server.off("error", reject)
      resolve()
    })
  })

export const start = async (options: GrpcServerOptions): Promise<GrpcServer> => {
  const sessions = new Set<Http2.ServerHttp2Session>()
  const server = Http2.createServer(sessionOptions)
  server.on("session", (session) => {
    sessions.add(session)
    session.on("close", () => sessions.delete(session))
    session.on("error", () => {})
    widen(session)
  })
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {})
    void serve(stream, headers, options)
  })
  server.on("sessionError", () => {})
  await listen(server, options.host, options.port)
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const session of sessions) session.destroy()
      })
  }
}
