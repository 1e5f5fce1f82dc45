/**
 * Tensor calls against the Python server with grpcio and torch: what PyTorch saved arrives bit-equal, and what is sent
 * from here is the same tensor there.
 */
import { readFileSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { assert, describe, layer, type Vitest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import type { TensorClient } from "../../src/services/TensorClient.ts"
import { Tensor } from "../../src/Tensor.ts"
import * as PythonServer from "../kit/PythonServer.ts"
import { describeWith } from "../kit/peers.ts"
import { losesZeroSigns, matrix, sameNumbers } from "../kit/TensorMatrix.ts"
import * as TorchTool from "../kit/TorchTool.ts"
import { connectTo } from "../kit/tensorClient.ts"

const transports = [["grpc-js", GrpcChannel.layerGrpcJs] as const, ["http2", GrpcChannel.layerHttp2] as const]

type Received = Extract<PythonServer.Event, { readonly event: "received" }>

type Connection = Effect.Success<ReturnType<typeof connectTo>>

/** How a payload is cut: in chunks of its own size, and of a byte more and less. */
const cuts = ["payload", "payload-1", "payload+1"] as const

/** The matrix as files of PyTorch's, in the order of their names, which is that in which the server sends them. */
class Files extends Context.Service<Files>()("effect-kpu/test/Files", {
  make: Effect.gen(function* () {
    const torch = yield* TorchTool.make("pytorch")
    const made = (yield* torch.make(matrix)).filter((one) => "file" in one)
    return { torch, sorted: made.toSorted((x, y) => (x.file < y.file ? -1 : 1)) }
  })
}) {
  static readonly layer = Layer.effect(Files, Files.make)
}

/** What both transports share: each starts with the import of torch. */
const shared = Layer.merge(Files.layer, PythonServer.PythonServer.layer)

describeWith(["pytorch"], "tensors to and from PyTorch", () => {
  layer(shared, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    for (const [name, channel] of transports) {
      describe(`on ${name}`, () => suite(it, name, channel))
    }
  })
})

type Needed = TensorClient | Scope | Layer.Success<typeof shared>

const suite = (
  it: Vitest.MethodsNonLive<Layer.Success<typeof shared>>,
  name: string,
  channel: Layer.Layer<GrpcChannel>
): void => {
  const client = Layer.provide(TensorClientGrpc.layer, channel)
  const live = (title: string, body: () => Effect.Effect<void, unknown, Needed>) =>
    it.effect(title, () => body().pipe(Effect.provide(client)), 180_000)

  live("what PyTorch saved arrives bit-equal, and is the same tensor when it comes back", () =>
    Effect.gen(function* () {
      const { sorted, torch } = yield* Files
      const server = yield* PythonServer.make({ serve: torch.folder })
      const connection = yield* connectTo(server)

      const check = (tensors: ReadonlyArray<Tensor>, title: string) => {
        assert.strictEqual(tensors.length, sorted.length)
        for (const [index, one] of sorted.entries()) {
          const tensor = tensors[index]!
          const told = `${one.name} ${title}`
          assert.strictEqual(tensor.dtype, one.dtype, told)
          assert.deepStrictEqual(tensor.shape, one.shape, told)
          const data = new Uint8Array(readFileSync(one.bytes))
          if (losesZeroSigns(one)) {
            const expected = Tensor.make({ dtype: tensor.dtype, shape: one.shape, data })
            assert.isTrue(sameNumbers(tensor, expected), told)
          } else assert.isTrue(Buffer.from(data.buffer).equals(tensor.data), told)
        }
      }
      const receive = (parameters: Readonly<Record<string, string>>) =>
        Stream.runCollect(connection.receiveTensors({ count: sorted.length, verifyCrc: true, parameters }))
      const received = yield* receive({})
      check(received, "in chunks of 1 MiB")
      for (const cut of cuts) check(yield* receive({ chunk_size: cut }), `in chunks of ${cut}`)

      // The server keeps a file of torch.save for each tensor that comes, in the order in which they come.
      const receipt = yield* connection.sendTensors(received)
      assert.strictEqual(receipt.message, `Received ${sorted.length} tensor(s)`)
      const small = { chunkSize: 65_536 }
      check(yield* Stream.runCollect(connection.streamTensors(Stream.fromIterable(received), small)), "echoed")
      const askingBack = received.map((tensor, index) => ({ tensor, metadata: { chunk_size: cuts[index % 3]! } }))
      check(yield* Stream.runCollect(connection.streamTensors(askingBack)), "echoed in chunks of its own size")

      // Each payload that is as large as a chunk can be, in chunks of its size and a byte beside it.
      const edges: Array<(typeof sorted)[number]> = []
      for (const [index, tensor] of received.entries()) {
        const payload = Tensor.toTorch(tensor).byteLength
        if (payload <= 65_536 || payload >= 3 * 2 ** 20 || !sorted[index]!.name.endsWith("contiguous")) continue
        for (const chunkSize of [payload - 1, payload, payload + 1]) {
          yield* connection.sendTensors([tensor], { chunkSize })
          edges.push(sorted[index]!)
        }
      }

      const there = server.events().filter((event): event is Received => event.event === "received")
      const expected = [...sorted, ...sorted, ...sorted, ...edges]
      assert.strictEqual(there.length, expected.length)
      const compared = yield* torch.equal(there.map((event, index) => [expected[index]!.file, event.file!] as const))
      for (const [index, { bits, why }] of compared.entries()) {
        const one = expected[index]!
        assert.isTrue(bits || losesZeroSigns(one), `${one.name}: ${why}`)
      }
      // The float8 dtypes are not compared by torch.equal itself.
      assert.isAbove(compared.filter(({ equal }) => equal !== null).length, 0)
      const counts = { cases: sorted.length, edges: edges.length }
      console.log(
        `${name}: ${counts.cases} cases received in 4 ways, sent, and echoed in 2; ${counts.edges} sent at a chunk's edge`
      )
      assert.deepStrictEqual(counts, { cases: 1072, edges: 87 })
    })
  )

  live("a shape that is asked for comes as noise of that shape", () =>
    Effect.gen(function* () {
      const connection = yield* connectTo(yield* PythonServer.PythonServer)
      const tensors = yield* Stream.runCollect(connection.receiveTensors({ count: 2, parameters: { shape: "20,20" } }))
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

  live("ids and metadata arrive there, and the answers' come back", () =>
    Effect.gen(function* () {
      const server = yield* PythonServer.make()
      const connection = yield* connectTo(server)
      const tensor = Tensor.randn([3, 4], { seed: 1 })
      const outgoing = { tensor, id: "größe 1", metadata: { layer: "conv1", empty: "", shape: "not this" } }
      const receipt = yield* connection.sendTensors([outgoing, tensor])
      assert.strictEqual(receipt.receivedTensorIds[0], "größe 1")
      assert.match(
        receipt.receivedTensorIds[1]!,
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
      )
      const there = yield* server.event((event) => (event.event === "received" ? event : undefined))
      assert.strictEqual(there.id, "größe 1")
      const described = {
        shape: "[3, 4]",
        dtype: "torch.float32",
        device: "cpu",
        size_bytes: String(Tensor.toTorch(tensor).byteLength)
      }
      assert.deepStrictEqual(there.metadata, { layer: "conv1", empty: "", ...described })
      const [message] = yield* Stream.runCollect(connection.streamTensorMessages([outgoing]))
      assert.strictEqual(message!.id, "processed_größe 1")
      assert.deepEqual(message!.metadata, described)
      assert.isTrue(Tensor.equals(message!.tensor, tensor))
    })
  )

  live("twenty calls at once on one connection stay apart", () =>
    Effect.gen(function* () {
      const connection = yield* connectTo(yield* PythonServer.PythonServer)
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

  live("a call whose deadline passes is cancelled there", () =>
    Effect.gen(function* () {
      const server = yield* PythonServer.make({ save: false })
      const connection = yield* connectTo(server)
      const tensor = Tensor.zeros([5])
      const options = { deadline: "300 millis" } as const
      const calls: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        connection.sendTensors(Stream.concat(Stream.make(tensor), Stream.never), options),
        Stream.runDrain(connection.receiveTensors({ count: 1_000_000, ...options })),
        Stream.runDrain(connection.streamTensors(Stream.concat(Stream.make(tensor), Stream.never), options))
      ]
      for (const [index, call] of calls.entries()) {
        const error = yield* Effect.flip(call)
        assert.deepInclude(error, { _tag: "GrpcError", code: "DEADLINE_EXCEEDED" })
        yield* server.event((event) => (event.event === "cancelled" && event.call === index + 1 ? event : undefined))
      }
    })
  )

  live("a server that is killed in the middle of a tensor is UNAVAILABLE, whichever way it went", () =>
    Effect.gen(function* () {
      const large = Tensor.randn([4096, 4096], { seed: 1 })
      const endless = Stream.forever(Stream.make(large))
      for (const begin of [
        (connection: Connection) => connection.sendTensors(endless),
        (connection: Connection) =>
          Stream.runDrain(connection.receiveTensors({ count: 1_000_000, parameters: { shape: "4096,4096" } })),
        (connection: Connection) => Stream.runDrain(connection.streamTensors(endless))
      ] as ReadonlyArray<(connection: Connection) => Effect.Effect<unknown, unknown>>) {
        const server = yield* PythonServer.make({ save: false })
        const fiber = yield* Effect.forkChild(Effect.flip(begin(yield* connectTo(server))))
        yield* server.event((event) => (event.event === "call" ? event : undefined))
        yield* Effect.sleep("100 millis")
        process.kill(server.pid, "SIGKILL")
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "GrpcError", code: "UNAVAILABLE", isRetryable: true })
      }
    })
  )

  live("a message above the server's limit of 4 MiB is RESOURCE_EXHAUSTED", () =>
    Effect.gen(function* () {
      const connection = yield* connectTo(yield* PythonServer.PythonServer)
      // A stock server's gRPC ends the call.
      const error = yield* Effect.flip(
        connection.sendTensors([{ tensor: Tensor.zeros([5]), id: "x", metadata: { more: "x".repeat(5_000_000) } }])
      )
      assert.strictEqual(error._tag === "GrpcError" ? error.code : error._tag, "RESOURCE_EXHAUSTED")
    })
  )

  live("the largest chunks that are allowed by default are below the server's limit", () =>
    Effect.gen(function* () {
      const connection = yield* connectTo(yield* PythonServer.PythonServer)
      const tensor = Tensor.randn([2000, 1000], { seed: 1 })
      const options = { chunkSize: 3 * 2 ** 20 }
      assert.isTrue((yield* connection.sendTensors([tensor], options)).success)
      const [echoed] = yield* Stream.runCollect(connection.streamTensors([tensor], options))
      assert.isTrue(Tensor.equals(echoed!, tensor))
    })
  )

  live("a tensor that the server fails on is SendRejected, with its words and the ids that it has", () =>
    Effect.gen(function* () {
      const server = yield* PythonServer.make()
      const connection = yield* connectTo(server)
      const sent = (id: string) => ({ tensor: Tensor.zeros([5]), id })
      // It keeps what it receives in a folder, which is gone after the second tensor.
      const removed = server
        .event((event) => (event.event === "received" && event.id === "b" ? event.file : undefined))
        .pipe(Effect.map((file) => rmSync(dirname(file), { recursive: true })))
      const tensors = Stream.make(sent("a"), sent("b")).pipe(
        Stream.concat(Stream.fromEffect(Effect.as(removed, sent("c")))),
        Stream.concat(Stream.make(sent("d")))
      )
      const error = yield* Effect.flip(connection.sendTensors(tensors))
      if (error._tag !== "SendRejected") return assert.fail(error._tag)
      assert.isFalse(error.receipt.success)
      assert.match(error.receipt.message, /^Error: .*No such file or directory/)
      assert.deepStrictEqual([...error.receipt.receivedTensorIds], ["a", "b"])
      assert.deepInclude(error.resource, { namespace: "default", name: "my-compute" })

      const echo = yield* Effect.flip(Stream.runDrain(connection.streamTensors([sent("e")])))
      if (echo._tag !== "GrpcError") return assert.fail(echo._tag)
      assert.strictEqual(echo.code, "INTERNAL")
      assert.match(echo.details, /^Error streaming tensors: .*No such file or directory/)
      const noise = yield* Effect.flip(Stream.runDrain(connection.receiveTensors({ parameters: { shape: "-1" } })))
      if (noise._tag !== "GrpcError") return assert.fail(noise._tag)
      assert.strictEqual(noise.code, "INTERNAL")
      assert.match(noise.details, /^Error sending tensors: /)
    })
  )

  live("calls interrupted at any moment are cancelled there, and leave the connection as it was", () =>
    Effect.gen(function* () {
      const server = yield* PythonServer.make({ save: false })
      const connection = yield* connectTo(server)
      const tensor = Tensor.randn([1024, 1024], { seed: 1 })
      const tensors = Array.from({ length: 50 }, () => tensor)
      const endless = { count: 1_000_000, parameters: { shape: "300,300" } }
      const calls: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        connection.sendTensors(tensors),
        connection.sendTensors(Stream.fromIterable(tensors)),
        Stream.runDrain(connection.receiveTensors(endless)),
        Stream.runDrain(connection.streamTensors(tensors)),
        Stream.runForEach(connection.streamTensors(Stream.fromIterable(tensors)), () => Effect.sleep("1 millis"))
      ]
      for (let round = 0; round < 8; round++) {
        for (const [index, call] of calls.entries()) {
          const fiber = yield* Effect.forkChild(Effect.exit(call))
          // From before the first byte to the middle of the exchange; beside other calls in the last rounds.
          yield* Effect.sleep((round * 7 + index * 3) % 40)
          const interrupting = Fiber.interrupt(fiber)
          if (round < 6) yield* interrupting
          else yield* Effect.forkChild(interrupting)
        }
      }
      const [echoed] = yield* Stream.runCollect(connection.streamTensors([tensor]))
      assert.isTrue(Tensor.equals(echoed!, tensor))
      // A call that was cancelled before it was sent has not come there.
      const outcomes = () => {
        const open = new Map<number, string>()
        let cancelled = 0
        for (const event of server.events()) {
          if (event.event === "call") open.set(event.call, event.method)
          else if (event.event === "ended" || event.event === "cancelled") {
            open.delete(event.call)
            if (event.event === "cancelled") cancelled++
          }
        }
        return { open: [...open.values()], cancelled }
      }
      yield* Effect.suspend(() =>
        outcomes().open.length === 0 ? Effect.void : Effect.fail(new Error(`still open: ${outcomes().open}`))
      ).pipe(Effect.retry({ times: 200, schedule: Schedule.spaced("50 millis") }))
      assert.isAbove(outcomes().cancelled, 20)
    })
  )
}
