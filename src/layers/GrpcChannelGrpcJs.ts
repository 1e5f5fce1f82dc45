/**
 * The transport on `@grpc/grpc-js`: Node's own gRPC, with everything that years of use have taught it.
 *
 * **Details**
 *
 * Messages are bytes to grpc-js: it neither encodes nor decodes them. It joins each message twice when sending and once
 * when receiving. Its readable streams read 16 messages ahead, whatever their size; an interceptor holds back each
 * message until it may be followed by the next, so that no more than one waits.
 *
 * **Gotchas**
 *
 * grpc-js does not say why a connection failed until a call has failed: the address is looked at once more then. Its
 * sockets have no TCP keepalive and give no way to set it. A connection that is closed while a silent server has not yet
 * answered keeps its socket until that server lets go. It is imported when the layer is built.
 */
import type * as GrpcJs from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type GrpcError, grpcCodes, InvalidInput } from "../schema/KpuError.ts"
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
} from "./internal/tensors/channelOptions.ts"
import { connectError, diagnose, formatAddress } from "./internal/tensors/dialling.ts"

const pem = (value: string | Uint8Array | undefined): Buffer | null => (value === undefined ? null : Buffer.from(value))

const identity = (bytes: Buffer): Buffer => bytes
const nothing = Buffer.alloc(0)

const closed: CallStatus = { code: "CANCELLED", details: "the connection was closed" }

/** A call that has ended before it began. */
const ended: GrpcCall = {
  write: () => false,
  halfClose: () => {},
  pause: () => {},
  resume: () => {},
  cancel: () => {}
}

const makeClient = (grpc: typeof GrpcJs, target: string, options: CheckedChannelOptions): GrpcJs.Client => {
  const { tls } = options
  const credentials =
    tls === undefined
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(
          pem(tls.ca),
          tls.key === undefined ? null : Buffer.from(Redacted.value(tls.key)),
          pem(tls.cert)
        )
  return new grpc.Client(target, credentials, {
    // A retry buffer would keep copies of tensors; a call that may be tried again is the caller's to try.
    "grpc.enable_retries": 0,
    // The service config that a DNS record may hold is another's word on retries and limits.
    "grpc.service_config_disable_resolution": 1,
    // A socket of our own, closed with this connection.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.max_send_message_length": options.maxSendMessageBytes,
    "grpc.max_receive_message_length": options.maxReceiveMessageBytes,
    "grpc-node.flow_control_window": options.receiveWindowBytes,
    ...(options.keepaliveMillis === undefined ? {} : { "grpc.keepalive_time_ms": options.keepaliveMillis }),
    ...(tls?.serverName === undefined
      ? {}
      : { "grpc.ssl_target_name_override": tls.serverName, "grpc.default_authority": tls.serverName })
  })
}

/** Waits until the channel has a session, or has failed to get one. */
const ready = (grpc: typeof GrpcJs, client: GrpcJs.Client): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const channel = client.getChannel()
    let waiting = true
    const look = (): void => {
      if (!waiting) return
      const state = channel.getConnectivityState(true)
      switch (state) {
        case grpc.connectivityState.READY:
          resume(Effect.succeed(true))
          break
        case grpc.connectivityState.TRANSIENT_FAILURE:
        case grpc.connectivityState.SHUTDOWN:
          resume(Effect.succeed(false))
          break
        default:
          channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, look)
      }
    }
    look()
    return Effect.sync(() => {
      waiting = false
    })
  })

/** The calls of one client, until it is closed. */
class Connection implements GrpcConnection {
  readonly address: string
  readonly maxChunkSize: number
  private readonly grpc: typeof GrpcJs
  private readonly client: GrpcJs.Client
  private readonly token: Redacted.Redacted<string> | undefined
  private readonly open = new Set<(status: CallStatus) => void>()
  private closed = false

  constructor(grpc: typeof GrpcJs, client: GrpcJs.Client, address: string, options: CheckedChannelOptions) {
    this.grpc = grpc
    this.client = client
    this.address = address
    this.maxChunkSize = maxChunkSizeOf(options)
    this.token = options.token
  }

