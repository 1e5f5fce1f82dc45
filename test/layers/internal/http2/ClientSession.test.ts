/** The HTTP/2 session of the fast transport: against Node's own server in all its moods, and against bytes that are none. */
import * as http2 from "node:http2"
import { createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../../../src/GrpcChannel.ts"
import { frameHeader, goawayFrame, pingFrame, settingsFrame } from "../../../../src/layers/internal/http2/frames.ts"
import { encodeHeaders } from "../../../../src/layers/internal/http2/hpack.ts"
import * as TensorClientGrpc from "../../../../src/layers/TensorClientGrpc.ts"
import { TensorClient } from "../../../../src/services/TensorClient.ts"
import { Tensor } from "../../../../src/Tensor.ts"

const client = Layer.provide(TensorClientGrpc.layer, GrpcChannel.layerHttp2)
const live = (title: string, body: () => Effect.Effect<void, unknown, TensorClient | Scope.Scope>) =>
  it.live(title, () => body().pipe(Effect.scoped, Effect.provide(client)))

const connectTo = (port: number) =>
  Effect.flatMap(TensorClient, (client) =>
    client.connect({
      address: { host: "127.0.0.1", port, hint: "", mayResolveLater: false },
      namespace: "default",
      name: "my-compute"
    })
  )

/** Gives back every message, and the status OK. */
const echo = (stream: http2.ServerHttp2Stream) => {
  stream.on("error", () => {})
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true })
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "fine" }))
  stream.pipe(stream)
}

const listen = (server: {
  readonly listen: (port: number, host: string, done: () => void) => unknown
  readonly address: () => unknown
  readonly close: (done: () => void) => unknown
  readonly on: (event: "connection", f: (socket: Socket) => void) => unknown
}) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly sockets: Set<Socket> }>((resume) => {
      const sockets = new Set<Socket>()
      server.on("connection", (socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ port: (server.address() as { port: number }).port, sockets }))
      )
    }),
    ({ sockets }) =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  )

const serve = (options: http2.ServerOptions, answer: (stream: http2.ServerHttp2Stream) => void = echo) =>
  Effect.suspend(() => {
    const server = http2.createServer(options)
    server.on("stream", answer)
    server.on("sessionError", () => {})
    return Effect.map(listen(server as never), ({ port }) => ({ port, server }))
  })

const tensors = [0, 1, 1000, 100_000, 400_000].map((length, seed) => Tensor.randn([length], { seed }))

const exchange = Effect.fnUntraced(function* (port: number) {
  const connection = yield* connectTo(port)
  const echoed = yield* Stream.runCollect(connection.streamTensors(tensors, { chunkSize: 65_536 }))
  assert.strictEqual(echoed.length, tensors.length)
  for (const [index, tensor] of tensors.entries()) assert.isTrue(Tensor.equals(echoed[index]!, tensor))
})

