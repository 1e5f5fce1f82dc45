/**
 * Memory of long exchanges and of calls that are broken off. The long form, against a server that is faster than the
 * consumer by far: npm run bench:memory.
 */
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"
import { Tensor } from "../../src/Tensor.ts"
import { tensorPickle, tensorRecords, wholePickle, zip } from "../kit/Archive.ts"
import { root } from "../kit/peers.ts"
import { run } from "../kit/process.ts"
import * as TensorServer from "../kit/TensorServer.ts"
import { connectTo } from "../kit/tensorClient.ts"

const MiB = 2 ** 20

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

/** Memory of buffers, after the collector has run: what is let go of in one run can be freed in the next. */
const buffers = Effect.gen(function* () {
  for (let round = 0; round < 3; round++) {
    collect()
    yield* Effect.sleep("10 millis")
  }
  return process.memoryUsage().arrayBuffers
})

describe.each([["http2", GrpcChannel.layerHttp2] as const, ["grpc-js", GrpcChannel.layerGrpcJs] as const])(
  "memory on %s",
  (name, channel) => {
    const client = Layer.provide(TensorClientGrpc.layer, channel)

    it.live(
      "stays within 250 MB above the start while a quarter of a GiB goes there and back, past a slow consumer",
      () =>
        Effect.gen(function* () {
          const server = yield* TensorServer.serve()
          for (const tensorMiB of [1, 16]) {
            const { stdout } = yield* run(process.execPath, [
              "--conditions=effect-kpu-source",
              join(root, "bench/memory/exchange.ts"),
              name,
              String(server.port),
              String(tensorMiB),
              "256",
              "1"
            ])
            const { peakBytes, received, startBytes } = JSON.parse(stdout)
            console.log(
              `${name}, tensors of ${tensorMiB} MiB: ${Math.round((peakBytes - startBytes) / 1e6)} MB above the start`
            )
            assert.strictEqual(received, 256 * MiB)
            assert.isBelow(peakBytes - startBytes, 250e6)
          }
        }).pipe(Effect.scoped),
      120_000
    )

    it.live("is given back by calls that are interrupted within a tensor, and so are their listeners", () =>
      Effect.gen(function* () {
        const [first, ...rest] = TensorServer.messages(Tensor.zeros([16 * MiB], { dtype: "uint8" }), "a", MiB)
        const begin = (call: { write: (chunk: TensorChunk) => unknown }) => {
          call.write(first!)
          call.write(rest[0]!)
        }
        const server = yield* TensorServer.serve({ send: begin, stream: begin })
        const connection = yield* connectTo(server)
        const warnings: Array<string> = []
        const warn = (warning: Error) => void warnings.push(String(warning))
        process.on("warning", warn)
        yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", warn)))
        let calls = 0
        const interrupted = Effect.gen(function* () {
          const fibers = yield* Effect.forEach(
            [connection.receiveTensors(), connection.receiveTensorsScoped(), connection.streamTensors(Stream.never)],
            (stream) => Effect.forkChild(Stream.runDrain<unknown, unknown, never>(stream))
          )
          calls += fibers.length
          yield* server.waitFor("call", calls)
          // Until its payload is allocated.
          yield* Effect.sleep("20 millis")
          yield* Fiber.interruptAll(fibers)
        })
        for (let round = 0; round < 3; round++) yield* interrupted
        const before = yield* buffers
        for (let round = 0; round < 12; round++) yield* interrupted
        yield* server.waitFor("cancelled", calls)
        const after = yield* buffers
        // One tensor kept of the 36 would be 16 MiB.
        assert.isBelow(after - before, 12 * MiB)
        assert.deepStrictEqual(warnings, [])
      }).pipe(Effect.scoped, Effect.provide(client))
    )

    it.live("holds one at a time of many small payloads that are large tensors when their strides are resolved", () =>
      Effect.gen(function* () {
        const size = 32 * MiB
        const pickled = wholePickle(tensorPickle({ storage: "ByteStorage", numel: 1, shape: [size], strides: [0] }))
        const data = zip(tensorRecords(pickled, Uint8Array.of(7)))
        const chunks = Array.from({ length: 100 }, (_, index) => ({
          tensorId: `tensor-${index}`,
          chunkNumber: 0,
          totalChunks: 1,
          isLast: true,
          metadata: { size_bytes: String(data.byteLength) },
          data
        }))
        const server = yield* TensorServer.serve({ send: TensorServer.sendingMessages(chunks) })
        const connection = yield* connectTo(server)
        const before = yield* buffers
        let most = 0
        let count = 0
        yield* Stream.runForEach(connection.receiveTensors({ count: 100 }), (tensor) =>
          Effect.gen(function* () {
            assert.strictEqual(tensor.data.byteLength, size)
            assert.strictEqual(tensor.data[size - 1], 7)
            if (count++ % 20 === 0) most = Math.max(most, (yield* buffers) - before)
          })
        )
        assert.strictEqual(count, 100)
        assert.isBelow(most, 3 * size)
      }).pipe(Effect.scoped, Effect.provide(client))
    )
  }
)
