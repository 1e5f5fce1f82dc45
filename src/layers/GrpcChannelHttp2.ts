/**
 * The transport made for tensors: the bytes of a message go from the caller's memory to the socket and from the socket to
 * their place without being joined on the way, on an HTTP/2 session of our own (see `internal/http2/ClientSession`).
 *
 * **Details**
 *
 * A message is sent as its 5-byte prefix and its views. One received is handed on in the fragments that the socket has
 * read. A session is kept for all calls; when it ends (GOAWAY, a lost socket) the next call dials again. Between calls
 * the session does not keep the process alive.
 *
 * **Gotchas**
 *
 * Compressed messages are refused: they are not asked for. A paused call still hands on what the server may send ahead:
 * the receive window.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type GrpcError, InvalidInput } from "../schema/KpuError.ts"
import {
  type CallEvents,
  type CallOptions,
  type CallStatus,
  type GrpcCall,
  GrpcChannel,
  type GrpcConnection
} from "../services/GrpcChannel.ts"
import type { ConnectOptions } from "../services/TensorClient.ts"
import { ClientSession } from "./internal/http2/ClientSession.ts"
import type { ClientStream, StreamEnd } from "./internal/http2/ClientStream.ts"
import type { HeaderField } from "./internal/http2/hpack.ts"
import {
  type ChannelOptions,
  type CheckedChannelOptions,
  checkChannelOptions,
  maxChunkSizeOf
} from "./internal/tensors/channelOptions.ts"
import { bareHost, connectError, formatAddress } from "./internal/tensors/dialling.ts"
import { foreignStatus, resetStatus, statusOf } from "./internal/tensors/grpcStatus.ts"

/**
 * What sockets read into, one buffer for all of them: a thousand idle connections cost no memory for reading, and busy
 * ones stay within the processor's cache. Node hands each read on before it makes the next, and nobody keeps the bytes.
 */
const readBufferBytes = 256 * 1024
let sharedReadBuffer: Buffer | undefined

/** TLS hands its bytes on in records of this size at most, and may do so while another connection's are being handed on. */
const tlsReadBufferBytes = 16 * 1024

const readBuffer = (secure: boolean): Buffer => {
  if (secure) return Buffer.allocUnsafeSlow(tlsReadBufferBytes)
  sharedReadBuffer ??= Buffer.allocUnsafeSlow(readBufferBytes)
  return sharedReadBuffer
}

/** How soon an idle socket is probed, by TCP. */
const tcpKeepaliveMillis = 30_000

/** How long a ping may stay without an answer. */
const pingTimeoutMillis = 20_000

const prefixBytes = 5
const userAgent = "effect-kpu"

const closed: CallStatus = { code: "CANCELLED", details: "the connection was closed" }

/** A session that did not come up. */
class DialFailure {
  readonly errno: string | undefined
  readonly problem: string | undefined
  constructor(errno: string | undefined, problem?: string) {
    this.errno = errno
    this.problem = problem
  }
}

/** One call: its stream, once there is a session, and what was asked of it before. */
class Call implements GrpcCall {
  private readonly owner: Connection
  private readonly events: CallEvents
  private readonly maxMessageBytes: number
  private stream: ClientStream | undefined
  private over = false
  private status: CallStatus | undefined
  private waiting: ReadonlyArray<Uint8Array> | undefined
  private halfClosed = false
  private paused = false
  private timer: NodeJS.Timeout | undefined
  /** Bytes of the message still to come, and of the next one's prefix that are here. */
  private left = 0
  private readonly prefix = new Uint8Array(prefixBytes)
  private prefixed = 0

  constructor(owner: Connection, options: CallOptions, events: CallEvents) {
    this.owner = owner
    this.events = events
    this.maxMessageBytes = owner.options.maxReceiveMessageBytes
    if (options.timeoutMillis !== undefined) {
      const details = `the deadline of ${options.timeoutMillis / 1000} s has passed`
      const fire = () => this.end({ code: "DEADLINE_EXCEEDED", details })
      // Node's timers hold 31 bits; a longer deadline is the server's to keep.
      if (options.timeoutMillis < 2 ** 31) this.timer = setTimeout(fire, options.timeoutMillis)
    }
  }

