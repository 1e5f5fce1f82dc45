/** This package, on one of its transports. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import { type ScopedTensor, TensorClient, type TensorConnection } from "../../src/services/TensorClient.ts"
import { Tensor } from "../../src/Tensor.ts"
import { type Client, expectEqual, memoryOf, shapeOf, type Task } from "./Client.ts"

export const make = (transport: "http2" | "grpc-js", reused = false): Client => {
  const channel = transport === "http2" ? GrpcChannel.layerHttp2 : GrpcChannel.layerGrpcJs
  const scope = Effect.runSync(Scope.make())
  let connection: Promise<TensorConnection> | undefined
  const connect = (task: Task): Promise<TensorConnection> => {
    connection ??= Effect.runPromise(
      Effect.flatMap(TensorClient, (client) =>
        client.connect({
          address: { host: task.host, port: task.port, hint: "", mayResolveLater: false },
          namespace: "default",
          name: "bench"
        })
      ).pipe(Effect.provide(Layer.provide(TensorClientGrpc.layer, channel)), Scope.provide(scope))
    )
    return connection
  }
  const tensors = ({ bytes, count }: Task) => {
    const tensor = Tensor.make({ dtype: "float32", shape: [bytes / 4], data: memoryOf(bytes) })
    return Array.from({ length: count }, () => tensor)
  }
  const drain = async (task: Task, stream: Stream.Stream<Tensor, unknown>): Promise<void> => {
    let received = 0
    await Effect.runPromise(
      Stream.runForEachArray(stream, (tensors) =>
        Effect.sync(() => {
          for (const tensor of tensors) received += tensor.data.byteLength
        })
      )
    )
    expectEqual("bytes received", received, task.bytes * task.count)
  }
  const drainScoped = async (task: Task, stream: Stream.Stream<ScopedTensor, unknown>): Promise<void> => {
    let received = 0
    await Effect.runPromise(
      Stream.runForEach(stream, (scoped) =>
        Effect.scoped(
          Effect.map(scoped, (tensor) => {
            received += tensor.data.byteLength
          })
        )
      )
    )
    expectEqual("bytes received", received, task.bytes * task.count)
  }
  return {
    send: async (task) => {
      const { sendTensors } = await connect(task)
      const receipt = await Effect.runPromise(sendTensors(tensors(task), { chunkSize: task.chunkSize }))
      expectEqual("tensors at the server", receipt.receivedTensorIds.length, task.count)
    },
    receive: async (task) => {
      const connection = await connect(task)
      const request = { count: task.count, parameters: { shape: shapeOf(task.bytes) } }
      if (reused) await drainScoped(task, connection.receiveTensorsScoped(request))
      else await drain(task, connection.receiveTensors(request))
    },
    stream: async (task) => {
      const connection = await connect(task)
      const options = { chunkSize: task.chunkSize }
      if (reused) await drainScoped(task, connection.streamTensorsScoped(tensors(task), options))
      else await drain(task, connection.streamTensors(tensors(task), options))
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
