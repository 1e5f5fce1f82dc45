import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"
import { GoServer } from "./GoServer.ts"
import * as PythonServer from "./PythonServer.ts"
import { describeWith, need } from "./peers.ts"
import { run } from "./process.ts"
import { connect, receive, send, stream } from "./rawTensorClient.ts"
import { TorchTool } from "./TorchTool.ts"

const client = Effect.flatMap(GoServer, ({ address }) => connect(address))
const payloadOf = (chunks: ReadonlyArray<TensorChunk>) => Buffer.concat(chunks.map(({ data }) => data))

describeWith(["kputensor", "pytorch"], "the Go tensor server for measurements", () => {
  const world = Layer.merge(GoServer.layerWith({ chunkSize: 1000 }), TorchTool.layer)
  layer(world, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("sends tensors that PyTorch reads", () =>
      Effect.gen(function* () {
        const torch = yield* TorchTool
        for (const shape of [[20, 30], [7], [2, 3, 4, 5], [0, 3]]) {
          const { chunks, code } = yield* receive(yield* client, { count: 1, parameters: { shape: shape.join(",") } })
          assert.strictEqual(code, status.OK)
          const payload = payloadOf(chunks)
          assert.strictEqual(chunks[0]!.metadata["size_bytes"], String(payload.length))
          assert.strictEqual(chunks[0]!.metadata["shape"], `[${shape.join(", ")}]`)
          const file = join(torch.folder, "go.pt")
          writeFileSync(file, payload)
          const [answer] = yield* torch.dump([file])
          if (answer === undefined || "error" in answer) return assert.fail(answer?.error)
          assert.deepStrictEqual(answer.tensors[0]!.shape, shape)
          assert.strictEqual(answer.tensors[0]!.dtype, "float32")
        }
      })
    )

    it.effect("takes tensors and answers with their ids", () =>
      Effect.gen(function* () {
        const channel = yield* client
        const { chunks } = yield* receive(channel, { count: 3, parameters: { shape: "50,50" } })
        const response = yield* send(channel, chunks)
        const ids = [...new Set(chunks.map(({ tensorId }) => tensorId))]
        assert.deepStrictEqual(response, { success: true, message: "Received 3 tensor(s)", receivedTensorIds: ids })
      })
    )

    it.effect("gives each chunk back under the processed id, unchanged otherwise", () =>
      Effect.gen(function* () {
        const channel = yield* client
        const { chunks } = yield* receive(channel, { count: 2, parameters: { shape: "300,300" } })
        const echoed = yield* Effect.callback<ReadonlyArray<TensorChunk>>((resume) => {
          const call = stream(channel)
          const answers: Array<TensorChunk> = []
          call.on("data", (chunk: TensorChunk) => answers.push(chunk))
          call.on("end", () => resume(Effect.succeed(answers)))
          for (const chunk of chunks) call.write(chunk)
          call.end()
        })
        assert.deepStrictEqual(
          echoed,
          chunks.map((chunk) => ({ ...chunk, tensorId: `processed_${chunk.tensorId}` }))
        )
      })
    )

    it.effect("has a client that sends, receives and streams, and PyTorch reads what it sends", () =>
      Effect.gen(function* () {
        const python = yield* PythonServer.make()
        const go = yield* GoServer
        for (const [address, chunkSize] of [
          [python.address, 1 << 20],
          [go.address, 1000]
        ] as const) {
          for (const operation of ["send", "receive", "stream"]) {
            const flags = [`--address=${address}`, `--operation=${operation}`, `--chunk-size=${chunkSize}`]
            const more = ["--tensors=3", "--shape=50,50", "--rounds=2", "--warmup=0"]
            const { stdout } = yield* run(need("kputensor"), ["client", ...flags, ...more])
            const rounds = stdout
              .trim()
              .split("\n")
              .map((line) => JSON.parse(line))
            assert.deepStrictEqual(
              rounds.map(({ bytes, operation, tensors }) => ({ bytes, operation, tensors })),
              Array.from({ length: 2 }, () => ({ bytes: 30_000, operation, tensors: 3 }))
            )
          }
        }
        const seen = python.events().filter((event) => event.event === "received")
        assert.strictEqual(seen.length, 12)
        for (const { dtype, shape } of seen) assert.deepStrictEqual([dtype, shape], ["torch.float32", [50, 50]])
      })
    )
  })
})
