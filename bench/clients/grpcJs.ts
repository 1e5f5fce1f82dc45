/**
 * `@grpc/grpc-js` with ts-proto's code: as its documentation has it (`plain`), and with a 16 MiB window, no retry buffer
 * and chunks copied to their place as they come (`tuned`).
 */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import { TensorChunk, TensorRequest, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"
import { Tensor } from "../../src/Tensor.ts"
import { type Client, expectEqual, memoryOf, shapeOf, type Task } from "./Client.ts"

interface Codec<A> {
  encode(message: A): { finish(): Uint8Array }
  decode(bytes: Uint8Array): A
}
const serialize =
  <A>(codec: Codec<A>) =>
  (message: A): Buffer =>
    Buffer.from(codec.encode(message).finish())
const deserialize =
  <A>(codec: Codec<A>) =>
  (bytes: Buffer): A =>
    codec.decode(bytes)

/** The chunks of a tensor, as someone writes them who has the bytes of `torch.save` in one array. */
export function* chunksOf(tensor: Tensor, id: string, chunkSize: number): Generator<TensorChunk> {
  const payload = Tensor.toTorch(tensor)
  const totalChunks = Math.ceil(payload.byteLength / chunkSize)
  for (let chunkNumber = 0; chunkNumber < totalChunks; chunkNumber++) {
    yield {
      tensorId: id,
      chunkNumber,
      totalChunks,
      isLast: chunkNumber === totalChunks - 1,
      data: payload.subarray(chunkNumber * chunkSize, (chunkNumber + 1) * chunkSize),
      metadata:
        chunkNumber === 0
          ? {
              shape: `[${tensor.shape.join(", ")}]`,
              dtype: `torch.${tensor.dtype}`,
              device: "cpu",
              size_bytes: String(payload.byteLength)
            }
          : {}
    }
  }
}

/** Puts chunks together as documentation would: kept, and joined at the end. */
export class JoiningAssembler {
  private chunks: Array<Uint8Array> = []
  private bytes = 0
  received = 0
  private readonly expected: number
  constructor(expected: number) {
    this.expected = expected
  }
  push(chunk: TensorChunk): void {
    this.chunks[chunk.chunkNumber] = chunk.data
    this.bytes++
    if (this.bytes < chunk.totalChunks) return
    const tensor = Effect.runSync(Tensor.fromTorch(Buffer.concat(this.chunks)))
    expectEqual("bytes of a tensor", tensor.data.byteLength, this.expected)
    this.received++
    this.chunks = []
    this.bytes = 0
  }
}

/** Puts chunks together as well as one can with whole messages: one allocation, one copy. */
export class CopyingAssembler {
  private payload = new Uint8Array(0)
  private at = 0
  received = 0
  private readonly expected: number
  constructor(expected: number) {
    this.expected = expected
  }
  push(chunk: TensorChunk): void {
    if (chunk.chunkNumber === 0) {
      this.payload = new Uint8Array(Buffer.allocUnsafeSlow(Number(chunk.metadata["size_bytes"])).buffer)
      this.at = 0
    }
    this.payload.set(chunk.data, this.at)
    this.at += chunk.data.byteLength
    if (this.at < this.payload.byteLength) return
    const tensor = Effect.runSync(Tensor.fromTorch(this.payload))
    expectEqual("bytes of a tensor", tensor.data.byteLength, this.expected)
    this.received++
  }
}

export const make = (kind: "plain" | "tuned"): Client => {
  const limits = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 }
  const options: grpc.ClientOptions =
    kind === "plain" ? limits : { ...limits, "grpc.enable_retries": 0, "grpc-node.flow_control_window": 16 * 2 ** 20 }
  let client: grpc.Client | undefined
  const connect = (task: Task): grpc.Client => {
    client ??= new grpc.Client(`${task.host}:${task.port}`, grpc.credentials.createInsecure(), options)
    return client
  }
  const assembler = (task: Task) =>
    kind === "plain" ? new JoiningAssembler(task.bytes) : new CopyingAssembler(task.bytes)
  const writeAll = async (call: grpc.ClientWritableStream<TensorChunk>, task: Task): Promise<void> => {
    const tensor = Tensor.make({ dtype: "float32", shape: [task.bytes / 4], data: memoryOf(task.bytes) })
    for (let i = 0; i < task.count; i++) {
      for (const chunk of chunksOf(tensor, `tensor-${i}`, task.chunkSize)) {
        if (!call.write(chunk)) await new Promise((done) => call.once("drain", done))
      }
    }
    call.end()
  }
  const readAll = (call: grpc.ClientReadableStream<TensorChunk>, task: Task): Promise<void> =>
    new Promise((done, fail) => {
      const into = assembler(task)
      call.on("data", (chunk: TensorChunk) => into.push(chunk))
      call.on("error", fail)
      call.on("end", () => {
        expectEqual("tensors received", into.received, task.count)
        done()
      })
    })
  return {
    send: (task) =>
      new Promise((done, fail) => {
        const call = connect(task).makeClientStreamRequest(
          "/kpu.torch.Service/ReceiveTensors",
          serialize(TensorChunk),
          deserialize(TensorResponse),
          (error, response) => {
            if (error !== null) return fail(error)
            expectEqual("tensors at the server", response!.receivedTensorIds.length, task.count)
            done()
          }
        )
        void writeAll(call, task)
      }),
    receive: (task) =>
      readAll(
        connect(task).makeServerStreamRequest(
          "/kpu.torch.Service/SendTensors",
          serialize(TensorRequest),
          deserialize(TensorChunk),
          { count: task.count, parameters: { shape: shapeOf(task.bytes) } }
        ),
        task
      ),
    stream: async (task) => {
      const call = connect(task).makeBidiStreamRequest(
        "/kpu.torch.Service/StreamTensors",
        serialize(TensorChunk),
        deserialize(TensorChunk)
      )
      await Promise.all([readAll(call, task), writeAll(call, task)])
    },
    close: async () => client?.close()
  }
}
