/**
 * What holds for the tensor calls on every transport: against a server that keeps to the wire contract, and against
 * servers that break it on purpose.
 */
import { createServer as createHttp1 } from "node:http"
import * as http2 from "node:http2"
import { createServer as createTcp, type Server, type Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import { dtypeInfo, dtypes } from "../../src/schema/DType.ts"
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"
import { type GrpcError, grpcCodes, type KpuError } from "../../src/schema/KpuError.ts"
import {
  type ScopedTensor,
  type SendOptions,
  TensorClient,
  type TensorMessage
} from "../../src/services/TensorClient.ts"
import { Tensor } from "../../src/Tensor.ts"
import { makeAuthority } from "../kit/certificates.ts"
import { freePorts } from "../kit/process.ts"
import * as TcpProxy from "../kit/TcpProxy.ts"
import * as TensorServer from "../kit/TensorServer.ts"

const transports = [["grpc-js", GrpcChannel.layerGrpcJsWith] as const, ["http2", GrpcChannel.layerHttp2With] as const]

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
/** Some 40 chunks of 64 KiB. */
const large = Tensor.randn([800, 800], { seed: 3 })
const mebibyte = 2 ** 20

/** The chunks of `large`, to be sent in ways that no server should. */
const chunks = (id = "large"): Array<TensorChunk> => TensorServer.messages(large, id, 65_536)

const same = (actual: Tensor | undefined, expected: Tensor) =>
  expect(actual !== undefined && Tensor.equals(actual, expected)).toBe(true)

/** A server of raw sockets, streams or HTTP, gone with the scope. */
const listen = (server: Server) =>
  Effect.acquireRelease(
    Effect.callback<{ host: string; port: number }>((resume) => {
      const sockets = new Set<Socket>()
      server.prependListener("connection", (socket: Socket) => sockets.add(socket))
      Object.assign(server, { sockets })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ host: "127.0.0.1", port: (server.address() as { port: number }).port }))
      )
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const socket of (server as unknown as { sockets: Set<Socket> }).sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  )

/** An HTTP/2 server that answers every stream with this. */
const listenHttp2 = (answer: (stream: http2.ServerHttp2Stream) => void) => {
  const server = http2.createServer()
  server.on("stream", (stream) => {
    stream.on("error", () => {})
    answer(stream)
  })
  server.on("sessionError", () => {})
  return listen(server as unknown as Server)
}

const endless = function* (tensor: Tensor, produced: { count: number; closed: boolean }): Generator<Tensor> {
  try {
    while (true) {
      produced.count++
      yield tensor
    }
  } finally {
    produced.closed = true
  }
}

/** Short waits: what is waited for comes by itself. */
const pause = Schedule.spaced("20 millis")

/** Waits until a number has not changed for a while. */
const quiet = (value: () => number) =>
  Effect.gen(function* () {
    let last = -1
    let same = 0
    while (same < 15) {
      yield* Effect.sleep("20 millis")
      same = value() === last && last > 0 ? same + 1 : 0
      last = value()
    }
  })

