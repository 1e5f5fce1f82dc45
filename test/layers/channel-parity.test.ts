/** What holds for the tensor calls on every transport, against real servers on loopback. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import { TensorClient } from "../../src/services/TensorClient.ts"
import { Tensor } from "../../src/Tensor.ts"
import * as TensorServer from "../kit/TensorServer.ts"

const transports = [["grpc-js", GrpcChannel.layerGrpcJs] as const]

const connectTo = (server: { readonly host: string; readonly port: number }) =>
  Effect.flatMap(TensorClient, (client) =>
    client.connect({
      address: { host: server.host, port: server.port, hint: "Look at the server.", mayResolveLater: false },
      namespace: "team-a",
      name: "my-compute"
    })
  )

const a = Tensor.randn([100, 100], { seed: 1 })
const b = Tensor.randn([50, 50], { seed: 2 })

describe.each(transports)("tensor calls on %s", (_name, channel) => {
  const client = Layer.provide(TensorClientGrpc.layer, channel)

  it.live("sends tensors, and gives the server's receipt", () =>
    Effect.gen(function* () {
      const server = yield* TensorServer.serve()
      const connection = yield* connectTo(server)
      const receipt = yield* connection.sendTensors([a, { tensor: b, id: "b" }])
      expect(receipt.success).toBe(true)
      expect(receipt.message).toBe("Received 2 tensor(s)")
      expect(receipt.receivedTensorIds[1]).toBe("b")
      expect(server.happened[0]).toMatchObject({ method: "ReceiveTensors", computeId: "team-a/my-compute" })
    }).pipe(Effect.scoped, Effect.provide(client))
  )

  it.live("receives tensors", () =>
    Effect.gen(function* () {
      const server = yield* TensorServer.serve({ send: TensorServer.sending([a, b], 4096) })
      const connection = yield* connectTo(server)
      const tensors = yield* Stream.runCollect(connection.receiveTensors({ count: 3 }))
      expect(tensors.map((tensor) => tensor.shape)).toEqual([a.shape, b.shape, a.shape])
      expect(Tensor.equals(tensors[0]!, a)).toBe(true)
      expect(Tensor.equals(tensors[1]!, b)).toBe(true)
    }).pipe(Effect.scoped, Effect.provide(client))
  )

  it.live("streams tensors through", () =>
    Effect.gen(function* () {
      const server = yield* TensorServer.serve()
      const connection = yield* connectTo(server)
      const big = Tensor.randn([1000, 1000], { seed: 3 })
      const messages = yield* Stream.runCollect(
        connection.streamTensorMessages(Stream.make({ tensor: a, id: "a" }, { tensor: big, id: "big" }), {
          chunkSize: 65536
        })
      )
      expect(messages.map(({ id }) => id)).toEqual(["processed_a", "processed_big"])
      expect(Tensor.equals(messages[1]!.tensor, big)).toBe(true)
    }).pipe(Effect.scoped, Effect.provide(client))
  )
})