  /** Begins on a session; false when it takes no more calls. */
  start(session: ClientSession, fields: ReadonlyArray<HeaderField>): boolean {
    const stream = session.request(fields, {
      headers: (headers) => {
        // Headers that end the stream are its trailers too.
        this.status = foreignStatus(headers) ?? statusOf(headers)
        if (headers[":status"] !== "200") this.end(this.status!)
      },
      data: (bytes) => this.receive(bytes),
      trailers: (headers) => {
        this.status ??= statusOf(headers)
      },
      drain: () => {
        if (!this.over) this.events.drain()
      },
      closed: (end) => this.end(this.status ?? endStatus(end))
    })
    if (stream === undefined) return false
    this.stream = stream
    if (this.paused) stream.pause()
    const { waiting } = this
    this.waiting = undefined
    if (waiting !== undefined && stream.write(waiting)) this.events.drain()
    if (this.halfClosed && !this.over) stream.end()
    return true
  }

  write(views: ReadonlyArray<Uint8Array>, byteLength: number): boolean {
    if (this.over) return false
    const prefix = Buffer.allocUnsafe(prefixBytes)
    prefix[0] = 0
    prefix.writeUInt32BE(byteLength, 1)
    const all = [prefix, ...views]
    if (this.stream !== undefined) return this.stream.write(all)
    this.waiting = all
    return false
  }

  halfClose(): void {
    this.halfClosed = true
    if (!this.over) this.stream?.end()
  }

  pause(): void {
    this.paused = true
    this.stream?.pause()
  }

  resume(): void {
    this.paused = false
    this.stream?.resume()
  }

  cancel(): void {
    if (!this.over) this.finish()
  }

  /** Ends the call; the first status counts. */
  end(status: CallStatus): void {
    if (this.over) return
    if (status.code === "OK" && (this.left > 0 || this.prefixed > 0)) {
      status = { code: "INTERNAL", details: "the server ended the stream within a message" }
    }
    this.finish()
    this.events.end(status)
  }

  private finish(): void {
    this.over = true
    this.waiting = undefined
    clearTimeout(this.timer)
    this.stream?.reset()
    this.owner.forget(this)
  }

  private receive(bytes: Uint8Array): void {
    const { events, prefix } = this
    let at = 0
    while (at < bytes.byteLength && !this.over) {
      if (this.left > 0) {
        const end = Math.min(at + this.left, bytes.byteLength)
        this.left -= end - at
        const fragment = at === 0 && end === bytes.byteLength ? bytes : bytes.subarray(at, end)
        at = end
        events.fragment(fragment)
        continue
      }
      prefix[this.prefixed++] = bytes[at++]!
      if (this.prefixed < prefixBytes) continue
      this.prefixed = 0
      const length = prefix[1]! * 2 ** 24 + prefix[2]! * 2 ** 16 + prefix[3]! * 2 ** 8 + prefix[4]!
      if (prefix[0] !== 0) {
        this.end({ code: "INTERNAL", details: "the server sent a compressed message, which was not asked for" })
        return
      }
      if (length > this.maxMessageBytes) {
        const details = `the server sent a message of ${length} bytes; maxReceiveMessageBytes is ${this.maxMessageBytes}`
        this.end({ code: "RESOURCE_EXHAUSTED", details })
        return
      }
      this.left = length
      events.message(length)
    }
  }
}

/** One address, the session to it, and the calls on that. */
class Connection implements GrpcConnection {
  readonly address: string
  readonly maxChunkSize: number
  readonly options: CheckedChannelOptions
  private readonly target: ConnectOptions
  private readonly calls = new Set<Call>()
  private readonly authority: string
  private session: ClientSession | undefined
  private socket: net.Socket | undefined
  private dialling: Promise<ClientSession> | undefined
  /** Ends the attempt under way. */
  private abort: (() => void) | undefined
  private closed = false

  constructor(target: ConnectOptions, options: CheckedChannelOptions) {
    this.target = target
    this.options = options
    this.address = formatAddress(target.address)
    this.authority =
      options.tls?.serverName === undefined ? this.address : `${options.tls.serverName}:${target.address.port}`
    this.maxChunkSize = maxChunkSizeOf(options)
  }