describe.each(transports)("tensor calls on %s", (name, channel) => {
  const client = Layer.provide(TensorClientGrpc.layer, channel())
  const live = (title: string, body: () => Effect.Effect<unknown, unknown, TensorClient | Scope.Scope>) =>
    it.live(title, () => body().pipe(Effect.scoped, Effect.provide(client)))

  /** What a receiving call makes of these messages: the ids that came whole, and the error. */
  const receiving = (
    send: Iterable<TensorChunk> | TensorServer.Send,
    request?: Parameters<typeof run>[0]
  ): Effect.Effect<
    { readonly ids: ReadonlyArray<string>; readonly messages: ReadonlyArray<TensorMessage>; readonly error: KpuError },
    unknown,
    TensorClient | Scope.Scope
  > =>
    Effect.gen(function* () {
      const server = yield* TensorServer.serve({
        send: typeof send === "function" ? send : TensorServer.sendingMessages(send)
      })
      const connection = yield* connectTo(server)
      const messages: Array<TensorMessage> = []
      const error = yield* Effect.flip(
        Stream.runForEach(connection.receiveTensorMessages(request), (message) =>
          Effect.sync(() => messages.push(message))
        )
      )
      return { ids: messages.map(({ id }) => id), messages, error }
    })
  type Connection = Effect.Success<ReturnType<typeof connectTo>>
  const run = (request?: Parameters<Connection["receiveTensors"]>[0]) => request

  describe("with a server that keeps to the contract", () => {
    live("sends tensors, and gives the server's receipt", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve()
        const connection = yield* connectTo(server)
        const receipt = yield* connection.sendTensors([a, { tensor: b, id: "b" }])
        expect(receipt.success).toBe(true)
        expect(receipt.message).toBe("Received 2 tensor(s)")
        expect(receipt.receivedTensorIds).toHaveLength(2)
        expect(receipt.receivedTensorIds[1]).toBe("b")
        expect(receipt.receivedTensorIds[0]).toMatch(
          /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
        )
      })
    )

    live("sends no tensors at all, if there are none", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        expect((yield* connection.sendTensors([])).message).toBe("Received 0 tensor(s)")
        expect((yield* connection.sendTensors(Stream.empty)).message).toBe("Received 0 tensor(s)")
        expect(yield* Stream.runCollect(connection.streamTensors([]))).toEqual([])
      })
    )

    live("receives as many tensors as are asked for, bit for bit and in order", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: TensorServer.sending([a, b, large], 65_536) })
        const connection = yield* connectTo(server)
        const tensors = yield* Stream.runCollect(connection.receiveTensors({ count: 4 }))
        expect(tensors).toHaveLength(4)
        same(tensors[0], a)
        same(tensors[1], b)
        same(tensors[2], large)
        same(tensors[3], a)
      })
    )

    live("asks for one tensor when no count is given, and passes parameters on", () =>
      Effect.gen(function* () {
        const requests: Array<unknown> = []
        const server = yield* TensorServer.serve({
          send: (call) => {
            requests.push(call.request)
            TensorServer.sending([a])(call)
          }
        })
        const connection = yield* connectTo(server)
        expect(yield* Stream.runCollect(connection.receiveTensors())).toHaveLength(1)
        expect(
          yield* Stream.runCollect(connection.receiveTensors({ count: 2, parameters: { shape: "20,20", größe: "" } }))
        ).toHaveLength(2)
        expect(requests).toEqual([
          { count: 1, parameters: {} },
          { count: 2, parameters: { shape: "20,20", größe: "" } }
        ])
      })
    )

    live("carries every dtype, empty tensors and scalars both ways", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        const tensors = dtypes.flatMap((dtype) => [
          Tensor.make({ dtype, shape: [3, 5], data: new Uint8Array(15 * dtypeInfo(dtype).itemsize).fill(1) }),
          Tensor.zeros([], { dtype }),
          Tensor.zeros([0, 3], { dtype })
        ])
        const echoed = yield* Stream.runCollect(connection.streamTensors(tensors))
        expect(echoed).toHaveLength(tensors.length)
        for (const [index, tensor] of tensors.entries()) same(echoed[index], tensor)
      })
    )

    live("keeps ids and metadata beside the tensors", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        const [message] = yield* Stream.runCollect(
          connection.streamTensorMessages([{ tensor: a, id: "größe", metadata: { layer: "conv1", shape: "lie" } }])
        )
        expect(message!.id).toBe("processed_größe")
        expect(message!.metadata).toMatchObject({ layer: "conv1", shape: "[100, 100]", dtype: "torch.float32" })
        // The longest id that can be sent comes back longer.
        const id = "x".repeat(256)
        const [long] = yield* Stream.runCollect(connection.streamTensorMessages([{ tensor: a, id }]))
        expect(long!.id).toBe(`processed_${id}`)
      })
    )

    live("cuts tensors into chunks of the size asked for", () =>
      Effect.gen(function* () {
        const sizes: Array<number> = []
        const server = yield* TensorServer.serve({
          receive: (call, answer) => {
            call.on("data", (chunk: TensorChunk) => sizes.push(chunk.data.byteLength))
            call.on("end", () => answer(null, { success: true, message: "", receivedTensorIds: [] }))
          }
        })
        const connection = yield* connectTo(server)
        yield* connection.sendTensors([large], { chunkSize: 100_000 })
        expect(sizes.slice(0, -1).every((size) => size === 100_000)).toBe(true)
        expect(sizes).toHaveLength(26)
      })
    )

    live("says on every call which Compute it is for", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: TensorServer.sending([a]) })
        const connection = yield* connectTo(server)
        yield* connection.sendTensors([a])
        yield* Stream.runDrain(connection.receiveTensors())
        yield* Stream.runDrain(connection.streamTensors([a]))
        const calls = server.happened.filter(({ what }) => what === "call")
        expect(calls.map(({ method }) => method)).toEqual(["ReceiveTensors", "SendTensors", "StreamTensors"])
        expect(calls.every(({ computeId }) => computeId === "team-a/my-compute")).toBe(true)
      })
    )

    live("reads while it writes, however much is on its way", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        const tensor = Tensor.randn([1024, 1024], { seed: 4 })
        const count = yield* connection.streamTensors(Array.from({ length: 24 }, () => tensor)).pipe(
          Stream.tap((echoed) => Effect.sync(() => same(echoed, tensor))),
          Stream.runCount
        )
        expect(count).toBe(24)
      })
    )

    live("gives tensors whose memory is used again: right while their scope is open, empty after it", () =>
      Effect.gen(function* () {
        const other = Tensor.randn([900, 800], { seed: 6 })
        const server = yield* TensorServer.serve({ send: TensorServer.sending([large, b, other], 65_536) })
        const connection = yield* connectTo(server)
        const ended: Array<Tensor> = []
        const use = (scoped: ScopedTensor) =>
          Effect.scoped(
            Effect.gen(function* () {
              const tensor = yield* scoped
              same(tensor, [large, b, other][ended.length % 3]!)
              ended.push(tensor)
            })
          )
        yield* Stream.runForEach(connection.receiveTensorsScoped({ count: 9 }), (scoped) =>
          Effect.andThen(
            use(scoped),
            Effect.sync(() => {
              for (const tensor of ended) {
                expect(tensor.data.byteLength).toBe(0)
                expect(() => new Uint8Array(tensor.data.buffer)).toThrow(TypeError)
              }
            })
          )
        )
        expect(ended).toHaveLength(9)

        // Two at a time, and one whose scope has closed already.
        const echoed = yield* Stream.runCollect(connection.streamTensorsScoped([large, other]))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const [first, second] = [yield* echoed[0]!, yield* echoed[1]!]
            same(first, large)
            same(second, other)
          })
        )
        const exit = yield* Effect.exit(Effect.scoped(echoed[0]!))
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
      })
    )

    live("keeps concurrent calls on one connection apart", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        yield* Effect.forEach(
          Array.from({ length: 100 }, (_, seed) => seed),
          (seed) =>
            Effect.gen(function* () {
              const tensor = Tensor.randn([64, 65], { seed })
              const echoed = yield* Stream.runCollect(connection.streamTensors([tensor, tensor]))
              expect(echoed).toHaveLength(2)
              for (const each of echoed) same(each, tensor)
            }),
          { concurrency: "unbounded", discard: true }
        )
      })
    )

    // node:http2, beneath grpc-js, serves calls that send at once one after the other.
    if (name === "http2") {
      live("lets calls that send at once take turns on their connection", () =>
        Effect.gen(function* () {
          const tensor = Tensor.zeros([mebibyte], { dtype: "uint8" })
          const each = 16
          const sent = new Array<number>(20).fill(0)
          // How far all calls had come when the first was through.
          let then: ReadonlyArray<number> | undefined
          const counted = function* (call: number) {
            for (let index = 0; index < each; index++) {
              if (++sent[call]! === each) then ??= [...sent]
              yield tensor
            }
          }
          const connection = yield* connectTo(yield* TensorServer.serve())
          yield* Effect.forEach(sent, (_, call) => connection.sendTensors(counted(call)), {
            concurrency: "unbounded",
            discard: true
          })
          expect(sent).toEqual(sent.map(() => each))
          expect(Math.min(...then!)).toBeGreaterThanOrEqual(each / 2)
        })
      )
    }

    for (const secure of [false, true]) {
      it.live(`keeps connections that receive at once apart, ${secure ? "over TLS" : "in plain text"}`, () =>
        Effect.gen(function* () {
          const authority = makeAuthority("test authority")
          const pair = authority.issue({ commonName: "tensors", ipAddresses: ["127.0.0.1"], usage: "server" })
          const server = yield* TensorServer.serve(
            {},
            secure
              ? {
                  credentials: grpc.ServerCredentials.createSsl(null, [
                    { cert_chain: Buffer.from(pair.cert), private_key: Buffer.from(pair.key) }
                  ])
                }
              : {}
          )
          const options = secure ? { tls: { ca: authority.cert } } : {}
          yield* Effect.forEach(
            Array.from({ length: 8 }, (_, seed) => seed),
            (seed) =>
              Effect.gen(function* () {
                const tensor = Tensor.randn([700, 701], { seed })
                const connection = yield* connectTo(server)
                const echoed = yield* Stream.runCollect(connection.streamTensors([tensor, tensor]))
                expect(echoed).toHaveLength(2)
                for (const each of echoed) same(each, tensor)
              }),
            { concurrency: "unbounded", discard: true }
          ).pipe(Effect.provide(Layer.provide(TensorClientGrpc.layer, channel(options))))
        }).pipe(Effect.scoped)
      )
    }

    live("holds little memory for a connection that is idle", () =>
      Effect.gen(function* () {
        const server = yield* listenHttp2(() => {})
        const connections = 200
        const before = process.memoryUsage().arrayBuffers
        yield* Effect.forEach(Array.from({ length: connections }), () => connectTo(server), { concurrency: 20 })
        expect((process.memoryUsage().arrayBuffers - before) / connections).toBeLessThan(32 * 1024)
      })
    )

    live("dials again when the server has come back", () =>
      Effect.gen(function* () {
        const [port] = yield* freePorts(1)
        const first = yield* Scope.make()
        const server = yield* TensorServer.serve({}, { port }).pipe(Scope.provide(first))
        const connection = yield* connectTo(server)
        yield* connection.sendTensors([a])
        yield* Scope.close(first, Exit.void)
        const error = yield* Effect.flip(connection.sendTensors([a]))
        expect(error).toMatchObject({ _tag: "GrpcError", code: "UNAVAILABLE" })
        yield* TensorServer.serve({}, { port })
        const receipt = yield* Effect.retry(connection.sendTensors([a]), { times: 200, schedule: pause })
        expect(receipt.success).toBe(true)
      })
    )
  })

  describe("backpressure", () => {
    live("pulls a producer only as the wire takes more", () =>
      Effect.gen(function* () {
        const produced = { count: 0, closed: false }
        const server = yield* TensorServer.serve({ receive: (call) => call.pause() })
        const connection = yield* connectTo(server)
        const tensor = Tensor.zeros([mebibyte], { dtype: "uint8" })
        const fiber = yield* Effect.forkChild(connection.sendTensors(endless(tensor, produced)))
        yield* server.waitFor("call")
        yield* quiet(() => produced.count)
        // The server's window of 16 MiB, the sockets' buffers, and one on its way.
        expect(produced.count).toBeLessThan(48)
        yield* Fiber.interrupt(fiber)
        expect(produced.closed).toBe(true)
        yield* server.waitFor("cancelled")
      })
    )

    live("pulls a stream only as the wire takes more", () =>
      Effect.gen(function* () {
        let count = 0
        const server = yield* TensorServer.serve({ receive: (call) => call.pause() })
        const connection = yield* connectTo(server)
        const tensor = Tensor.zeros([mebibyte], { dtype: "uint8" })
        const tensors = Stream.fromEffectRepeat(
          Effect.sync(() => {
            count++
            return tensor
          })
        )
        const fiber = yield* Effect.forkChild(connection.sendTensors(tensors))
        yield* server.waitFor("call")
        yield* quiet(() => count)
        expect(count).toBeLessThan(48)
        yield* Fiber.interrupt(fiber)
        yield* server.waitFor("cancelled")
      })
    )

    live("slows the server down to a slow consumer, within the budget", () =>
      Effect.gen(function* () {
        let sent = 0
        const message = TensorServer.messages(Tensor.zeros([mebibyte], { dtype: "uint8" }), "", 3 * mebibyte)[0]!
        const server = yield* TensorServer.serve({
          send: async (call) => {
            const put = TensorServer.write(call)
            while (!call.cancelled) {
              await put({ ...message, tensorId: `tensor-${sent++}` })
            }
            call.end()
          }
        })
        const connection = yield* connectTo(server)
        const release = yield* Deferred.make<void>()
        let received = 0
        const fiber = yield* Effect.forkChild(
          connection.receiveTensors({ budgetBytes: 8 * mebibyte }).pipe(
            Stream.rechunk(1),
            Stream.tap(() => Effect.sync(() => received++).pipe(Effect.andThen(Deferred.await(release)))),
            Stream.take(100),
            Stream.runDrain
          )
        )
        yield* quiet(() => sent)
        // Budget, our window of 16 MiB, and what the server's library and the sockets hold.
        expect(sent).toBeLessThan(64)
        expect(received).toBe(1)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(fiber)
        expect(received).toBe(100)
        yield* server.waitFor("cancelled")
      })
    )
  })

  describe("the end of a call", () => {
    live("cancels on the server when receiving is interrupted", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: (call) => void call.write(chunks()[0]!) })
        const connection = yield* connectTo(server)
        const fiber = yield* Effect.forkChild(Stream.runDrain(connection.receiveTensors()))
        yield* server.waitFor("call")
        yield* Fiber.interrupt(fiber)
        yield* server.waitFor("cancelled")
      })
    )

    live("cancels on the server what is interrupted as soon as it has begun", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: () => {}, receive: () => {}, stream: () => {} })
        const connection = yield* connectTo(server)
        const calls: ReadonlyArray<() => Effect.Effect<unknown, unknown>> = [
          () => connection.sendTensors([large]),
          () => connection.sendTensors(Stream.make(large)),
          () => Stream.runDrain(connection.receiveTensors()),
          () => Stream.runDrain(connection.streamTensors([large])),
          () => Stream.runDrain(connection.streamTensors(Stream.make(large)))
        ]
        for (const call of calls) {
          for (const steps of [0, 1, 2, 5, 20]) {
            const fiber = yield* Effect.forkChild(call(), { startImmediately: true })
            for (let step = 0; step < steps; step++) yield* Effect.promise(() => Promise.resolve())
            yield* Fiber.interrupt(fiber)
          }
        }
        // The server may not hear of a call at all.
        yield* Effect.sleep("200 millis")
        const count = (what: string) => server.happened.filter((each) => each.what === what).length
        yield* Effect.suspend(() =>
          count("call") === count("cancelled")
            ? Effect.void
            : Effect.fail(new Error(`${count("cancelled")} of ${count("call")} calls were cancelled`))
        ).pipe(Effect.retry({ times: 100, schedule: pause }))
      })
    )

    live("cancels on the server when the consumer has had enough", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: TensorServer.sending([large], 65_536) })
        const connection = yield* connectTo(server)
        const tensors = yield* Stream.runCollect(
          connection.receiveTensors({ count: 1000, budgetBytes: 1 }).pipe(Stream.take(2))
        )
        expect(tensors).toHaveLength(2)
        yield* server.waitFor("cancelled")
      })
    )

    live("passes an error of the user's own stream through as it is", () =>
      Effect.gen(function* () {
        class Mine {
          readonly _tag = "Mine"
        }
        const mine = new Mine()
        const failing = (count: number) =>
          Stream.concat(
            Stream.make(a),
            Stream.fromEffect(Effect.andThen(server.waitFor("call", count), Effect.fail(mine)))
          )
        const server = yield* TensorServer.serve({ receive: () => {}, stream: () => {} })
        const connection = yield* connectTo(server)
        expect(yield* Effect.flip(connection.sendTensors(failing(1)))).toBe(mine)
        yield* server.waitFor("cancelled")
        expect(yield* Effect.flip(Stream.runDrain(connection.streamTensors(failing(2))))).toBe(mine)
        yield* server.waitFor("cancelled", 2)
      })
    )

    live("lets what a user's iterable throws be a defect, and ends the call", () =>
      Effect.gen(function* () {
        const mine = new Error("mine")
        const tensors = (function* () {
          yield a
          throw mine
        })()
        const server = yield* TensorServer.serve({ receive: () => {} })
        const connection = yield* connectTo(server)
        const exit = yield* Effect.exit(connection.sendTensors(tensors))
        expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBe(mine)
        // The server has heard of the call, or not.
        yield* Effect.sleep("50 millis")
        expect(server.happened.filter(({ what }) => what === "call")).toHaveLength(
          server.happened.filter(({ what }) => what === "cancelled").length
        )
      })
    )

    live("stops sending when the server answers before the end", () =>
      Effect.gen(function* () {
        const produced = { count: 0, closed: false }
        let interrupted = false
        const server = yield* TensorServer.serve({
          receive: (call, answer) => {
            call.once("data", () => answer(null, { success: true, message: "enough", receivedTensorIds: ["x"] }))
          }
        })
        const connection = yield* connectTo(server)
        const receipt = yield* connection.sendTensors(endless(large, produced))
        expect(receipt.message).toBe("enough")
        expect(produced.closed).toBe(true)
        const again = yield* connection.sendTensors(
          Stream.make(a).pipe(
            Stream.concat(Stream.never),
            Stream.onExit((exit) =>
              Effect.sync(() => {
                interrupted = Exit.hasInterrupts(exit)
              })
            )
          )
        )
        expect(again.message).toBe("enough")
        expect(interrupted).toBe(true)
      })
    )

    live("ends a stream that the server ends, though more could be sent", () =>
      Effect.gen(function* () {
        const produced = { count: 0, closed: false }
        const server = yield* TensorServer.serve({ stream: (call) => void call.once("data", () => call.end()) })
        const connection = yield* connectTo(server)
        expect(yield* Stream.runCollect(connection.streamTensors(endless(large, produced)))).toEqual([])
        expect(produced.closed).toBe(true)
      })
    )

    live("fails with the receipt when the server answers success=false", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({
          receive: (call, answer) => {
            call.resume()
            call.on("end", () => answer(null, { success: false, message: "Error: no room", receivedTensorIds: ["x"] }))
          }
        })
        const connection = yield* connectTo(server)
        const error = yield* Effect.flip(connection.sendTensors([a]))
        expect(error).toMatchObject({
          _tag: "SendRejected",
          receipt: { success: false, message: "Error: no room", receivedTensorIds: ["x"] },
          resource: { namespace: "team-a", name: "my-compute" }
        })
      })
    )

    live("tells each gRPC status by its name, with the server's words", () =>
      Effect.gen(function* () {
        let code = 0
        const fail = (call: { emit: (event: string, error: unknown) => boolean }) =>
          call.emit("error", { code, details: `words of ${code}: größer` })
        const server = yield* TensorServer.serve({
          receive: (_call, answer) => answer({ code, details: `words of ${code}: größer` }),
          send: (call) => {
            call.write(chunks()[0]!)
            fail(call)
          },
          stream: (call) => void call.once("data", () => fail(call))
        })
        const connection = yield* connectTo(server)
        for (code = 1; code < grpcCodes.length; code++) {
          const errors = [
            yield* Effect.flip(connection.sendTensors([a])),
            yield* Effect.flip(Stream.runDrain(connection.receiveTensors())),
            yield* Effect.flip(Stream.runDrain(connection.streamTensors([a])))
          ]
          for (const error of errors) {
            expect(error).toMatchObject({
              _tag: "GrpcError",
              code: grpcCodes[code],
              details: `words of ${code}: größer`,
              address: `127.0.0.1:${server.port}`,
              resource: { namespace: "team-a", name: "my-compute" }
            })
          }
          expect(errors.map((error) => (error as GrpcError).method)).toEqual([
            "kpu.torch.Service/ReceiveTensors",
            "kpu.torch.Service/SendTensors",
            "kpu.torch.Service/StreamTensors"
          ])
        }
      })
    )

    live("gives the tensors that came whole before the failure", () =>
      Effect.gen(function* () {
        const { error, ids } = yield* receiving(async (call) => {
          const put = TensorServer.write(call)
          for (const chunk of [...chunks("first"), ...chunks("second").slice(0, 5)]) await put(chunk)
          call.emit("error", { code: 13, details: "Error sending tensors: no more" })
        })
        expect(ids).toEqual(["first"])
        expect(error).toMatchObject({ _tag: "GrpcError", code: "INTERNAL", details: "Error sending tensors: no more" })
      })
    )

    live("fails with UNAVAILABLE when the server dies", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: (call) => void call.write(chunks()[0]!) })
        const proxy = yield* TcpProxy.make(server)
        const connection = yield* connectTo(proxy)
        const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(connection.receiveTensors())))
        yield* server.waitFor("call")
        yield* proxy.cut
        expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "GrpcError", code: "UNAVAILABLE" })
      })
    )

    live("fails with DEADLINE_EXCEEDED when the server stalls, and cancels", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: () => {}, receive: () => {}, stream: () => {} })
        const connection = yield* connectTo(server)
        const deadline = "100 millis"
        const errors = [
          yield* Effect.flip(connection.sendTensors([a], { deadline })),
          yield* Effect.flip(Stream.runDrain(connection.receiveTensors({ deadline }))),
          yield* Effect.flip(Stream.runDrain(connection.streamTensors(Stream.never, { deadline })))
        ]
        for (const error of errors) expect(error).toMatchObject({ _tag: "GrpcError", code: "DEADLINE_EXCEEDED" })
        yield* server.waitFor("cancelled", 3)
      })
    )

    live("cancels calls in flight when the connection's scope closes, and refuses new ones", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: () => {}, receive: () => {}, stream: () => {} })
        const scope = yield* Scope.make()
        const connection = yield* connectTo(server).pipe(Scope.provide(scope))
        const fibers = yield* Effect.forEach(
          [
            connection.sendTensors(Stream.never),
            Stream.runDrain(connection.receiveTensors()),
            Stream.runDrain(connection.streamTensors(Stream.never))
          ] as ReadonlyArray<Effect.Effect<unknown, unknown>>,
          (call) => Effect.forkChild(Effect.flip(call))
        )
        yield* server.waitFor("call", 3)
        yield* Scope.close(scope, Exit.void)
        const closed = { _tag: "GrpcError", code: "CANCELLED", details: "the connection was closed" }
        for (const fiber of fibers) expect(yield* Fiber.join(fiber)).toMatchObject(closed)
        yield* server.waitFor("cancelled", 3)
        expect(yield* Effect.flip(connection.sendTensors([a]))).toMatchObject(closed)
      })
    )

    live("leaves no socket and no timer behind", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: TensorServer.sending([large], 65_536), receive: () => {} })
        const resources = () =>
          process
            .getActiveResourcesInfo()
            .filter((name) => /TCP|TLS|Timeout|Immediate|HTTP2/i.test(name))
            .sort()
        const use = Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* connectTo(server)
            yield* Stream.runDrain(connection.streamTensors([a, b], { deadline: "1 hour" }))
            yield* Stream.runDrain(connection.receiveTensors({ count: 50, deadline: "1 hour" }).pipe(Stream.take(1)))
            const fiber = yield* Effect.forkChild(connection.sendTensors([large], { deadline: "1 hour" }))
            yield* server.waitFor("call")
            yield* Fiber.interrupt(fiber)
          })
        )
        yield* use
        yield* Effect.sleep("50 millis")
        const before = resources()
        for (let i = 0; i < 5; i++) yield* use
        // The server closes its side when it sees ours closed.
        yield* Effect.suspend(() => {
          const now = resources()
          return now.length <= before.length
            ? Effect.void
            : Effect.fail(new Error(`left behind: ${now}, not ${before}`))
        }).pipe(Effect.retry({ times: 100, schedule: pause }))
      })
    )
  })

  describe("servers that break the contract", () => {
    live("chunks interleaved and out of order are put together", () =>
      Effect.gen(function* () {
        const [x, y] = [chunks("x"), chunks("y").reverse()]
        const server = yield* TensorServer.serve({
          send: TensorServer.sendingMessages(x.flatMap((chunk, index) => [chunk, y[index]!]))
        })
        const connection = yield* connectTo(server)
        const messages = yield* Stream.runCollect(connection.receiveTensorMessages({ count: 2 }))
        expect(messages.map(({ id }) => id).sort()).toEqual(["x", "y"])
        for (const { tensor } of messages) same(tensor, large)
      })
    )

    const broken: ReadonlyArray<
      readonly [title: string, send: () => Iterable<TensorChunk>, expected: RegExp, request?: Parameters<typeof run>[0]]
    > = [
      [
        "a chunk that comes twice",
        () => [chunks()[0]!, chunks()[1]!, chunks()[1]!],
        /chunk 1 of tensor "large": came twice/
      ],
      [
        "a stream that ends within a tensor",
        () => chunks("lost").slice(0, -1),
        /tensor "lost": the stream ended with 39 of its 40 chunks here/
      ],
      [
        "a gap in a tensor",
        () => chunks("lost").filter(({ chunkNumber }) => chunkNumber !== 3),
        /tensor "lost": the stream ended with 39 of its 40 chunks here/
      ],
      [
        "a total that changes",
        () => chunks().map((chunk) => (chunk.chunkNumber < 2 ? chunk : { ...chunk, totalChunks: 7 })),
        /chunk 2 of tensor "large": says that there are 7 chunks; others said 40/
      ],
      ["a total of 0", () => chunks().map((chunk) => ({ ...chunk, totalChunks: 0 })), /chunk 0 .*there are 0 chunks/],
      [
        "a huge total",
        () => chunks().map((chunk) => ({ ...chunk, totalChunks: 2 ** 32 - 1 })),
        /says that 2561\d+ bytes are in 4294967295 chunks/
      ],
      [
        "more data than size_bytes",
        () => chunks().map((chunk) => ({ ...chunk, metadata: { ...chunk.metadata, size_bytes: "200000" } })),
        /size_bytes is 200000/
      ],
      [
        "less data than size_bytes",
        () => chunks().map((chunk) => ({ ...chunk, metadata: { ...chunk.metadata, size_bytes: "2621440" } })),
        /chunk 39 of tensor "large": makes 2561\d+ bytes .*; size_bytes is 2621440/
      ],
      [
        "no metadata",
        () => chunks().map((chunk) => ({ ...chunk, metadata: {} })),
        /has no size_bytes in the metadata of chunk 0/
      ],
      [
        "metadata that is no number",
        () => chunks().map((chunk) => ({ ...chunk, metadata: { size_bytes: "1e9" } })),
        /has size_bytes "1e9"/
      ],
      [
        "a payload that is no file of torch.save",
        () => chunks().map((chunk) => ({ ...chunk, data: chunk.data.map(() => 7) })),
        /tensor "large": the first bytes: are not those of a torch\.save file/
      ],
      [
        "a shape that the payload has not",
        () => chunks().map((chunk) => ({ ...chunk, metadata: { ...chunk.metadata, shape: "[1, 2]" } })),
        /tensor "large": has shape \[800, 800\]; its metadata says "\[1, 2\]"/
      ],
      ["a chunk without an id", () => chunks(""), /has an id of 0 characters/],
      ["an id without end", () => chunks("x".repeat(1025)), /has an id of 1025 characters/],
      [
        "a chunk without data",
        () => [{ ...chunks()[0]!, data: new Uint8Array() }],
        /chunk 0 of tensor "large": has no data/
      ],
      [
        "a tensor above the limit",
        () => chunks(),
        /^maxTensorBytes: tensor "large" has 2561\d+ bytes or more; the limit is 100000/,
        { maxTensorBytes: 100_000 }
      ],
      [
        "an endless tensor",
        function* () {
          const [, chunk] = chunks()
          for (let chunkNumber = 1; ; chunkNumber++) yield { ...chunk!, chunkNumber, totalChunks: 4_000_000 }
        },
        /^maxTensorBytes: tensor "large" has \d+ bytes or more; the limit is 5000000/,
        { maxTensorBytes: 5_000_000 }
      ],
      [
        "more open tensors than allowed",
        () => [1, 2, 3, 4].flatMap((id) => chunks(`tensor-${id}`).slice(0, 1)),
        /^maxOpenTensors: tensor "tensor-4" began while 3 others are not whole/,
        { maxOpenTensors: 3 }
      ],
      [
        "tensors without end that are never whole",
        function* () {
          const [chunk] = chunks()
          for (let id = 0; ; id++) yield { ...chunk!, tensorId: `tensor-${id}` }
        },
        /^maxOpenTensors: tensor "tensor-64" began while 64 others are not whole/
      ],
      [
        "metadata without end",
        () => [{ ...chunks()[0]!, metadata: { size_bytes: "1", more: "x".repeat(200_000) } }],
        /^maxMetadataBytes: a chunk's id and metadata take more than 131072 bytes/
      ]
    ]
    /** All else has to be found out while the call goes on. */
    const foundAtTheEnd = new Set(["a stream that ends within a tensor", "a gap in a tensor"])
    for (const [title, send, expected, request] of broken) {
      live(`${title}: a typed error with the Compute in it, and the call is cancelled`, () =>
        Effect.gen(function* () {
          const ends = foundAtTheEnd.has(title)
          const server = yield* TensorServer.serve({
            send: async (call) => {
              const put = TensorServer.write(call)
              for (const chunk of send()) {
                if (call.cancelled) return
                await put(chunk)
              }
              if (ends) call.end()
            }
          })
          const connection = yield* connectTo(server)
          const came: Array<Tensor> = []
          const error = yield* Effect.flip(
            Stream.runForEach(connection.receiveTensors({ count: 1, ...request }), (tensor) =>
              Effect.sync(() => came.push(tensor))
            )
          )
          expect(error._tag).toBe(/^\^max/.test(expected.source) ? "TensorLimitError" : "TensorDecodeError")
          expect(error.message).toMatch(expected)
          expect(error).toMatchObject({ resource: { kind: "Compute", namespace: "team-a", name: "my-compute" } })
          expect(came).toEqual([])
          if (!ends) yield* server.waitFor("cancelled")
        })
      )
    }

    it.live("a message above the limit is RESOURCE_EXHAUSTED", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: TensorServer.sendingMessages(chunks()) })
        const connection = yield* connectTo(server)
        const error = yield* Effect.flip(Stream.runDrain(connection.receiveTensors()))
        expect(error).toMatchObject({ _tag: "GrpcError", code: "RESOURCE_EXHAUSTED" })
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.provide(TensorClientGrpc.layer, channel({ maxReceiveMessageBytes: 50_000 })))
      )
    )

    live("a checksum that is wrong is found where it is asked for", () =>
      Effect.gen(function* () {
        const flipped = () =>
          chunks().map((chunk) =>
            chunk.chunkNumber === 5
              ? { ...chunk, data: chunk.data.map((byte, at) => (at === 9 ? byte ^ 1 : byte)) }
              : chunk
          )
        const server = yield* TensorServer.serve({ send: TensorServer.sendingMessages(flipped()) })
        const connection = yield* connectTo(server)
        expect(yield* Stream.runCollect(connection.receiveTensors())).toHaveLength(1)
        const error = yield* Effect.flip(Stream.runDrain(connection.receiveTensors({ verifyCrc: true })))
        expect(error).toMatchObject({ _tag: "TensorDecodeError" })
      })
    )

    const foreign: ReadonlyArray<
      readonly [title: string, answer: (stream: http2.ServerHttp2Stream) => void, code: string]
    > = [
      ["HTTP 503 from a proxy", (stream) => stream.respond({ ":status": 503 }, { endStream: true }), "UNAVAILABLE"],
      ["HTTP 404 from a proxy", (stream) => stream.respond({ ":status": 404 }, { endStream: true }), "UNIMPLEMENTED"],
      [
        "HTTP 403 from a proxy",
        (stream) => stream.respond({ ":status": 403 }, { endStream: true }),
        "PERMISSION_DENIED"
      ],
      [
        "a status in the headers alone",
        (stream) =>
          stream.respond(
            { ":status": 200, "content-type": "application/grpc", "grpc-status": "8", "grpc-message": "full%20up" },
            { endStream: true }
          ),
        "RESOURCE_EXHAUSTED"
      ],
      ["a stream that is refused", (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM), "UNAVAILABLE"],
      [
        "a stream that is reset after headers",
        (stream) => {
          stream.respond({ ":status": 200, "content-type": "application/grpc" })
          stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
        },
        "INTERNAL"
      ],
      [
        "a protobuf message that is none",
        (stream) => {
          stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true })
          stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
          stream.end(Buffer.from([0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]))
        },
        "TensorDecodeError"
      ]
    ]
    for (const [title, answer, code] of foreign) {
      live(`${title}: ${code}`, () =>
        Effect.gen(function* () {
          const connection = yield* connectTo(yield* listenHttp2(answer))
          const error = yield* Effect.flip(Stream.runDrain(connection.receiveTensors()))
          expect(error._tag === "GrpcError" ? error.code : error._tag).toBe(code)
        })
      )
    }
  })

  describe("connecting", () => {
    const failure = (server: { host: string; port: number }) => Effect.flip(connectTo(server))

    live("says so when nothing listens", () =>
      Effect.gen(function* () {
        const [port] = yield* freePorts(1)
        const error = yield* failure({ host: "127.0.0.1", port: port! })
        expect(error).toMatchObject({
          code: "UNAVAILABLE",
          errno: "ECONNREFUSED",
          method: "connect",
          isRetryable: true
        })
        expect(error.details).toContain("nothing listens at 127.0.0.1:")
        expect(error.details).toContain("Look at the server.")
      })
    )

    live("says so when the name does not resolve", () =>
      Effect.gen(function* () {
        const error = yield* failure({ host: "my-compute.invalid", port: 50051 })
        // Where no name server answers at all, that is what is said.
        expect(["ENOTFOUND", "EAI_AGAIN"]).toContain(error.errno)
        expect(error.details).toContain("my-compute.invalid")
        expect(error.details).toContain("resolve")
      })
    )

    live("fails when what listens does not speak HTTP/2", () =>
      Effect.gen(function* () {
        const http1 = yield* listen(createHttp1((_, response) => response.end("hello")))
        expect((yield* failure(http1)).code).toBe("UNAVAILABLE")
        const hangup = yield* listen(createTcp((socket) => socket.on("error", () => {}).end()))
        expect((yield* failure(hangup)).code).toBe("UNAVAILABLE")
      })
    )

    it.live("fails when no session comes up in time", () =>
      Effect.gen(function* () {
        const silent = yield* listen(createTcp((socket) => socket.on("error", () => {}).resume()))
        const error = yield* failure(silent)
        expect(error).toMatchObject({ code: "UNAVAILABLE", errno: "ETIMEDOUT" })
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.provide(TensorClientGrpc.layer, channel({ connectTimeout: "200 millis" })))
      )
    )

    live("can be interrupted", () =>
      Effect.gen(function* () {
        const connected = yield* Deferred.make<void>()
        const silent = yield* listen(
          createTcp((socket) => {
            Effect.runSync(Deferred.succeed(connected, undefined))
            socket.on("error", () => {}).resume()
          })
        )
        const fiber = yield* Effect.forkChild(Effect.scoped(connectTo(silent)))
        yield* Deferred.await(connected)
        yield* Fiber.interrupt(fiber)
      })
    )

    it.live("speaks TLS both ways authenticated, and sends the token", () =>
      Effect.gen(function* () {
        const authority = makeAuthority("test authority")
        const server = authority.issue({ commonName: "tensors", dnsNames: ["tensors.test"], usage: "server" })
        const user = authority.issue({ commonName: "user", usage: "client" })
        const running = yield* TensorServer.serve(
          {},
          {
            credentials: grpc.ServerCredentials.createSsl(
              Buffer.from(authority.cert),
              [{ cert_chain: Buffer.from(server.cert), private_key: Buffer.from(server.key) }],
              true
            )
          }
        )
        const tls = {
          ca: authority.cert,
          cert: user.cert,
          key: Redacted.make(user.key),
          serverName: "tensors.test"
        }
        const using = (options: Parameters<typeof channel>[0]) =>
          Effect.provide(Layer.provide(TensorClientGrpc.layer, channel(options)))
        const receipt = yield* Effect.gen(function* () {
          const connection = yield* connectTo(running)
          return yield* connection.sendTensors([a])
        }).pipe(Effect.scoped, using({ tls, token: Redacted.make("secret-token") }))
        expect(receipt.success).toBe(true)
        expect(running.happened[0]!.authorization).toBe("Bearer secret-token")
        for (const wrong of [
          { ...tls, ca: makeAuthority("another authority").cert },
          { ...tls, serverName: "elsewhere.test" },
          false
        ]) {
          const error = yield* failure(running).pipe(Effect.scoped, using({ tls: wrong, connectTimeout: "5 seconds" }))
          expect(error.code).toBe("UNAVAILABLE")
        }
      }).pipe(Effect.scoped)
    )

    for (const [field, options] of [
      ["keepalive", { keepalive: "4 minutes" }],
      ["maxSendMessageBytes", { maxSendMessageBytes: 10 }],
      ["receiveWindowBytes", { receiveWindowBytes: -1 }],
      ["connectTimeout", { connectTimeout: "never" as any }],
      ["token", { token: Redacted.make("in plain text") }],
      ["token", { tls: true, token: Redacted.make("two\nlines") }],
      ["tls", { tls: { cert: "alone" } }]
    ] as const) {
      it.live(`refuses a bad ${field}: ${Object.keys(options)}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(Effect.scoped(Layer.build(channel(options))))
          expect(error).toMatchObject({ _tag: "InvalidInput", field })
        })
      )
    }
  })

  describe("input that breaks a rule", () => {
    const about = { kind: "Compute", namespace: "team-a", name: "my-compute" }
    const refused = (field: string, call: (connection: Connection) => Effect.Effect<unknown, unknown>) =>
      live(`${field} is named, and nothing is sent`, () =>
        Effect.gen(function* () {
          const server = yield* TensorServer.serve()
          const connection = yield* connectTo(server)
          const error = yield* Effect.flip(call(connection))
          expect(error).toMatchObject({ _tag: "InvalidInput", field, resource: about })
          expect(server.happened).toEqual([])
        })
      )
    const wrong = (value: unknown) => value as any
    const request = (options: unknown) => (connection: Connection) =>
      Stream.runDrain(connection.receiveTensors(wrong(options)))
    const send = (options: unknown) => (connection: Connection) => connection.sendTensors([a], options as SendOptions)

    live("a count of 0 is refused, and told why: it would bring one tensor", () =>
      Effect.gen(function* () {
        const server = yield* TensorServer.serve({ send: TensorServer.sending([a]) })
        const connection = yield* connectTo(server)
        for (const receive of [
          connection.receiveTensors,
          connection.receiveTensorMessages,
          connection.receiveTensorsScoped
        ]) {
          const error = yield* Effect.flip(Stream.runDrain<unknown, unknown, never>(receive({ count: 0 })))
          expect(error).toMatchObject({
            _tag: "InvalidInput",
            message: "count: is 0, which servers take for 1; to receive nothing, do not call",
            resource: about
          })
        }
        expect(server.happened).toEqual([])
      })
    )

    refused("count", request({ count: -0 }))
    refused("count", request({ count: Number.NaN }))
    refused("count", request({ count: Number.POSITIVE_INFINITY }))
    refused("count", request({ count: 2n }))
    refused("count", request({ count: null }))
    refused("count", request({ count: -1 }))
    refused("count", request({ count: 1.5 }))
    refused("count", request({ count: "2" }))
    refused("count", request({ count: 2 ** 32 }))
    refused("parameters", request({ parameters: "20,20" }))
    refused("parameters.shape", request({ parameters: { shape: [20, 20] } }))
    refused("deadline", request({ deadline: "soon" }))
    refused("deadline", send({ deadline: -5 }))
    refused("deadline", send({ deadline: Number.NaN }))
    refused("options", request(null))
    refused("options", send("fast"))
    refused("maxTensorBytes", request({ maxTensorBytes: 0 }))
    refused("maxOpenTensors", request({ maxOpenTensors: Number.NaN }))
    refused("budgetBytes", request({ budgetBytes: -1 }))
    refused("verifyCrc", request({ verifyCrc: "yes" }))
    refused("chunkSize", send({ chunkSize: 65_535 }))
    refused("chunkSize", send({ chunkSize: 3 * mebibyte + 1 }))
    refused("chunkSize", send({ chunkSize: 100_000.5 }))
    refused("chunkSize", send({ chunkSize: Number.NaN }))
    refused("chunkSize", send({ chunkSize: "1 MiB" }))
    refused("chunkSize", (connection) => Stream.runDrain(connection.streamTensors([a], { chunkSize: 0 })))
    refused("tensors", (connection) => connection.sendTensors(wrong(a)))
    refused("tensors", (connection) => connection.sendTensors(wrong("ab")))

    for (const [field, tensors] of [
      ["tensors[0]", ["not a tensor"]],
      ["tensors[1]", [a, { data: [1, 2] }]],
      ["tensors[0].id", [{ tensor: a, id: "" }]],
      ["tensors[1].id", [a, { tensor: a, id: 7 }]],
      ["tensors[0].id", [{ tensor: a, id: "x".repeat(257) }]],
      ["tensors[0].id", [{ tensor: a, id: "half \ud83d" }]],
      ["tensors[0]", [null]],
      ["tensors[0]", [{ tensor: { dtype: "float32", shape: [1], data: new Uint8Array(4) } }]],
      ["tensors[0].metadata", [{ tensor: a, metadata: "conv1" }]],
      ["tensors[0].metadata", [{ tensor: a, metadata: null }]],
      ["tensors[0].metadata.layer", [{ tensor: a, metadata: { layer: 1 } }]]
    ] as const) {
      live(`${field} is named, and the call ends`, () =>
        Effect.gen(function* () {
          const server = yield* TensorServer.serve()
          const connection = yield* connectTo(server)
          const expected = { _tag: "InvalidInput", field, resource: about }
          expect(yield* Effect.flip(connection.sendTensors(wrong(tensors)))).toMatchObject(expected)
          expect(yield* Effect.flip(connection.sendTensors(Stream.fromIterable<any>(tensors)))).toMatchObject(expected)
          expect(yield* Effect.flip(Stream.runDrain(connection.streamTensors(wrong(tensors))))).toMatchObject(expected)
          const stream = Stream.runDrain(connection.streamTensors(Stream.fromIterable<any>(tensors)))
          expect(yield* Effect.flip(stream)).toMatchObject(expected)
        })
      )
    }

    live("an InvalidInput of the user's own, from Tensor.make or a stream, passes through as it is", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        let thrown: unknown
        const making = function* () {
          yield a
          try {
            yield Tensor.make({ dtype: "float32", shape: [2], data: new Uint8Array(4) })
          } catch (error) {
            thrown = error
            throw error
          }
        }
        expect(yield* Effect.flip(connection.sendTensors(making()))).toBe(thrown)
        expect(yield* Effect.flip(Stream.runDrain(connection.streamTensors(making())))).toBe(thrown)
        const mine = yield* Effect.flip(Tensor.makeEffect({ dtype: "int8", shape: [2], data: new Uint8Array(4) }))
        expect(yield* Effect.flip(connection.sendTensors(Stream.fail(mine)))).toBe(mine)
        expect(yield* Effect.flip(Stream.runDrain(connection.streamTensors(Stream.fail(mine))))).toBe(mine)
      })
    )

    it.live("larger chunks are sent to a server that takes them", () =>
      Effect.gen(function* () {
        const connection = yield* connectTo(yield* TensorServer.serve())
        const tensor = Tensor.randn([1500, 1500], { seed: 5 })
        const [echoed] = yield* Stream.runCollect(connection.streamTensors([tensor], { chunkSize: 7 * mebibyte }))
        same(echoed, tensor)
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.provide(TensorClientGrpc.layer, channel({ maxSendMessageBytes: 8 * mebibyte })))
      )
    )
  })
})
