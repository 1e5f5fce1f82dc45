/** nice-grpc with ts-proto's code, as its documentation has it. */
import * as grpc from "@grpc/grpc-js"
import { type Channel, createChannel, createClient } from "nice-grpc"
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"
import { Tensor } from "../../src/Tensor.ts"
import { definition } from "../../test/kit/TensorServer.ts"
import { type Client, expectEqual, memoryOf, shapeOf, type Task } from "./Client.ts"
import { chunksOf, JoiningAssembler } from "./grpcJs.ts"

const named = definition as {
  readonly ReceiveTensors: grpc.MethodDefinition<any, any>
  readonly SendTensors: grpc.MethodDefinition<any, any>
  readonly StreamTensors: grpc.MethodDefinition<any, any>
}

export const make = (): Client => {
  let channel: Channel | undefined
  const connect = (task: Task): any => {
    channel ??= createChannel(`${task.host}:${task.port}`, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1
    })
    return createClient(named, channel)
  }
  async function* chunks(task: Task): AsyncGenerator<TensorChunk> {
    const tensor = Tensor.make({ dtype: "float32", shape: [task.bytes / 4], data: memoryOf(task.bytes) })
    for (let i = 0; i < task.count; i++) yield* chunksOf(tensor, `tensor-${i}`, task.chunkSize)
  }
  const readAll = async (messages: AsyncIterable<TensorChunk>, task: Task): Promise<void> => {
    const into = new JoiningAssembler(task.bytes)
    for await (const chunk of messages) into.push(chunk)
    expectEqual("tensors received", into.received, task.count)
  }
  return {
    send: async (task) => {
      const response = await connect(task).ReceiveTensors(chunks(task))
      expectEqual("tensors at the server", response.receivedTensorIds.length, task.count)
    },
    receive: (task) =>
      readAll(connect(task).SendTensors({ count: task.count, parameters: { shape: shapeOf(task.bytes) } }), task),
    stream: (task) => readAll(connect(task).StreamTensors(chunks(task)), task),
    close: async () => channel?.close()
  }
}
