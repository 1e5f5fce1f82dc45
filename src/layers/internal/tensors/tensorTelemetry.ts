/**
 * What is told of a tensor call: a span named as OpenTelemetry's RPC conventions have it, the trace's context in the
 * call's metadata, and metrics.
 *
 * **Off means no cost.** Where nobody has provided a tracer there is no span and no context on the wire, and a chunk costs
 * one addition. A tensor's elements, ids and metadata are never told.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { grpcCodes } from "../../../schema/KpuError.ts"
import type { CallEvents, CallOptions, CallStatus, GrpcCall, GrpcConnection } from "../../../services/GrpcChannel.ts"
import type { ConnectOptions } from "../../../services/TensorClient.ts"
import { countCall } from "../metrics.ts"
import type { Finish } from "./tensorReceiving.ts"

const service = "kpu.torch.Service"

/** The attributes of a Compute's tensor server. */
export const serverAttributes = ({ address, name, namespace }: ConnectOptions) => ({
  "k8s.namespace.name": namespace,
  "kpu.compute.name": name,
  "server.address": address.host,
  "server.port": address.port
})

/** W3C Trace Context: `traceparent`. */
const traceparent = (span: Tracer.Span): string => `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`

/** One call under observation. */
export class ObservedCall {
  readonly method: string
  /** To be sent with the call. */
  readonly metadata: Readonly<Record<string, string>>
  bytesSent = 0
  bytesReceived = 0
  tensorsReceived = 0
  /** How many tensors have been begun to be sent. */
  tensorsSent: () => number = () => 0
  status: CallStatus | undefined

  constructor(method: string, metadata: Readonly<Record<string, string>>) {
    this.method = method
    this.metadata = metadata
  }

  /** Starts the call, and counts what passes. */
  open(connection: GrpcConnection, options: Pick<CallOptions, "timeoutMillis">, events: CallEvents): GrpcCall {
    const call = connection.call(
      { method: `${service}/${this.method}`, metadata: this.metadata, timeoutMillis: options.timeoutMillis },
      {
        message: (byteLength) => {
          this.bytesReceived += byteLength
          events.message(byteLength)
        },
        fragment: events.fragment,
        drain: events.drain,
        end: (status) => {
          this.status = status
          events.end(status)
        }
      }
    )
    return {
      write: (views, byteLength) => {
        this.bytesSent += byteLength
        return call.write(views, byteLength)
      },
      halfClose: () => call.halfClose(),
      pause: () => call.pause(),
      resume: () => call.resume(),
      cancel: () => call.cancel()
    }
  }

  /** Counts the tensors that the user gets. */
  counted<A>({ make, memory }: Finish<A>): Finish<A> {
    return {
      memory,
      make: (message, payload) => {
        this.tensorsReceived += 1
        return make(message, payload)
      }
    }
  }
}

/** Observes a call from now until the scope closes. */
export const observeCall = (
  method: string,
  metadata: Readonly<Record<string, string>>,
  options: ConnectOptions
): Effect.Effect<ObservedCall, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const started = clock.currentTimeMillisUnsafe()
    const scope = yield* Effect.scope
    const tracer = yield* Tracer.Tracer
    const span =
      tracer === Tracer.nativeTracer
        ? undefined
        : yield* Effect.makeSpanScoped(`${service}/${method}`, {
            kind: "client",
            attributes: {
              "rpc.system": "grpc",
              "rpc.service": service,
              "rpc.method": method,
              ...serverAttributes(options)
            }
          })
    const call = new ObservedCall(
      method,
      // A span that is not recorded has ids of no use to anybody.
      span === undefined || span.spanId === "noop" ? metadata : { ...metadata, traceparent: traceparent(span) }
    )
    const finish = Effect.suspend(() => {
      // Without a status the call was ended from this side.
      const status = call.status?.code ?? "CANCELLED"
      if (span !== undefined) {
        span.attribute("rpc.grpc.status_code", grpcCodes.indexOf(status))
        span.attribute("kpu.sent.bytes", call.bytesSent)
        span.attribute("kpu.sent.tensors", call.tensorsSent())
        span.attribute("kpu.received.bytes", call.bytesReceived)
        span.attribute("kpu.received.tensors", call.tensorsReceived)
        if (status !== "OK") span.attribute("error.type", status)
      }
      return Effect.all(
        countCall({
          method,
          status,
          seconds: (clock.currentTimeMillisUnsafe() - started) / 1000,
          bytesSent: call.bytesSent,
          bytesReceived: call.bytesReceived,
          tensorsSent: call.tensorsSent(),
          tensorsReceived: call.tensorsReceived
        }),
        { discard: true }
      )
    })
    yield* Scope.addFinalizer(scope, finish)
    return call
  })
