/** Small things: the round trip of a small tensor, many of them on one stream, many streams, and starting up. */
import { execFileSync } from "node:child_process"
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../src/layers/TensorClientGrpc.ts"
import type { TensorChunk } from "../src/schema/generated/kpu/torch/service.ts"
import { TensorClient } from "../src/services/TensorClient.ts"
import { Tensor } from "../src/Tensor.ts"
import { root } from "../test/kit/peers.ts"
import { definition } from "../test/kit/TensorServer.ts"
import { spreadOf } from "./measurement.ts"

type Address = { readonly host: string; readonly port: number }

const trips = 2000

/** Microseconds of one round trip on plain grpc-js: a call of the same bytes. */
const plainTrip = async ({ host, port }: Address, tensor: Tensor): Promise<() => Promise<number>> => {
  const client = new grpc.Client(`${host}:${port}`, grpc.credentials.createInsecure())
  const { path, requestSerialize, responseDeserialize } = definition["StreamTensors"]!
  const data = Tensor.toTorch(tensor)
  const metadata = { shape: "[10, 10]", dtype: "torch.float32", device: "cpu", size_bytes: String(data.byteLength) }
  const once = () =>
    new Promise<void>((done, fail) => {
      const call = client.makeBidiStreamRequest<TensorChunk, TensorChunk>(path, requestSerialize, responseDeserialize)
      call.on("data", () => {})
      call.on("error", fail)
      call.on("end", done)
      call.write({ tensorId: "x", chunkNumber: 0, totalChunks: 1, isLast: true, data, metadata })
      call.end()
    })
  return async () => {
    const started = performance.now()
    for (let i = 0; i < trips; i++) await once()
    return ((performance.now() - started) / trips) * 1000
  }
}

/** The table of small things, against a server that gives chunks back at once. */
export const measureSmall = (server: Address): Promise<string> =>
  Effect.gen(function* () {
    const client = yield* TensorClient
    const connection = yield* client.connect({
      address: { ...server, hint: "", mayResolveLater: false },
      namespace: "default",
      name: "bench"
    })
    const tensor = Tensor.randn([10, 10], { seed: 1 })
    const plain = yield* Effect.promise(() => plainTrip(server, tensor))
    const ours = Effect.gen(function* () {
      const started = performance.now()
      for (let i = 0; i < trips; i++) yield* Stream.runDrain(connection.streamTensors([tensor]))
      return ((performance.now() - started) / trips) * 1000
    })
    const oursTrips: Array<number> = []
    const plainTrips: Array<number> = []
    for (let round = 0; round < 6; round++) {
      const [a, b] = [yield* ours, yield* Effect.promise(plain)]
      // The first round warms up.
      if (round > 0) {
        oursTrips.push(a)
        plainTrips.push(b)
      }
    }
    const rates: Array<number> = []
    for (let round = 0; round < 5; round++) {
      const started = performance.now()
      const count = yield* Stream.runCount(connection.streamTensors(Array.from({ length: 20_000 }, () => tensor)))
      rates.push((count / (performance.now() - started)) * 1000)
    }
    // A hundred streams of the same work: when each has ended, as a part of the time that all took.
    const ends: Array<number> = []
    const work = Array.from({ length: 16 }, () => Tensor.zeros([65_536]))
    const started = performance.now()
    yield* Effect.forEach(
      Array.from({ length: 100 }),
      () =>
        Effect.map(Stream.runDrain(connection.streamTensors(work)), () => {
          ends.push(performance.now() - started)
        }),
      { concurrency: "unbounded", discard: true }
    )
    const fair = spreadOf(ends)
    const [a, b, c] = [spreadOf(oursTrips), spreadOf(plainTrips), spreadOf(rates)]
    return [
      "\n## Small things\n",
      "| | |",
      "|---|---:|",
      `| round trip of a 10×10 tensor, µs | ${a.median.toFixed(0)} (${a.least.toFixed(0)}–${a.most.toFixed(0)}) |`,
      `| the same bytes on plain grpc-js, µs | ${b.median.toFixed(0)} (${b.least.toFixed(0)}–${b.most.toFixed(0)}) |`,
      `| ratio (at most 1.3) | ${(a.median / b.median).toFixed(2)} |`,
      `| 10×10 tensors a second there and back on one stream (at least 5,000) | ${c.median.toFixed(0)} (${c.least.toFixed(0)}–${c.most.toFixed(0)}) |`,
      `| 100 streams of 4 MiB at once: the first to end, the median, the last, ms | ${fair.least.toFixed(0)}, ${fair.median.toFixed(0)}, ${fair.most.toFixed(0)} |`
    ].join("\n")
  }).pipe(
    Effect.provide(Layer.provide(TensorClientGrpc.layer, GrpcChannel.layerHttp2)),
    Effect.scoped,
    Effect.runPromise
  )

const importCost = (code: string): { readonly millis: number; readonly mebibytes: number } => {
  const program = `const s = performance.now(); ${code}; console.log(JSON.stringify({ millis: performance.now() - s, mebibytes: process.memoryUsage.rss() / 2 ** 20 }))`
  const runs = Array.from(
    { length: 7 },
    () =>
      JSON.parse(
        execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: root, encoding: "utf8" })
      ) as { millis: number; mebibytes: number }
  )
  return {
    millis: spreadOf(runs.map(({ millis }) => millis)).median,
    mebibytes: spreadOf(runs.map(({ mebibytes }) => mebibytes)).median
  }
}

/** What importing costs; needs `npm run build`. */
export const measureStartUp = async (): Promise<string> => {
  const rows = [
    ["bare Node", ""],
    ["the Effect modules of a program", 'await import("effect")'],
    ["effect-kpu", 'await import("./dist/index.js")'],
    ["effect-kpu after Effect", 'await import("effect"); await import("./dist/index.js")']
  ].map(([name, code]) => ({ name, ...importCost(code!) }))
  return [
    "\n## Importing\n",
    "| | ms | MiB resident |",
    "|---|---:|---:|",
    ...rows.map(({ mebibytes, millis, name }) => `| ${name} | ${millis.toFixed(0)} | ${mebibytes.toFixed(0)} |`)
  ].join("\n")
}
