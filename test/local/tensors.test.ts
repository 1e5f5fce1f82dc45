/** The embedded tensor servers and their gateway, called with plain grpc-js. */

import { connect } from "node:http2"
import { assert, describe, it } from "@effect/vitest"
import { type Client, Metadata, type ServiceError, status } from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { type ClusterOptions, type ClusterShape, start } from "../../src/local/Cluster.ts"
import { TensorChunk, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"
import { randn } from "../../src/schema/TensorRandom.ts"
import { chunkTensor, toMessage } from "../../src/torch/Chunker.ts"
import * as ApiClient from "../kit/ApiClient.ts"
import * as raw from "../kit/rawTensorClient.ts"

const computes = "/apis/compute.kpu.dev/v1alpha1/namespaces/default/computes"

const apply = (cluster: ClusterShape, name: string, spec: object = { image: "i" }) =>
  Effect.gen(function* () {
    const client = yield* ApiClient.make(cluster)
    yield* client.request("PATCH", `${computes}/${name}?fieldManager=test&force=true`, {
      body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name }, spec },
      contentType: "application/apply-patch+yaml"
    })
    return client
  })

/** Waits until a condition of a Compute is true. */
const until = (client: ApiClient.ApiClient, name: string, type: string) =>
  client.watch(`${computes}?watch=1&fieldSelector=metadata.name%3D${name}`).pipe(
    Stream.filter(({ object }) =>
      (object.status?.conditions ?? []).some((one: any) => one.type === type && one.status === "True")
    ),
    Stream.runHead
  )

/** A cluster with a Compute that is ready, and a client at its server. */
const running = (options: ClusterOptions = {}) =>
  Effect.gen(function* () {
    const cluster = yield* start({ startDelay: 0, ...options })
    const api = yield* apply(cluster, "a")
    yield* until(api, "a", "Ready")
    const { host, port } = cluster.resolve("default", "a")!
    return { cluster, api, client: yield* raw.connect(`${host}:${port}`) }
  })

const chunks = (shape: ReadonlyArray<number>, id: string, chunkSize?: number): Array<TensorChunk> =>
  [...chunkTensor(randn(shape, { seed: 7 }), { id, chunkSize })].map(toMessage)

/** Streams chunks through a server and gives what came back, or how it failed. */
const echo = (client: Client, sent: ReadonlyArray<TensorChunk>, metadata = new Metadata()) =>
  Effect.callback<ReadonlyArray<TensorChunk>, ServiceError>((resume) => {
    const call = client.makeBidiStreamRequest(
      "/kpu.torch.Service/StreamTensors",
      (message: TensorChunk) => Buffer.from(TensorChunk.encode(message).finish()),
      TensorChunk.decode,
      metadata
    )
    const received: Array<TensorChunk> = []
    call.on("data", (chunk: TensorChunk) => received.push(chunk))
    call.on("error", (error: ServiceError) => resume(Effect.fail(error)))
    call.on("end", () => resume(Effect.succeed(received)))
    for (const chunk of sent) call.write(chunk)
    call.end()
    return Effect.sync(() => call.cancel())
  })

const to = (id: string) => {
  const metadata = new Metadata()
  metadata.set("compute-id", id)
  return metadata
}