  /** A session that takes calls: the one that there is, or a new one. Rejects with a `DialFailure`. */
  dial(): Promise<ClientSession> {
    this.dialling ??= this.dialOnce().finally(() => {
      this.dialling = undefined
      this.abort = undefined
    })
    return this.dialling
  }

  call(options: CallOptions, events: CallEvents): GrpcCall {
    const call = new Call(this, options, events)
    this.calls.add(call)
    if (this.closed) queueMicrotask(() => call.end(closed))
    else if (this.session === undefined || !this.begin(this.session, call, options)) {
      this.dial().then(
        (session) => {
          if (this.calls.has(call) && !this.begin(session, call, options)) {
            call.end({ code: "UNAVAILABLE", details: "the connection was lost before the call began" })
          }
        },
        ({ errno, problem }: DialFailure) => {
          if (this.calls.has(call)) {
            call.end({ code: "UNAVAILABLE", details: connectError(this.target, errno, problem).details })
          }
        }
      )
    }
    return call
  }

  forget(call: Call): void {
    this.calls.delete(call)
    if (this.calls.size === 0) this.socket?.unref()
  }

  close(): void {
    this.closed = true
    this.abort?.()
    for (const call of [...this.calls]) call.end(closed)
    const { session } = this
    this.session = undefined
    session?.close(closed.details)
  }

  private begin(session: ClientSession, call: Call, options: CallOptions): boolean {
    const { tls: secure, token } = this.options
    const fields: Array<HeaderField> = [
      { name: ":method", value: "POST" },
      { name: ":scheme", value: secure === undefined ? "http" : "https" },
      { name: ":path", value: `/${options.method}` },
      { name: ":authority", value: this.authority },
      { name: "te", value: "trailers" },
      { name: "content-type", value: "application/grpc" },
      { name: "user-agent", value: userAgent },
      { name: "grpc-accept-encoding", value: "identity" }
    ]
    if (options.timeoutMillis !== undefined) {
      fields.push({ name: "grpc-timeout", value: formatTimeout(options.timeoutMillis) })
    }
    for (const name in options.metadata) fields.push({ name, value: options.metadata[name]! })
    if (token !== undefined) {
      fields.push({ name: "authorization", value: `Bearer ${Redacted.value(token)}`, sensitive: true })
    }
    if (!call.start(session, fields)) return false
    this.socket?.ref()
    return true
  }

  private dialOnce(): Promise<ClientSession> {
    const { connectTimeoutMillis, receiveWindowBytes, tls: secure } = this.options
    const { port } = this.target.address
    const host = bareHost(this.target.address)
    return new Promise((resolve, reject: (failure: DialFailure) => void) => {
      if (this.closed) {
        reject(new DialFailure(undefined, "the connection was closed"))
        return
      }
      let session: ClientSession | undefined
      let failure: DialFailure | undefined
      const socketOptions = {
        host,
        port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: tcpKeepaliveMillis,
        onread: {
          buffer: readBuffer(secure !== undefined),
          callback: (length: number, buffer: Uint8Array): boolean => {
            session?.receive(length === buffer.byteLength ? buffer : buffer.subarray(0, length))
            return true
          }
        }
      }
      const servername = secure?.serverName ?? (net.isIP(host) === 0 ? host : undefined)
      const socket =
        secure === undefined
          ? net.connect(socketOptions)
          : tls.connect({
              ...socketOptions,
              ALPNProtocols: ["h2"],
              ...(servername === undefined ? {} : { servername }),
              ...(secure.ca === undefined ? {} : { ca: Buffer.from(secure.ca) }),
              ...(secure.cert === undefined ? {} : { cert: Buffer.from(secure.cert) }),
              ...(secure.key === undefined ? {} : { key: Redacted.value(secure.key) })
            })
      const fail = (reason: DialFailure): void => {
        failure ??= reason
        clearTimeout(timer)
        session?.destroy("no session came up")
        socket.destroy()
        reject(failure)
      }
      const timer = setTimeout(() => {
        const problem = `${this.address} brought up no HTTP/2 session within ${connectTimeoutMillis / 1000} s`
        fail(new DialFailure("ETIMEDOUT", problem))
      }, connectTimeoutMillis)
      this.abort = () => fail(new DialFailure(undefined, "the connection was closed"))

      let lost = "the connection was lost"
      socket.on("error", (error: NodeJS.ErrnoException) => {
        lost = `the connection was lost (${error.code ?? error.message})`
        failure ??= dialFailure(this.address, error)
      })
      socket.on("close", () => {
        session?.destroy(lost)
        fail(new DialFailure(undefined, `${this.address} ended the connection before an HTTP/2 session was up`))
      })
      socket.once(secure === undefined ? "connect" : "secureConnect", () => {
        if (secure !== undefined && (socket as tls.TLSSocket).alpnProtocol !== "h2") {
          fail(new DialFailure(undefined, `what listens at ${this.address} does not speak HTTP/2 over TLS`))
          return
        }
        const made = new ClientSession(
          socket,
          { receiveWindow: receiveWindowBytes },
          {
            up: () => {
              clearTimeout(timer)
              this.session = made
              this.socket = socket
              this.keepalive(made)
              if (this.calls.size === 0) socket.unref()
              resolve(made)
            },
            goingAway: () => this.leave(made),
            closed: (why) => {
              this.leave(made)
              fail(new DialFailure(undefined, `no HTTP/2 session with ${this.address}: ${why}`))
            }
          }
        )
        session = made
      })
    })
  }

