/** @connectrpc/connect-node over gRPC, as its documentation has it. Its descriptors come from buf, when it starts. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf"
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { createClient } from "@connectrpc/connect"
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node"
import { Tensor } from "../../src/Tensor.ts"
import { root } from "../../test/kit/peers.ts"
import { type Client, expectEqual, memoryOf, shapeOf, type Task } from "./Client.ts"
import { chunksOf, JoiningAssembler } from "./grpcJs.ts"

const descriptors = () =>
  execFileSync(join(root, "node_modules/.bin/buf"), ["build", "--as-file-descriptor-set", "-o", "-"], { cwd: root })

export const make = (): Client => {
  const service = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors())).getService(
    "kpu.torch.Service"
  )!
  let sessions: Http2SessionManager | undefined
  const connect = (task: Task): any => {
    const baseUrl = `http://${task.host}:${task.port}`
    sessions ??= new Http2SessionManager(baseUrl)
    return createClient(service, createGrpcTransport({ baseUrl, sessionManager: sessions }))
  }
  async function* chunks(task: Task): AsyncGenerator<any> {
    const tensor = Tensor.make({ dtype: "float32", shape: [task.bytes / 4], data: memoryOf(task.bytes) })
    for (let i = 0; i < task.count; i++) yield* chunksOf(tensor, `tensor-${i}`, task.chunkSize)
  }
  const readAll = async (messages: AsyncIterable<any>, task: Task): Promise<void> => {
    const into = new JoiningAssembler(task.bytes)
    for await (const chunk of messages) into.push(chunk)
    expectEqual("tensors received", into.received, task.count)
  }
  return {
    send: async (task) => {
      const response = await connect(task).receiveTensors(chunks(task))
      expectEqual("tensors at the server", response.receivedTensorIds.length, task.count)
    },
    receive: (task) =>
      readAll(connect(task).sendTensors({ count: task.count, parameters: { shape: shapeOf(task.bytes) } }), task),
    stream: (task) => readAll(connect(task).streamTensors(chunks(task)), task),
    close: async () => sessions?.abort()
  }
}