  call(options: CallOptions, events: CallEvents): GrpcCall {
    const { grpc, open } = this
    if (this.closed) {
      queueMicrotask(() => events.end(closed))
      return ended
    }
    let over = false
    let paused = false
    let held: (() => void) | undefined

    const finish = (): void => {
      over = true
      open.delete(abort)
      const release = held
      held = undefined
      release?.()
    }
    const end = (status: CallStatus): void => {
      if (over) return
      finish()
      events.end(status)
    }
    const drop = (): void => {
      stream.cancel()
      // grpc-js begins a call that is cancelled before its metadata are through the filters, some promises later, and
      // nothing ends it then. After those promises it is there to be cancelled.
      setImmediate(() => stream.cancel())
    }
    const abort = (status: CallStatus): void => {
      end(status)
      drop()
    }
    const receive = (message: Buffer): void => {
      if (over) return
      events.message(message.byteLength)
      if (!over && message.byteLength > 0) events.fragment(message)
    }
    const interceptor: GrpcJs.Interceptor = (interceptorOptions, nextCall) =>
      new grpc.InterceptingCall(nextCall(interceptorOptions), {
        start: (metadata, _listener, next) =>
          next(metadata, {
            onReceiveMessage: (message: Buffer, next) => {
              receive(message)
              // grpc-js asks for the next message when it is given this one.
              if (paused && !over) held = () => next(nothing)
              else next(nothing)
            }
          })
      })

    const metadata = new grpc.Metadata()
    for (const key in options.metadata) metadata.set(key, options.metadata[key]!)
    if (this.token !== undefined) metadata.set("authorization", `Bearer ${Redacted.value(this.token)}`)
    const stream = this.client.makeBidiStreamRequest(`/${options.method}`, identity, identity, metadata, {
      interceptors: [interceptor],
      ...(options.timeoutMillis === undefined ? {} : { deadline: Date.now() + options.timeoutMillis })
    })
    stream.on("error", () => {
      // Comes before the status, which says the same.
    })
    stream.on("status", (status) => end({ code: grpcCodes[status.code] ?? "UNKNOWN", details: status.details }))
    stream.resume()
    open.add(abort)

    return {
      write: (views, byteLength) => {
        if (!over) {
          stream.write(Buffer.concat(views, byteLength), () => {
            if (!over) events.drain()
          })
        }
        return false
      },
      halfClose: () => {
        if (!over) stream.end()
      },
      pause: () => {
        paused = true
      },
      resume: () => {
        paused = false
        const release = held
        held = undefined
        release?.()
      },
      cancel: () => {
        if (over) return
        finish()
        drop()
      }
    }
  }

  close(): void {
    this.closed = true
    for (const abort of [...this.open]) abort(closed)
    this.client.close()
  }
}

const connect = Effect.fnUntraced(function* (
  grpc: typeof GrpcJs,
  checked: CheckedChannelOptions,
  options: ConnectOptions
): Effect.fn.Return<GrpcConnection, GrpcError, Scope.Scope> {
  const address = formatAddress(options.address)
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const client = makeClient(grpc, `dns:${address}`, checked)
      return { client, connection: new Connection(grpc, client, address, checked) }
    }),
    ({ connection }) => Effect.sync(() => connection.close())
  )
  const up = yield* ready(grpc, connection.client).pipe(
    Effect.timeoutOrElse({ duration: checked.connectTimeoutMillis, orElse: () => Effect.succeed(undefined) })
  )
  if (up === true) return connection.connection
  if (up === undefined) {
    const problem = `${address} brought up no HTTP/2 session within ${checked.connectTimeoutMillis / 1000} s`
    return yield* connectError(options, "ETIMEDOUT", problem)
  }
  const errno = yield* diagnose(options.address)
  return yield* connectError(options, errno, `${address} ended the connection before an HTTP/2 session was up`)
})

const load = Effect.promise(async (): Promise<typeof GrpcJs> => {
  const module = await import("@grpc/grpc-js")
  return "default" in module ? (module.default as typeof GrpcJs) : module
})

/** The transport with options of its own. */
export const layerWith = (options?: ChannelOptions): Layer.Layer<GrpcChannel, InvalidInput> =>
  Layer.effect(
    GrpcChannel,
    Effect.gen(function* () {
      const checked = yield* Effect.try({
        try: () => checkChannelOptions(options),
        catch: (error) => {
          if (error instanceof InvalidInput) return error
          throw error
        }
      })
      const grpc = yield* load
      return GrpcChannel.of({ connect: (options) => connect(grpc, checked, options) })
    })
  )

/** The transport with its defaults, which are valid. */
export const layer: Layer.Layer<GrpcChannel> = Layer.orDie(layerWith())
