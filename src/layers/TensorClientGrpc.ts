/**
 * The tensor client on a gRPC channel: the three calls of the tensor service, in both directions at once where they have
 * two.
 *
 * **How calls end.** A call is cancelled when its scope closes: by interruption, by the end of the user's consumer, by a
 * failure of the user's own stream, which passes through unchanged. A server that ends the call before all is sent stops
 * the sending: the user's stream is interrupted, an iterator is returned. A stream that ends in the middle of a tensor is
 * an error that names it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { kind } from "../schema/ComputeResource.ts"
import { TensorRequest, TensorResponse } from "../schema/generated/kpu/torch/service.ts"
import { GrpcError, InvalidInput, SendRejected, TensorDecodeError, TensorLimitError } from "../schema/KpuError.ts"
import { SendReceipt } from "../schema/SendReceipt.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { type CallStatus, type GrpcCall, GrpcChannel, type GrpcConnection } from "../services/GrpcChannel.ts"
import {
  type ConnectOptions,
  type OutgoingTensors,
  type ReceiveError,
  type ReceiveRequest,
  type ScopedTensor,
  type SendError,
  type SendOptions,
  type StreamOptions,
  TensorClient,
  type TensorConnection
} from "../services/TensorClient.ts"
import { openChannels } from "./internal/metrics.ts"
import { TensorMemory } from "./internal/tensors/tensorMemory.ts"
import { type Checked, checkOptions, checkOutgoing } from "./internal/tensors/tensorOptions.ts"
import { asItIs, type Finish, Receiving } from "./internal/tensors/tensorReceiving.ts"
import { checkTensors, type Outlet, type Sending, startSending } from "./internal/tensors/tensorSending.ts"
import { observeCall, serverAttributes } from "./internal/tensors/tensorTelemetry.ts"

const service = "kpu.torch.Service"

/** The largest answer to a send: thousands of ids. */
const maxResponseBytes = 16 * 2 ** 20

