/**
 * The transport on `node:http2`, made for tensors: the bytes of a message go from the caller's memory to the socket and
 * from the socket to their place without being joined on the way.
 *
 * **Details**
 *
 * A message is written as its 5-byte prefix and its views, in one vectored write. One received is handed on in the
 * fragments that HTTP/2 has them in. A session is kept for all calls; when it ends (GOAWAY, a lost socket) the next call
 * dials again. Between calls the session does not keep the process alive.
 *
 * **Gotchas**
 *
 * Compressed messages are refused: they are not asked for. Node's HTTP/2 streams end in several ways at once, so the
 * first thing that tells how a call ended is kept, and told when all data before it has been handed on.
 */
import * as http2 from "node:http2"
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
import {
  type ChannelOptions,
  type CheckedChannelOptions,
  checkChannelOptions,
  maxChunkSizeOf
} from "./internal/channelOptions.ts"
import { bareHost, connectError, formatAddress } from "./internal/dialling.ts"
import { foreignStatus, resetStatus, statusOf } from "./internal/grpcStatus.ts"

const { constants } = http2

/** Servers that heed it (the C core does) send a chunk of 1 MiB in two frames in place of 64. */
const maxFrameSize = 512 * 1024

/** Megabytes; Node's default of 10 refuses streams while a large window is in use. */
const maxSessionMemory = 1024

/** How soon an idle socket is probed, by TCP. */
const tcpKeepaliveMillis = 30_000

/** How long a ping may stay without an answer. */
const pingTimeoutMillis = 20_000