describe("a tensor server of the embedded cluster", () => {
  it.live("echoes every chunk under processed_ and the id, as it was", () =>
    Effect.gen(function* () {
      const { client } = yield* running()
      const sent = [...chunks([100, 100], "one", 1000), ...chunks([0, 3], "two")]
      const received = yield* echo(client, sent)
      assert.deepStrictEqual(
        received.map((chunk) => ({ ...chunk, data: Buffer.from(chunk.data) })),
        sent.map((chunk) => ({ ...chunk, tensorId: `processed_${chunk.tensorId}`, data: Buffer.from(chunk.data) }))
      )
    })
  )

  it.live("stops reading from a client that does not read, and loses nothing when it does", () =>
    Effect.gen(function* () {
      const { cluster } = yield* running()
      // On bare HTTP/2: grpc-js reads ahead without bound.
      for (const address of [cluster.resolve("default", "a")!.port, Number(cluster.gatewayAddress.split(":")[1])]) {
        const session = yield* Effect.acquireRelease(
          Effect.sync(() => connect(`http://127.0.0.1:${address}`, { maxSessionMemory: 1024 })),
          (session) => Effect.sync(() => session.destroy())
        )
        const call = session.request({
          ":path": "/kpu.torch.Service/StreamTensors",
          ":method": "POST",
          "content-type": "application/grpc",
          te: "trailers",
          "compute-id": "default/a"
        })
        const message = Buffer.from(TensorChunk.encode(chunks([256, 1000], "x", 2 ** 20)[0]!).finish())
        const prefix = Buffer.alloc(5)
        prefix.writeUInt32BE(message.length, 1)
        let written = 0
        for (let i = 0; i < 64; i++) call.write(Buffer.concat([prefix, message]), () => written++)
        call.end()
        // Held up when nothing has moved for a while.
        let before = -1
        while (before !== written) {
          before = written
          yield* Effect.sleep("300 millis")
        }
        assert.isBelow(written, 16, "MiB that went in before anybody read")
        let received = 0
        call.on("data", (piece: Buffer) => {
          received += piece.length
        })
        yield* Effect.callback<void>((resume) => {
          call.on("end", () => resume(Effect.void))
        })
        assert.strictEqual(received, 64 * (5 + message.length + "processed_".length))
      }
    })
  )

  it.live("receives tensors in any order of chunks, forgets incomplete ones, and tells bad ones in-band", () =>
    Effect.gen(function* () {
      const { client } = yield* running()
      const whole = chunks([50, 50], "whole", 1000).reverse()
      const half = chunks([50, 50], "half", 1000).slice(1)
      const answer = yield* raw.send(client, [...half, ...whole])
      assert.deepStrictEqual(answer, { success: true, message: "Received 1 tensor(s)", receivedTensorIds: ["whole"] })

      const bad: TensorChunk = {
        tensorId: "bad",
        chunkNumber: 0,
        totalChunks: 1,
        isLast: true,
        data: Buffer.from("no tensor"),
        metadata: { size_bytes: "9" }
      }
      const refused = yield* raw.send(client, [...chunks([2], "good"), bad])
      assert.isFalse(refused.success)
      assert.match(refused.message, /^Error: /)
      assert.deepStrictEqual(refused.receivedTensorIds, ["good"])
    })
  )

  it.live("answers before the client has sent all, when there is no more to say", () =>
    Effect.gen(function* () {
      const { client } = yield* running()
      const answer = yield* Effect.callback<TensorResponse>((resume) => {
        const call = client.makeClientStreamRequest(
          "/kpu.torch.Service/ReceiveTensors",
          (message: TensorChunk) => Buffer.from(TensorChunk.encode(message).finish()),
          TensorResponse.decode,
          (error, response) => resume(error ? Effect.die(error) : Effect.succeed(response!))
        )
        call.on("error", () => {})
        // Never ended: the answer comes all the same.
        call.write({ ...chunks([2], "bad")[0]!, metadata: {} })
      })
      assert.isFalse(answer.success)
    })
  )

  it.live("sends noise of the shape asked for, 10×10 where none is, and one where count is 0", () =>
    Effect.gen(function* () {
      const { client } = yield* running({ chunkSize: 1000 })
      const shapesOf = (parameters: Record<string, string>, count = 0) =>
        Effect.map(raw.receive(client, { count, parameters }), (answer) => ({
          ...answer,
          shapes: answer.chunks.filter(({ chunkNumber }) => chunkNumber === 0).map(({ metadata }) => metadata["shape"])
        }))
      assert.deepStrictEqual((yield* shapesOf({ shape: "20,20" }, 2)).shapes, ["[20, 20]", "[20, 20]"])
      assert.deepStrictEqual((yield* shapesOf({})).shapes, ["[10, 10]"])
      assert.deepStrictEqual((yield* shapesOf({ shape: "a,b" })).shapes, ["[10, 10]"])
      const { chunks: one } = yield* shapesOf({ shape: " 30 , 40 " })
      assert.strictEqual(one[0]?.metadata["dtype"], "torch.float32")
      assert.strictEqual(one.length, one[0]?.totalChunks)
      assert.strictEqual(
        Number(one[0]?.metadata["size_bytes"]),
        one.reduce((sum, { data }) => sum + data.length, 0)
      )
      const failed = yield* shapesOf({ shape: "-1,2" })
      assert.strictEqual(failed.code, status.INTERNAL)
      assert.match(failed.details, /^Error sending tensors: /)
    })
  )

  it.live("refuses messages above its limit, and methods that it does not have", () =>
    Effect.gen(function* () {
      const { client } = yield* running()
      const large = yield* Effect.flip(echo(client, chunks([1200, 1000], "large", 2 ** 24)))
      assert.strictEqual(large.code, status.RESOURCE_EXHAUSTED)
      assert.match(large.details, /larger than max \(48\d+ vs. 4194304\)/)
      const unknown = yield* Effect.callback<number>((resume) => {
        client.makeUnaryRequest(
          "/kpu.torch.Service/Nope",
          () => Buffer.alloc(0),
          () => undefined,
          undefined,
          (error) => resume(Effect.succeed(error?.code ?? 0))
        )
      })
      assert.strictEqual(unknown, status.UNIMPLEMENTED)
    })
  )

  it.live("ends its calls when the Compute is suspended or deleted", () =>
    Effect.gen(function* () {
      const { api, client, cluster } = yield* running()
      /** Opens a stream that works, acts, and gives the status with which the stream ended. */
      const endedBy = <R>(act: Effect.Effect<unknown, Error, R>) =>
        Effect.gen(function* () {
          const call = raw.stream(client)
          const code = yield* Effect.forkChild(
            Effect.callback<number>((resume) => {
              call.on("error", (error) => resume(Effect.succeed((error as ServiceError).code)))
            })
          )
          yield* Effect.callback<void>((resume) => {
            call.once("data", () => resume(Effect.void))
            call.write(chunks([2], "x")[0]!)
          })
          yield* act
          return yield* Fiber.join(code)
        })
      const broken = [status.UNAVAILABLE, status.CANCELLED, status.INTERNAL]
      assert.include(broken, yield* endedBy(apply(cluster, "a", { image: "i", suspend: true })))
      yield* until(api, "a", "Suspended")
      yield* apply(cluster, "a", { image: "i", suspend: false })
      yield* until(api, "a", "Ready")
      assert.include(broken, yield* endedBy(api.request("DELETE", `${computes}/a`)))
    })
  )
})