  /** The session takes no more calls: the next one dials. */
  private leave(session: ClientSession): void {
    if (this.session === session) this.session = undefined
  }

  private keepalive(session: ClientSession): void {
    const { keepaliveMillis } = this.options
    if (keepaliveMillis === undefined) return
    const ping = setInterval(() => {
      if (session.destroyed) {
        clearInterval(ping)
        return
      }
      if (this.calls.size === 0) return
      const unanswered = setTimeout(() => session.destroy("a ping was not answered"), pingTimeoutMillis)
      unanswered.unref()
      session.ping(() => clearTimeout(unanswered))
    }, keepaliveMillis)
    ping.unref()
  }
}

/** What the end of a stream without a status means. */
const endStatus = (end: StreamEnd): CallStatus => {
  switch (end._tag) {
    case "Ended":
      return { code: "INTERNAL", details: "the server ended the stream without a status" }
    case "Reset":
      return resetStatus(end.code)
    case "Lost":
      return { code: "UNAVAILABLE", details: end.why }
  }
}

const dialFailure = (address: string, error: NodeJS.ErrnoException): DialFailure => {
  const { code } = error
  // TLS has its words in the message: "self-signed certificate", "wrong version number".
  const told = code === undefined || code.startsWith("E") ? error.message : `${error.message} (${code})`
  return new DialFailure(code, `no connection to ${address}: ${told}`)
}

/** `grpc-timeout`: eight digits at most, in the finest unit that they reach. */
const formatTimeout = (millis: number): string => {
  if (millis < 1e8) return `${Math.ceil(millis)}m`
  const seconds = Math.ceil(millis / 1000)
  return seconds < 1e8 ? `${seconds}S` : "99999999S"
}

const connect = (
  checked: CheckedChannelOptions,
  options: ConnectOptions
): Effect.Effect<GrpcConnection, GrpcError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Connection(options, checked)),
    (connection) => Effect.sync(() => connection.close())
  ).pipe(
    Effect.tap((connection) =>
      Effect.tryPromise({
        try: () => connection.dial(),
        catch: (failure) => connectError(options, (failure as DialFailure).errno, (failure as DialFailure).problem)
      })
    )
  )

/** The transport with options of its own. */
export const layerWith = (options?: ChannelOptions): Layer.Layer<GrpcChannel, InvalidInput> =>
  Layer.effect(
    GrpcChannel,
    Effect.try({
      try: () => {
        const checked = checkChannelOptions(options)
        return GrpcChannel.of({ connect: (options) => connect(checked, options) })
      },
      catch: (error) => {
        if (error instanceof InvalidInput) return error
        throw error
      }
    })
  )

/** The transport with its defaults, which are valid. */
export const layer: Layer.Layer<GrpcChannel> = Layer.orDie(layerWith())
