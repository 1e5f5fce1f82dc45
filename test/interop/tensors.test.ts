/**
 * Tensor calls against the Python server with grpcio and torch: what PyTorch saved arrives bit-equal, and what is sent
 * from here is the same tensor there.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import { dtypes } from "../../src/schema/DType.ts"
import { TensorClient } from "../../src/services/TensorClient.ts"
import { Tensor } from "../../src/Tensor.ts"
import * as PythonServer from "../kit/PythonServer.ts"
import { describeWith } from "../kit/peers.ts"
import * as TorchTool from "../kit/TorchTool.ts"

const transports = [["grpc-js", GrpcChannel.layerGrpcJs] as const, ["http2", GrpcChannel.layerHttp2] as const]

const connectTo = (server: PythonServer.Shape) =>
  Effect.flatMap(TensorClient, (client) =>
    client.connect({
      address: { host: server.host, port: server.port, hint: "", mayResolveLater: false },
      namespace: "default",
      name: "my-compute"
    })
  )

/** Every dtype, in each layout that it has, small and of several chunks. */
const cases: ReadonlyArray<TorchTool.Case> = dtypes.flatMap((dtype) => {
  const layouts: ReadonlyArray<Omit<TorchTool.Case, "name" | "dtype">> = [
    { shape: [] },
    { shape: [0, 3] },
    { shape: [2, 3, 4], layout: "transposed" },
    { shape: [4, 2], layout: "slice" },
    { shape: [2, 5], layout: "step" },
    { shape: [3, 2], layout: "expanded" },
    { shape: [1, 2, 1, 3, 1, 2, 1, 2] },
    { shape: [700, 500] },
    ...(dtype.startsWith("complex") && dtype !== "complex32"
      ? [{ shape: [4, 3], layout: "conj" } as const, { shape: [4, 3], layout: "neg" } as const]
      : [])
  ]
  return layouts.map((layout, index) => ({ ...layout, dtype, name: `${dtype}-${index}`, seed: index }))
})

describeWith(["pytorch"], "tensors to and from PyTorch", () => {
  describe.each(transports)("on %s", (_name, channel) => {
    const client = Layer.provide(TensorClientGrpc.layer, channel)
    const live = (title: string, body: () => Effect.Effect<void, unknown, TensorClient | Scope>) =>
      it.live(title, () => body().pipe(Effect.scoped, Effect.provide(client)), 180_000)

    live("what PyTorch saved arrives bit-equal, and is the same tensor when it comes back", () =>
      Effect.gen(function* () {
        const torch = yield* TorchTool.make("pytorch")
        const made = (yield* torch.make(cases)).filter((one) => "file" in one)
        assert.isAbove(made.length, cases.length * 0.9)
        // The server sends the files in the order of their names.
        const sorted = made.toSorted((x, y) => (x.file < y.file ? -1 : 1))
        const server = yield* PythonServer.make({ serve: join(torch.folder) })
        const connection = yield* connectTo(server)

        const received = yield* Stream.runCollect(connection.receiveTensors({ count: sorted.length, verifyCrc: true }))
        const check = (tensors: ReadonlyArray<Tensor>) => {
          assert.strictEqual(tensors.length, sorted.length)
          for (const [index, one] of sorted.entries()) {
            const tensor = tensors[index]!
            assert.strictEqual(tensor.dtype, one.dtype, one.name)
            assert.deepStrictEqual(tensor.shape, one.shape, one.name)
            assert.isTrue(readFileSync(one.bytes).equals(tensor.data), one.name)
          }
        }
        check(received)

        // A file of torch.save for each tensor that came, in the order in which they came.
        const before = server.events().filter(({ event }) => event === "received").length
        const receipt = yield* connection.sendTensors(received)
        assert.strictEqual(receipt.message, `Received ${sorted.length} tensor(s)`)
        check(yield* Stream.runCollect(connection.streamTensors(Stream.fromIterable(received), { chunkSize: 65_536 })))
        const there = server
          .events()
          .filter((event) => event.event === "received")
          .slice(before)
        assert.strictEqual(there.length, 2 * sorted.length)
        const compared = yield* torch.equal(
          there.map((event, index) => [sorted[index % sorted.length]!.file, event.file!] as const)
        )
        for (const [index, { bits, why }] of compared.entries()) {
          assert.isTrue(bits, `${sorted[index % sorted.length]!.name}: ${why}`)
        }
        // The float8 dtypes are not compared by torch.equal itself.
        assert.isAbove(compared.filter(({ equal }) => equal !== null).length, 0)
      })
    )

    live("a shape that is asked for comes as noise of that shape", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* PythonServer.make())
        const tensors = yield* Stream.runCollect(
          connection.receiveTensors({ count: 2, parameters: { shape: "20,20" } })
        )
        assert.deepStrictEqual(
          tensors.map(({ dtype, shape }) => [dtype, shape]),
          [
            ["float32", [20, 20]],
            ["float32", [20, 20]]
          ]
        )
        const [plain] = yield* Stream.runCollect(connection.receiveTensors())
        assert.deepStrictEqual(plain!.shape, [10, 10])
      })
    )

    live("twenty calls at once on one connection stay apart", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* PythonServer.make())
        yield* Effect.forEach(
          Array.from({ length: 20 }, (_, seed) => seed),
          (seed) =>
            Effect.gen(function* () {
              const tensors = [1, 2, 3].map((part) => Tensor.randn([300, 400], { seed: 10 * seed + part }))
              const echoed = yield* Stream.runCollect(connection.streamTensors(tensors))
              assert.strictEqual(echoed.length, 3)
              for (const [index, tensor] of tensors.entries()) assert.isTrue(Tensor.equals(echoed[index]!, tensor))
            }),
          { concurrency: "unbounded", discard: true }
        )
      })
    )

    live("an interrupted call is cancelled there", () =>
      Effect.gen(function* () {
        const server = yield* PythonServer.make()
        const connection = yield* connectTo(server)
        const calls = {
          ReceiveTensors: connection.sendTensors(Stream.concat(Stream.make(Tensor.zeros([5])), Stream.never)),
          SendTensors: connection
            .receiveTensors({ count: 1_000_000, parameters: { shape: "500,500" }, budgetBytes: 1 })
            .pipe(Stream.runForEach(() => Effect.never)),
          StreamTensors: connection
            .streamTensors(Stream.concat(Stream.make(Tensor.zeros([5])), Stream.never))
            .pipe(Stream.runDrain)
        } satisfies Record<string, Effect.Effect<unknown, unknown>>
        for (const [method, call] of Object.entries(calls)) {
          const fiber = yield* Effect.forkChild(call as Effect.Effect<unknown, unknown>)
          yield* server.event((event) => (event.event === "call" && event.method === method ? event : undefined))
          yield* Fiber.interrupt(fiber)
          yield* server.event((event) => (event.event === "cancelled" && event.method === method ? event : undefined))
        }
      })
    )

    live("bytes that the server cannot load are refused with its words, and the ids that it has", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* PythonServer.make())
        // Too large a message for a stock server: 4 MiB. The server's gRPC ends the call.
        const error = yield* Effect.flip(
          connection.sendTensors([{ tensor: Tensor.zeros([5]), id: "x", metadata: { more: "x".repeat(5_000_000) } }])
        )
        assert.strictEqual(error._tag === "GrpcError" ? error.code : error._tag, "RESOURCE_EXHAUSTED")
      })
    )
  })
})