describe("the gateway of the embedded cluster", () => {
  it.live("routes by compute-id, both ways at once", () =>
    Effect.gen(function* () {
      const { api, cluster } = yield* running({ namespaces: ["team-a"] })
      yield* apply(cluster, "b")
      yield* until(api, "b", "Ready")
      const client = yield* raw.connect(cluster.gatewayAddress)
      const sent = Array.from({ length: 8 }, (_, i) => chunks([256, 1024], `t${i}`)).flat()
      for (const id of ["default/a", "default/b"]) {
        const received = yield* echo(client, sent, to(id))
        assert.deepStrictEqual(
          received.map(({ data, tensorId }) => [tensorId, Buffer.from(data).equals(Buffer.from(sent[0]!.data))]),
          sent.map(({ data, tensorId }) => [
            `processed_${tensorId}`,
            Buffer.from(data).equals(Buffer.from(sent[0]!.data))
          ])
        )
      }
    })
  )

  it.live("answers UNIMPLEMENTED where no route matches, UNAVAILABLE where no server runs", () =>
    Effect.gen(function* () {
      const { api, cluster } = yield* running()
      const client = yield* raw.connect(cluster.gatewayAddress)
      const codeOf = (metadata: Metadata) => Effect.map(Effect.flip(echo(client, [], metadata)), ({ code }) => code)
      assert.strictEqual(yield* codeOf(to("default/nope")), status.UNIMPLEMENTED)
      assert.strictEqual(yield* codeOf(to("a")), status.UNIMPLEMENTED)
      assert.strictEqual(yield* codeOf(to("default/a/b")), status.UNIMPLEMENTED)
      assert.strictEqual(yield* codeOf(new Metadata()), status.UNIMPLEMENTED)
      yield* apply(cluster, "a", { image: "i", suspend: true })
      yield* until(api, "a", "Suspended")
      const refused = yield* Effect.flip(echo(client, [], to("default/a")))
      assert.strictEqual(refused.code, status.UNAVAILABLE)
      assert.strictEqual(refused.details, "no healthy upstream")
    })
  )

  it.live("passes on errors and their words", () =>
    Effect.gen(function* () {
      const { cluster } = yield* running()
      const client = yield* raw.connect(cluster.gatewayAddress)
      const failed = yield* Effect.flip(echo(client, chunks([1200, 1000], "large", 2 ** 24), to("default/a")))
      assert.strictEqual(failed.code, status.RESOURCE_EXHAUSTED)
      assert.match(failed.details, /larger than max/)
    })
  )
})