const connectionOf = (connection: GrpcConnection, options: ConnectOptions, memory: TensorMemory): TensorConnection => {
  const { name, namespace } = options
  const scoped = scopedIn(memory)
  const resource = { kind, namespace, name }
  const metadata = { "compute-id": `${namespace}/${name}` }

  const grpcError = (method: string, { code, details }: CallStatus) =>
    new GrpcError({ code, details, method: `${service}/${method}`, address: connection.address, resource })

  /** What is wrong with the server's bytes, with the Compute that sent them; everything else is a defect. */
  const failed = (error: unknown): Cause.Cause<TensorDecodeError | TensorLimitError> => {
    if (error instanceof TensorDecodeError) {
      return Cause.fail(new TensorDecodeError({ where: error.where, problem: error.problem, resource }))
    }
    if (error instanceof TensorLimitError) {
      return Cause.fail(new TensorLimitError({ limit: error.limit, problem: error.problem, resource }))
    }
    return Cause.die(error)
  }

  /** Runs a check of the user's input, whose error then names this Compute. */
  const checking = <A>(step: () => A): A => {
    try {
      return step()
    } catch (error) {
      if (!(error instanceof InvalidInput)) throw error
      throw new InvalidInput({ field: error.field, problem: error.problem, resource })
    }
  }

  const check = (
    options: (ReceiveRequest & StreamOptions) | undefined,
    tensors?: OutgoingTensors<unknown, unknown>
  ): Effect.Effect<Checked, InvalidInput> =>
    Effect.suspend(() => {
      try {
        return Effect.succeed(
          checking(() => {
            if (tensors !== undefined) checkTensors(tensors)
            return checkOptions(options, connection.maxChunkSize)
          })
        )
      } catch (error) {
        return error instanceof InvalidInput ? Effect.fail(error) : Effect.die(error)
      }
    })

  const outlet = (call: GrpcCall, { chunkSize }: Checked): Outlet => ({
    call,
    chunkSize,
    check: (item, index) => checking(() => checkOutgoing(item, index))
  })

  const observe = (method: string) => observeCall(method, metadata, options)

  const sendTensors = <E, R>(
    tensors: OutgoingTensors<E, R>,
    options?: SendOptions
  ): Effect.Effect<SendReceipt, SendError | E, R> =>
    Effect.gen(function* () {
      const checked = yield* check(options, tensors)
      const method = "ReceiveTensors"
      const observed = yield* observe(method)
      let outcome: Effect.Effect<SendReceipt, SendError | E> | undefined
      let wake: (() => void) | undefined
      let sending: Sending | undefined
      let parts: Array<Uint8Array> = []
      let messages = 0
      let bytes = 0

      const settle = (result: Effect.Effect<SendReceipt, SendError | E>): void => {
        if (outcome !== undefined) return
        outcome = result
        wake?.()
      }
      const internal = (details: string) => settle(Effect.fail(grpcError(method, { code: "INTERNAL", details })))

      const call = observed.open(connection, checked, {
        message: (byteLength) => {
          messages++
          bytes += byteLength
          if (messages > 1 || bytes > maxResponseBytes) {
            internal(messages > 1 ? "the server answered twice" : `the server's answer has ${bytes} bytes`)
            call.cancel()
          }
        },
        fragment: (fragment) => {
          if (outcome === undefined) parts.push(Buffer.from(fragment))
        },
        drain: () => sending?.drain(),
        end: (status) => {
          sending?.stop()
          if (status.code !== "OK") return settle(Effect.fail(grpcError(method, status)))
          if (messages === 0) return internal("the server ended the call without an answer")
          try {
            const receipt = new SendReceipt(TensorResponse.decode(Buffer.concat(parts)))
            settle(receipt.success ? Effect.succeed(receipt) : Effect.fail(new SendRejected({ resource, receipt })))
          } catch {
            internal("the server's answer is not a TensorResponse")
          }
          parts = []
        }
      })
      sending = yield* startSending(tensors, outlet(call, checked), (cause) => {
        settle(Effect.failCause(cause))
        call.cancel()
      })
      const { count, stop } = sending
      observed.tensorsSent = count
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          call.cancel()
          stop()
        })
      )
      return yield* Effect.interruptible(
        Effect.callback<SendReceipt, SendError | E>((resume) => {
          wake = () => resume(outcome!)
          if (outcome !== undefined) wake()
        })
      )
    }).pipe(Effect.uninterruptible, Effect.scoped) as Effect.Effect<SendReceipt, SendError | E, R>

  const receive = <A>(finish: Finish<A>, request?: ReceiveRequest): Stream.Stream<A, ReceiveError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const checked = yield* check(request)
        const method = "SendTensors"
        const observed = yield* observe(method)
        const receiving = new Receiving<ReceiveError, A>(checked, observed.counted(finish), failed)
        const call = observed.open(connection, checked, {
          message: (byteLength) => receiving.message(byteLength),
          fragment: (bytes) => receiving.fragment(bytes),
          drain: () => {},
          end: (status) => receiving.end(status, () => Cause.fail(grpcError(method, status)))
        })
        receiving.start(call)
        yield* Effect.addFinalizer(() => Effect.sync(() => call.cancel()))
        const message = TensorRequest.encode(checked).finish()
        call.write([message], message.byteLength)
        call.halfClose()
        return Stream.fromPull(Effect.succeed(receiving.pull))
      }).pipe(Effect.uninterruptible)
    )

  const exchange = <A, E, R>(
    finish: Finish<A>,
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ): Stream.Stream<A, ReceiveError | E, R> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const checked = yield* check(options, tensors)
        const method = "StreamTensors"
        const observed = yield* observe(method)
        const receiving = new Receiving<ReceiveError | E, A>(checked, observed.counted(finish), failed)
        let sending: Sending | undefined
        const call = observed.open(connection, checked, {
          message: (byteLength) => receiving.message(byteLength),
          fragment: (bytes) => receiving.fragment(bytes),
          drain: () => sending?.drain(),
          end: (status) => {
            sending?.stop()
            receiving.end(status, () => Cause.fail(grpcError(method, status)))
          }
        })
        receiving.start(call)
        sending = yield* startSending(tensors, outlet(call, checked), (cause) => receiving.fail(cause))
        const { count, stop } = sending
        observed.tensorsSent = count
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            call.cancel()
            stop()
          })
        )
        return Stream.fromPull(Effect.succeed(receiving.pull))
      }).pipe(Effect.uninterruptible)
    ) as Stream.Stream<A, ReceiveError | E, R>

  return {
    address: connection.address,
    sendTensors,
    receiveTensors: (request) => receive(bare, request),
    receiveTensorMessages: (request) => receive(asItIs, request),
    receiveTensorsScoped: (request) => receive(scoped, request),
    streamTensors: (tensors, options) => exchange(bare, tensors, options),
    streamTensorMessages: (tensors, options) => exchange(asItIs, tensors, options),
    streamTensorsScoped: (tensors, options) => exchange(scoped, tensors, options)
  }
}

/** The tensor without what came beside it. */
const bare: Finish<Tensor> = { make: ({ tensor }) => tensor }

/** Tensors whose memory is used again when the scope that they were taken into closes. */
const scopedIn = (memory: TensorMemory): Finish<ScopedTensor> => ({
  memory,
  make: ({ tensor }, { bytes }) => {
    const release = Effect.sync(() => memory.release(bytes))
    return Effect.suspend(() =>
      (bytes.buffer as ArrayBuffer).detached
        ? Effect.die(new Error("this tensor was taken before, and the scope that it was taken into has closed"))
        : Effect.as(
            Effect.addFinalizer(() => release),
            tensor
          )
    )
  }
})

/** The tensor client on whichever transport the `GrpcChannel` is. */
export const layer: Layer.Layer<TensorClient, never, GrpcChannel> = Layer.effect(
  TensorClient,
  Effect.gen(function* () {
    const channel = yield* GrpcChannel
    return TensorClient.of({
      connect: (options): Effect.Effect<TensorConnection, GrpcError, Scope.Scope> =>
        Effect.gen(function* () {
          const memory = new TensorMemory()
          yield* Effect.addFinalizer(() => Effect.sync(() => memory.clear()))
          const connection = yield* channel.connect(options)
          yield* Effect.acquireRelease(Metric.modify(openChannels, 1), () => Metric.modify(openChannels, -1))
          return connectionOf(connection, options, memory)
        }).pipe(Effect.withSpan("TensorClient.connect", { kind: "client", attributes: serverAttributes(options) }))
    })
  })
)
