/**
 * A tensor server on grpc-js for tests, with handlers that may do anything: misbehave, stall, answer early. What a test
 * does not give behaves as the wire contract says.
 */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { TensorChunk, TensorRequest, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"
import type { Tensor } from "../../src/schema/Tensor.ts"
import { chunkTensor, toMessage } from "../../src/torch/Chunker.ts"

export type Receive = grpc.handleClientStreamingCall<TensorChunk, TensorResponse>
export type Send = grpc.handleServerStreamingCall<TensorRequest, TensorChunk>
export type Echo = grpc.handleBidiStreamingCall<TensorChunk, TensorChunk>

export interface Handlers {
  /** The client sends. */
  readonly receive?: Receive | undefined
  /** The client receives. */
  readonly send?: Send | undefined
  /** Both. */
  readonly stream?: Echo | undefined
}

/** Something that has happened, in order. */
export interface Happened {
  readonly method: string
  readonly what: "call" | "cancelled" | "ended"
  readonly computeId: string | undefined
  readonly authorization: string | undefined
}

export interface TensorServer {
  readonly host: string
  readonly port: number
  readonly happened: ReadonlyArray<Happened>
  /** Waits until `count` things of this kind have happened. */
  readonly waitFor: (what: Happened["what"], count?: number) => Effect.Effect<void>
}

export interface Options {
  readonly credentials?: grpc.ServerCredentials | undefined
  readonly port?: number | undefined
  readonly channelOptions?: grpc.ChannelOptions | undefined
}

/** A tensor's chunks as messages. */
export const messages = (tensor: Tensor, id: string, chunkSize?: number): Array<TensorChunk> =>
  [...chunkTensor(tensor, { id, chunkSize })].map(toMessage)

/** Writes with backpressure. */
export const write = (
  call: grpc.ServerWritableStream<any, TensorChunk> | grpc.ServerDuplexStream<any, TensorChunk>
) => {
  return (chunk: TensorChunk): Promise<void> =>
    new Promise((done) => {
      if (call.cancelled || call.write(chunk)) return done()
      const go = () => {
        call.off("drain", go)
        call.off("cancelled", go)
        done()
      }
      call.on("drain", go)
      call.on("cancelled", go)
    })
}

const receive: Receive = (call, answer) => {
  const seen = new Map<string, number>()
  const ids: Array<string> = []
  call.on("data", (chunk: TensorChunk) => {
    const count = (seen.get(chunk.tensorId) ?? 0) + 1
    seen.set(chunk.tensorId, count)
    if (count === chunk.totalChunks) ids.push(chunk.tensorId)
  })
  call.on("end", () =>
    answer(null, { success: true, message: `Received ${ids.length} tensor(s)`, receivedTensorIds: ids })
  )
  call.on("error", () => {})
}

const echo: Echo = (call) => {
  call.on("data", (chunk: TensorChunk) => {
    if (!call.write({ ...chunk, tensorId: `processed_${chunk.tensorId}` })) {
      call.pause()
      call.once("drain", () => call.resume())
    }
  })
  call.on("end", () => call.end())
  call.on("error", () => {})
}

/** A server that sends these tensors, again and again, as many as are asked for. */
export const sending =
  (tensors: ReadonlyArray<Tensor>, chunkSize?: number): Send =>
  async (call) => {
    const count = call.request.count === 0 ? 1 : call.request.count
    const put = write(call)
    for (let i = 0; i < count && !call.cancelled; i++) {
      for (const chunk of messages(tensors[i % tensors.length]!, `tensor-${i}`, chunkSize)) {
        if (call.cancelled) break
        await put(chunk)
      }
    }
    call.end()
  }

/** A server that sends these messages as they are. */
export const sendingMessages =
  (chunks: Iterable<TensorChunk>): Send =>
  async (call) => {
    const put = write(call)
    for (const chunk of chunks) {
      if (call.cancelled) break
      await put(chunk)
    }
    call.end()
  }

const method = <Q, S>(
  name: string,
  request: { encode(m: Q): { finish(): Uint8Array }; decode(b: Uint8Array): Q },
  response: { encode(m: S): { finish(): Uint8Array }; decode(b: Uint8Array): S },
  requestStream: boolean,
  responseStream: boolean
): grpc.MethodDefinition<Q, S> => ({
  path: `/kpu.torch.Service/${name}`,
  requestStream,
  responseStream,
  requestSerialize: (m) => Buffer.from(request.encode(m).finish()),
  requestDeserialize: (b) => request.decode(b),
  responseSerialize: (m) => Buffer.from(response.encode(m).finish()),
  responseDeserialize: (b) => response.decode(b)
})

/** The service, as grpc-js wants it. */
export const definition: grpc.ServiceDefinition = {
  ReceiveTensors: method("ReceiveTensors", TensorChunk, TensorResponse, true, false),
  SendTensors: method("SendTensors", TensorRequest, TensorChunk, false, true),
  StreamTensors: method("StreamTensors", TensorChunk, TensorChunk, true, true)
}

/** Starts a server on loopback; it is gone when the scope closes. */
export const serve = (
  handlers: Handlers = {},
  options: Options = {}
): Effect.Effect<TensorServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const happened: Array<Happened> = []
    const watchers = new Set<() => void>()
    const note = (call: any, method: string) => {
      const [computeId] = call.metadata.get("compute-id") as Array<string>
      const [authorization] = call.metadata.get("authorization") as Array<string>
      const tell = (what: Happened["what"]) => {
        happened.push({ method, what, computeId, authorization })
        for (const watcher of [...watchers]) watcher()
      }
      tell("call")
      call.on("cancelled", () => tell("cancelled"))
      call.on("finish", () => tell("ended"))
    }
    const server = new grpc.Server({
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
      "grpc-node.flow_control_window": 16 * 2 ** 20,
      ...options.channelOptions
    })
    server.addService(definition, {
      ReceiveTensors: (call: any, answer: any) => {
        note(call, "ReceiveTensors")
        const give = handlers.receive ?? receive
        give(call, answer)
      },
      SendTensors: (call: any) => {
        note(call, "SendTensors")
        const give = handlers.send ?? sending([])
        give(call)
      },
      StreamTensors: (call: any) => {
        note(call, "StreamTensors")
        const give = handlers.stream ?? echo
        give(call)
      }
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.bindAsync(
          `127.0.0.1:${options.port ?? 0}`,
          options.credentials ?? grpc.ServerCredentials.createInsecure(),
          (error, port) => resume(error === null ? Effect.succeed(port) : Effect.die(error))
        )
      }),
      () => Effect.sync(() => server.forceShutdown())
    )
    return {
      host: "127.0.0.1",
      port,
      happened,
      waitFor: (what, count = 1) =>
        Effect.callback((resume) => {
          const look = () => {
            if (happened.filter((each) => each.what === what).length < count) return
            watchers.delete(look)
            resume(Effect.void)
          }
          watchers.add(look)
          look()
          return Effect.sync(() => watchers.delete(look))
        })
    }
  })