const prefixBytes = 5
const userAgent = "effect-kpu node-http2"

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
  private stream: http2.ClientHttp2Stream | undefined
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

  /** The session is there. */
  start(stream: http2.ClientHttp2Stream): void {
    if (this.over) {
      stream.close(constants.NGHTTP2_CANCEL)
      return
    }
    this.stream = stream
    stream.on("response", (headers) => {
      // Headers that end the stream are its trailers too.
      this.status ??= foreignStatus(headers) ?? statusOf(headers)
      if (headers[":status"] !== 200) this.end(this.status!)
    })
    stream.on("trailers", (headers) => {
      this.status ??= statusOf(headers)
    })
    stream.on("data", (bytes: Buffer) => this.receive(bytes))
    stream.on("drain", () => {
      if (!this.over) this.events.drain()
    })
    stream.on("end", () => {
      if (this.status !== undefined) this.end(this.status)
    })
    let lost = "the connection was lost"
    stream.on("error", (error: NodeJS.ErrnoException) => {
      lost = `${lost} (${error.code ?? error.message})`
    })
    const { session } = stream
    stream.on("close", () => {
      // A stream's code means something only where the stream alone was ended.
      const gone = session?.destroyed === true
      this.end(this.status ?? (gone ? { code: "UNAVAILABLE", details: lost } : resetStatus(stream.rstCode)))
    })
    if (this.paused) stream.pause()
    const { waiting } = this
    this.waiting = undefined
    if (waiting !== undefined && this.put(waiting)) this.events.drain()
    if (this.halfClosed && !this.over) stream.end()
  }

  get streamId(): number | undefined {
    return this.stream?.id
  }

  write(views: ReadonlyArray<Uint8Array>, byteLength: number): boolean {
    if (this.over) return false
    const prefix = Buffer.allocUnsafe(prefixBytes)
    prefix[0] = 0
    prefix.writeUInt32BE(byteLength, 1)
    const all = [prefix, ...views]
    if (this.stream !== undefined) return this.put(all)
    this.waiting = all
    return false
  }

  private put(views: ReadonlyArray<Uint8Array>): boolean {
    const stream = this.stream!
    let more = false
    stream.cork()
    for (const view of views) {
      if (view.byteLength > 0) more = stream.write(view)
    }
    stream.uncork()
    return more && !this.over
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
    if (!this.over) this.finish(constants.NGHTTP2_CANCEL)
  }

  /** Ends the call; the first status counts. */
  end(status: CallStatus): void {
    if (this.over) return
    if (status.code === "OK" && (this.left > 0 || this.prefixed > 0)) {
      status = { code: "INTERNAL", details: "the server ended the stream within a message" }
    }
    // An answer before all is sent: the rest is not wanted, and that is no error.
    this.finish(status.code === "OK" ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL)
    this.events.end(status)
  }

  private finish(rstCode: number): void {
    this.over = true
    this.waiting = undefined
    clearTimeout(this.timer)
    this.owner.forget(this)
    const { stream } = this
    if (stream === undefined || stream.destroyed) return
    if (rstCode === constants.NGHTTP2_NO_ERROR && !stream.writableEnded) {
      // Closing with NO_ERROR would wait until everything is written.
      rstCode = constants.NGHTTP2_CANCEL
    }
    stream.close(rstCode)
    // What is buffered is not wanted; a stream that is not read never closes.
    stream.resume()
  }

  private receive(bytes: Buffer): void {
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
  private session: http2.ClientHttp2Session | undefined
  private dialling: Promise<http2.ClientHttp2Session> | undefined
  /** Ends the attempt under way. */
  private abort: (() => void) | undefined
  private closed = false

  constructor(target: ConnectOptions, options: CheckedChannelOptions) {
    this.target = target
    this.options = options
    this.address = formatAddress(target.address)
    this.maxChunkSize = maxChunkSizeOf(options)
  }

  /** A session that takes calls: the one that there is, or a new one. Rejects with a `DialFailure`. */
  dial(): Promise<http2.ClientHttp2Session> {
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
    if (this.calls.size === 0) this.session?.unref()
  }

  close(): void {
    this.closed = true
    this.abort?.()
    for (const call of [...this.calls]) call.end(closed)
    const { session } = this
    this.session = undefined
    // Frames that say CANCEL still go out; what is left of the socket after that is destroyed.
    session?.close()
    if (session !== undefined) setImmediate(() => session.destroy())
  }

  private begin(session: http2.ClientHttp2Session, call: Call, options: CallOptions): boolean {
    if (session.closed || session.destroyed) return false
    const { token } = this.options
    let stream: http2.ClientHttp2Stream
    try {
      stream = session.request(
        {
          ":method": "POST",
          ":path": `/${options.method}`,
          te: "trailers",
          "content-type": "application/grpc",
          "user-agent": userAgent,
          "grpc-accept-encoding": "identity",
          ...(options.timeoutMillis === undefined ? {} : { "grpc-timeout": formatTimeout(options.timeoutMillis) }),
          ...options.metadata,
          ...(token === undefined
            ? {}
            : { authorization: `Bearer ${Redacted.value(token)}`, [http2.sensitiveHeaders]: ["authorization"] })
        },
        { endStream: false }
      )
    } catch {
      // The session has begun to close.
      return false
    }
    session.ref()
    call.start(stream)
    return true
  }

  private dialOnce(): Promise<http2.ClientHttp2Session> {
    const { connectTimeoutMillis, receiveWindowBytes, tls: secure } = this.options
    const { port } = this.target.address
    const host = bareHost(this.target.address)
    return new Promise((resolve, reject: (failure: DialFailure) => void) => {
      if (this.closed) return reject(new DialFailure(undefined, "the connection was closed"))
      const socketOptions = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: tcpKeepaliveMillis }
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
      const authority = secure?.serverName === undefined ? this.address : `${secure.serverName}:${port}`
      const session = http2.connect(`${secure === undefined ? "http" : "https"}://${authority}`, {
        createConnection: () => socket,
        maxSessionMemory,
        settings: { enablePush: false, initialWindowSize: receiveWindowBytes, maxFrameSize }
      })
      let failure: DialFailure | undefined
      const fail = (reason: DialFailure): void => {
        failure ??= reason
        clearTimeout(timer)
        session.destroy()
        socket.destroy()
        reject(failure)
      }
      const timer = setTimeout(() => {
        const problem = `${this.address} brought up no HTTP/2 session within ${connectTimeoutMillis / 1000} s`
        fail(new DialFailure("ETIMEDOUT", problem))
      }, connectTimeoutMillis)
      this.abort = () => fail(new DialFailure(undefined, "the connection was closed"))
      // The socket's own words: the session wraps them.
      socket.once("error", (error: NodeJS.ErrnoException) => {
        failure ??= dialFailure(this.address, error)
      })
      const onError = (error: NodeJS.ErrnoException) => fail(failure ?? dialFailure(this.address, error))
      const onClose = () =>
        fail(new DialFailure(undefined, `${this.address} ended the connection before an HTTP/2 session was up`))
      session.on("error", onError)
      session.once("close", onClose)
      session.once("connect", () => session.setLocalWindowSize(receiveWindowBytes))
      session.once("remoteSettings", () => {
        clearTimeout(timer)
        this.keep(session)
        session.off("error", onError)
        session.off("close", onClose)
        resolve(session)
      })
    })
  }

  /** Takes a session that is up. */
  private keep(session: http2.ClientHttp2Session): void {
    this.session = session
    session.on("error", () => {
      // Each stream is told, and then "close" comes.
    })
    session.on("goaway", (code: number, lastStreamId: number) => {
      // Calls above it were not looked at by the server. No new ones on this session either way.
      if (this.session === session) this.session = undefined
      const details = `the server is going away (${code})`
      for (const call of [...this.calls]) {
        if (call.streamId !== undefined && call.streamId > lastStreamId) call.end({ code: "UNAVAILABLE", details })
      }
    })
    const ping = this.keepalive(session)
    session.on("close", () => {
      clearInterval(ping)
      if (this.session === session) this.session = undefined
    })
    if (this.calls.size === 0) session.unref()
  }

  private keepalive(session: http2.ClientHttp2Session): NodeJS.Timeout | undefined {
    const { keepaliveMillis } = this.options
    if (keepaliveMillis === undefined) return undefined
    const ping = setInterval(() => {
      if (this.calls.size === 0 || session.destroyed) return
      const unanswered = setTimeout(() => session.destroy(), pingTimeoutMillis)
      unanswered.unref()
      session.ping(() => clearTimeout(unanswered))
    }, keepaliveMillis)
    ping.unref()
    return ping
  }
}

const dialFailure = (address: string, error: NodeJS.ErrnoException): DialFailure => {
  const { code } = error
  if (code === "ERR_HTTP2_ERROR" || code === "ERR_HTTP2_SESSION_ERROR") {
    return new DialFailure(code, `what listens at ${address} does not speak HTTP/2 (${error.message})`)
  }
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
