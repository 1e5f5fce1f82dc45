/**
 * This client, on the transport that the first argument names; with `reused` as the second, receiving into memory that is
 * used again. Tensor to tensor: zip, pickle and CRC-32 included.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import type { Tensor } from "../../src/schema/Tensor.ts"
import { type ScopedTensor, TensorClient, type TensorConnection } from "../../src/services/TensorClient.ts"
import { makeTensor } from "./payload.ts"
import { type Client, type Job, serve } from "./protocol.ts"
import { type Transport, transports } from "./transports.ts"

/** Above the largest tensor measured. */
const maxTensorBytes = 2 ** 32

const reused = process.argv[3] === "reused"

const concurrentCalls = 100

const runtime = ManagedRuntime.make(Layer.provide(TensorClientGrpc.layer, transports[process.argv[2] as Transport]))
const scope = Scope.makeUnsafe()
const connections = new Map<number, TensorConnection>()

let tensor: Tensor = makeTensor(0)

const connect = async ({ host, port }: Job): Promise<TensorConnection> => {
  const open = connections.get(port)
  if (open !== undefined) return open
  const made = await runtime.runPromise(
    Effect.flatMap(TensorClient, (client) =>
      client.connect({
        address: { host, port, hint: "", mayResolveLater: false },
        namespace: "default",
        name: "bench"
      })
    ).pipe(Scope.provide(scope))
  )
  connections.set(port, made)
  return made
}

const drain = <E>(stream: Stream.Stream<Tensor, E>): Promise<number> => {
  let bytes = 0
  return runtime.runPromise(
    Stream.runForEachArray(stream, (tensors) =>
      Effect.sync(() => {
        for (const { data } of tensors) bytes += data.byteLength
      })
    ).pipe(Effect.map(() => bytes))
  )
}

const drainScoped = <E>(stream: Stream.Stream<ScopedTensor, E>): Promise<number> => {
  let bytes = 0
  return runtime.runPromise(
    Stream.runForEach(stream, (scoped) =>
      Effect.scoped(
        Effect.map(scoped, ({ data }) => {
          bytes += data.byteLength
        })
      )
    ).pipe(Effect.map(() => bytes))
  )
}

function* repeat(count: number): Generator<Tensor> {
  for (let index = 0; index < count; index++) yield tensor
}

const client: Client = {
  prepare: async (job) => {
    await connect(job)
    if (tensor.data.byteLength !== 4 * job.elements) {
      tensor = makeTensor(0)
      if (job.direction !== "receive" && job.direction !== "fairness") tensor = makeTensor(job.elements)
    }
  },
  run: async (job) => {
    const connection = await connect(job)
    const { chunkSize, count, direction, elements } = job
    const request = { parameters: { shape: String(elements) }, maxTensorBytes }
    switch (direction) {
      case "send": {
        const receipt = await runtime.runPromise(connection.sendTensors(repeat(count), { chunkSize }))
        return receipt.receivedTensorIds.length * tensor.data.byteLength
      }
      case "receive":
        return reused
          ? drainScoped(connection.receiveTensorsScoped({ ...request, count }))
          : drain(connection.receiveTensors({ ...request, count }))
      case "bidirectional":
        return reused
          ? drainScoped(connection.streamTensorsScoped(repeat(count), { chunkSize, maxTensorBytes }))
          : drain(connection.streamTensors(repeat(count), { chunkSize, maxTensorBytes }))
      case "roundtrip": {
        const samples: Array<number> = []
        let bytes = 0
        for (let call = 0; call < count; call++) {
          const begun = performance.now()
          bytes += await drain(connection.streamTensors([tensor], { chunkSize }))
          samples.push(1000 * (performance.now() - begun))
        }
        return { bytes, samples }
      }
      case "fairness": {
        const received = new Array<number>(concurrentCalls).fill(0)
        let samples: ReadonlyArray<number> | undefined
        let bytes = 0
        let tensors = 0
        await runtime.runPromise(
          Effect.forEach(
            received,
            (_, call) =>
              Stream.runForEach(connection.receiveTensors({ ...request, count }), ({ data }) =>
                Effect.sync(() => {
                  bytes += data.byteLength
                  received[call]!++
                  if (++tensors === (concurrentCalls * count) / 2) samples = [...received]
                })
              ),
            { concurrency: "unbounded", discard: true }
          )
        )
        return { bytes, samples: samples! }
      }
    }
  }
}

await serve(client)
