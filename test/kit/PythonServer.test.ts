import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"
import { PythonServer } from "./PythonServer.ts"
import { describeWith } from "./peers.ts"
import { connect, receive, send, stream } from "./rawTensorClient.ts"

const client = Effect.flatMap(PythonServer, ({ address }) => connect(address))

describeWith(["pytorch"], "the Python tensor server for tests", () => {
  layer(PythonServer.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("sends noise of the shape asked for", () =>
      Effect.gen(function* () {
        const { chunks, code } = yield* receive(yield* client, { count: 2, parameters: { shape: "20,20" } })
        assert.strictEqual(code, status.OK)
        assert.strictEqual(chunks.length, 2)
        const { data, metadata, totalChunks } = chunks[0]!
        assert.deepStrictEqual(metadata, {
          shape: "[20, 20]",
          dtype: "torch.float32",
          device: "cpu",
          size_bytes: String(data.length)
        })
        assert.strictEqual(totalChunks, 1)
      })
    )

    it.effect("fails with INTERNAL where torch does", () =>
      Effect.gen(function* () {
        const { code, details } = yield* receive(yield* client, { count: 0, parameters: { shape: "-1" } })
        assert.strictEqual(code, status.INTERNAL)
        assert.match(details, /^Error sending tensors: /)
      })
    )

    it.effect("keeps what it receives, in any order of chunks, and answers with the ids", () =>
      Effect.gen(function* () {
        const server = yield* PythonServer
        const channel = yield* client
        const { chunks } = yield* receive(channel, { count: 0, parameters: {} })
        const payload = Buffer.from(chunks[0]!.data)
        const size = Math.ceil(payload.length / 3)
        const pieces = [2, 0, 1].map((number) => ({
          metadata: {},
          isLast: number === 2,
          tensorId: "some-tensor",
          chunkNumber: number,
          totalChunks: 3,
          data: payload.subarray(number * size, (number + 1) * size)
        }))
        const response = yield* send(channel, pieces)
        assert.deepStrictEqual(response, {
          success: true,
          message: "Received 1 tensor(s)",
          receivedTensorIds: ["some-tensor"]
        })
        const received = yield* server.event((event) =>
          event.event === "received" && event.id === "some-tensor" ? event : undefined
        )
        assert.deepStrictEqual(received.shape, [10, 10])
        assert.isTrue(payload.equals(readFileSync(received.payload!)))
      })
    )

    it.effect("tells an error while receiving in-band", () =>
      Effect.gen(function* () {
        const data = Buffer.from("no tensor")
        const response = yield* send(yield* client, [
          { tensorId: "x", chunkNumber: 0, totalChunks: 1, isLast: true, metadata: {}, data }
        ])
        assert.isFalse(response.success)
        assert.match(response.message, /^Error: /)
      })
    )

    it.effect("echoes while it reads, and notices a cancelled call", () =>
      Effect.gen(function* () {
        const server = yield* PythonServer
        const channel = yield* client
        const { chunks } = yield* receive(channel, { count: 0, parameters: {} })
        const call = stream(channel)
        call.on("error", () => {})
        const echoed = yield* Effect.promise(
          () =>
            new Promise<TensorChunk>((done) => {
              call.once("data", done)
              call.write({ ...chunks[0]!, tensorId: "mine" })
            })
        )
        assert.strictEqual(echoed.tensorId, "processed_mine")
        call.cancel()
        yield* server.event((event) =>
          event.event === "cancelled" && event.method === "StreamTensors" ? event : undefined
        )
      })
    )
  })
})