describe("the HTTP/2 session", () => {
  for (const [title, options] of [
    ["Node's defaults", {}],
    ["windows of 100 bytes", { settings: { initialWindowSize: 100 } }],
    ["frames of 1 MiB", { settings: { maxFrameSize: 2 ** 20, initialWindowSize: 2 ** 24 } }],
    ["all the padding that there can be", { paddingStrategy: http2.constants.PADDING_STRATEGY_MAX }],
    ["no table for headers", { settings: { headerTableSize: 0 } }]
  ] as const) {
    live(`carries tensors there and back with ${title}`, () =>
      Effect.gen(function* () {
        const { port } = yield* serve(options)
        yield* exchange(port)
      })
    )
  }

  live("waits for a place where the server takes few streams at once", () =>
    Effect.gen(function* () {
      let open = 0
      let most = 0
      const { port } = yield* serve({ settings: { maxConcurrentStreams: 2 } }, (stream) => {
        most = Math.max(most, ++open)
        stream.on("close", () => open--)
        echo(stream)
      })
      const connection = yield* connectTo(port)
      const tensor = Tensor.randn([5000], { seed: 1 })
      yield* Effect.forEach(
        Array.from({ length: 20 }),
        () =>
          Effect.map(Stream.runCollect(connection.streamTensors([tensor])), ([echoed]) =>
            assert.isTrue(Tensor.equals(echoed!, tensor))
          ),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(most, 2)
    })
  )

  live("heeds windows that change while it sends", () =>
    Effect.gen(function* () {
      const { port } = yield* serve({ settings: { initialWindowSize: 5000 } }, (stream) => {
        echo(stream)
        let size = 5000
        const timer = setInterval(() => {
          size = size === 5000 ? 300_000 : 5000
          if (!stream.session?.destroyed) stream.session?.settings({ initialWindowSize: size })
        }, 3)
        stream.on("close", () => clearInterval(timer))
      })
      yield* exchange(port)
    })
  )

  live("gives each of many streams its turn", () =>
    Effect.gen(function* () {
      const { port } = yield* serve({ settings: { initialWindowSize: 2 ** 24 } })
      const connection = yield* connectTo(port)
      const large = Tensor.zeros([8_000_000])
      const small = Tensor.zeros([10])
      let done = false
      const long = yield* Effect.forkChild(
        Effect.tap(Stream.runDrain(connection.streamTensors([large, large, large])), () =>
          Effect.sync(() => {
            done = true
          })
        )
      )
      for (let i = 0; i < 5; i++) yield* Stream.runDrain(connection.streamTensors([small]))
      assert.isFalse(done)
      yield* Fiber.join(long)
    })
  )

  live("ends what a leaving server has not looked at, lets the rest end, and dials again", () =>
    Effect.gen(function* () {
      let calls = 0
      const { port } = yield* serve({}, (stream) => {
        calls++
        if (calls === 1) {
          stream.session!.goaway(http2.constants.NGHTTP2_NO_ERROR, stream.id!)
          setTimeout(() => echo(stream), 30)
        } else echo(stream)
      })
      const connection = yield* connectTo(port)
      const tensor = Tensor.randn([50], { seed: 1 })
      const call = Stream.runCollect(connection.streamTensors([tensor]))
      assert.strictEqual((yield* call).length, 1)
      assert.strictEqual((yield* call).length, 1)
      assert.strictEqual(calls, 2)
    })
  )

  live("answers pings", () =>
    Effect.gen(function* () {
      let answered = false
      const { port } = yield* serve({}, (stream) => {
        stream.session!.ping(() => {
          answered = true
        })
        setTimeout(() => echo(stream), 30)
      })
      yield* exchange(port)
      assert.isTrue(answered)
    })
  )
})

/** A server of raw bytes: what it sends when a client is there. */
const raw = (send: (socket: Socket) => void) =>
  listen(
    createServer((socket) => {
      socket.on("error", () => {})
      socket.once("data", () => send(socket))
      socket.resume()
    }) as never
  )

const settings = settingsFrame([])
const headers = encodeHeaders([
  { name: ":status", value: "200" },
  { name: "content-type", value: "application/grpc" }
])
const answer = Buffer.concat([frameHeader(1, 4, 1, headers.byteLength), headers])
const message = Buffer.concat([frameHeader(0, 0, 1, 10), Buffer.from([0, 0, 0, 0, 5, 0x0a, 3, 1, 2, 3])])

describe("the HTTP/2 session with servers that break the protocol", () => {
  const broken: ReadonlyArray<readonly [title: string, bytes: ReadonlyArray<Uint8Array>]> = [
    ["data before headers", [message]],
    ["data on a stream that there is not", [answer, frameHeader(0, 0, 5, 0)]],
    ["headers on an even stream", [frameHeader(1, 4, 2, headers.byteLength), headers]],
    ["a push", [frameHeader(5, 4, 1, 4 + headers.byteLength), Buffer.from([0, 0, 0, 2]), headers]],
    ["a frame that is too large", [frameHeader(0, 0, 1, 2 ** 24 - 1)]],
    ["settings of another size", [frameHeader(4, 0, 0, 5), Buffer.alloc(5)]],
    ["a window of 2 GiB and more", [frameHeader(8, 0, 0, 4), Buffer.from([0x7f, 0xff, 0xff, 0xff])]],
    ["a window update of 0", [frameHeader(8, 0, 0, 4), Buffer.alloc(4)]],
    [
      "a frame within a header block",
      [frameHeader(1, 0, 1, headers.byteLength), headers, pingFrame(Buffer.alloc(8), false)]
    ],
    ["a continuation of nothing", [frameHeader(9, 4, 1, headers.byteLength), headers]],
    [
      "a header block without end",
      [frameHeader(1, 0, 1, headers.byteLength), headers, ...Array.from({ length: 100 }, () => frameHeader(9, 0, 1, 0))]
    ],
    ["headers that are no HPACK", [frameHeader(1, 4, 1, 1), Buffer.from([0x80])]],
    ["padding that is longer than its frame", [answer, frameHeader(0, 8, 1, 2), Buffer.from([9, 0])]],
    ["trailers that do not end the stream", [answer, answer]],
    ["goaway at once", [goawayFrame(0, 11)]],
    ["no settings but bytes", [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")]]
  ]
  for (const [title, bytes] of broken) {
    live(`${title}: UNAVAILABLE, at once`, () =>
      Effect.gen(function* () {
        const first = title.startsWith("no settings") ? [] : [settings]
        const { port } = yield* raw((socket) => {
          socket.write(Buffer.concat(first))
          // The rest answers the first call.
          if (first.length === 0) socket.write(Buffer.concat(bytes))
          else socket.on("data", () => setTimeout(() => socket.writable && socket.write(Buffer.concat(bytes)), 5))
        })
        const error = yield* Effect.flip(
          Effect.flatMap(connectTo(port), (connection) => Stream.runDrain(connection.receiveTensors()))
        )
        assert.strictEqual(error._tag, "GrpcError")
        assert.strictEqual((error as { readonly code?: string }).code, "UNAVAILABLE")
      })
    )
  }

  live("more data than the window is refused", () =>
    Effect.gen(function* () {
      const { port } = yield* raw((socket) => {
        socket.write(settings)
        socket.once("data", () => {
          socket.write(answer)
          const frame = Buffer.concat([frameHeader(0, 0, 1, 500_000), Buffer.alloc(500_000)])
          // A message of 64 MiB that the client does not take, sent regardless of its window.
          socket.write(Buffer.concat([frameHeader(0, 0, 1, 5), Buffer.from([0, 4, 0, 0, 0])]))
          for (let i = 0; i < 20; i++) socket.write(frame)
        })
      })
      const connection = yield* connectTo(port)
      const error = yield* Effect.flip(Stream.runDrain(connection.receiveTensors({ deadline: "20 seconds" })))
      assert.include(["UNAVAILABLE", "INTERNAL", "TensorDecodeError"], "code" in error ? error.code : error._tag)
    })
  )

  live("a thousand streams of mutated bytes end in typed errors, and leave no socket", () =>
    Effect.gen(function* () {
      const trailers = encodeHeaders([{ name: "grpc-status", value: "0" }])
      const good = Buffer.concat([
        settings,
        answer,
        message,
        pingFrame(Buffer.alloc(8), false),
        frameHeader(8, 0, 0, 4),
        Buffer.from([0, 0, 1, 0]),
        frameHeader(1, 5, 1, trailers.byteLength),
        trailers
      ])
      let state = 7
      const next = (below: number) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return Math.floor((state / 2 ** 32) * below)
      }
      const { port, sockets } = yield* raw((socket) => {
        const bytes = Buffer.from(good)
        for (let i = 0; i <= next(3); i++) bytes[next(bytes.byteLength)] = next(256)
        const at = next(bytes.byteLength)
        socket.write(bytes.subarray(0, at))
        socket.end(bytes.subarray(at))
      })
      for (let i = 0; i < 1000; i++) {
        const error = yield* Effect.flip(
          Effect.scoped(Effect.flatMap(connectTo(port), (connection) => Stream.runDrain(connection.receiveTensors())))
        )
        assert.include(["GrpcError", "TensorDecodeError", "TensorLimitError"], error._tag)
      }
      yield* Effect.suspend(() =>
        [...sockets].every((socket) => socket.destroyed) ? Effect.void : Effect.fail(new Error("sockets are left"))
      ).pipe(Effect.retry({ times: 100, schedule: Schedule.spaced("20 millis") }))
    })
  )
})
