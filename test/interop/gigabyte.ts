/**
 * One tensor, there or back or both, in a process of its own, whose memory can be told. Arguments: the transport, the
 * server's port, the direction, the elements (float32). Prints the SHA-256 of the elements that were sent and received, and
 * the resident memory before the call and at its peak.
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { GrpcChannel } from "../../src/GrpcChannel.ts"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import { TensorClient } from "../../src/services/TensorClient.ts"
import { Tensor } from "../../src/Tensor.ts"
import { peakMemory } from "../kit/peakMemory.ts"

const [transport, port, direction, count] = process.argv.slice(2)
const elements = Number(count)

const sha256 = ({ data }: Tensor): string => createHash("sha256").update(data).digest("hex")

/** Any bits, none of them twice at the places where chunks could be mixed up. */
const makeTensor = (): Tensor => {
  const words = new Uint32Array(elements)
  let state = 1
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    words[index] = state
  }
  return Tensor.make({ dtype: "float32", shape: [elements], data: new Uint8Array(words.buffer) })
}

const program = Effect.gen(function* () {
  const client = yield* TensorClient
  const connection = yield* client.connect({
    address: { host: "127.0.0.1", port: Number(port), hint: "", mayResolveLater: false },
    namespace: "default",
    name: "my-compute"
  })
  const tensor = direction === "receive" ? undefined : makeTensor()
  const start = process.memoryUsage.rss()
  const begun = performance.now()
  let received: ReadonlyArray<Tensor> = []
  if (tensor === undefined) {
    received = yield* Stream.runCollect(connection.receiveTensors({ parameters: { shape: String(elements) } }))
  } else if (direction === "send") {
    yield* connection.sendTensors([tensor])
  } else {
    received = yield* Stream.runCollect(connection.streamTensors([tensor]))
  }
  const seconds = (performance.now() - begun) / 1000
  const peak = peakMemory()
  console.log(
    JSON.stringify({
      sent: tensor === undefined ? undefined : sha256(tensor),
      received: received.map(sha256),
      shapes: received.map(({ dtype, shape }) => [dtype, ...shape]),
      over: peak - start,
      seconds
    })
  )
}).pipe(
  Effect.scoped,
  Effect.provide(
    Layer.provide(TensorClientGrpc.layer, transport === "http2" ? GrpcChannel.layerHttp2 : GrpcChannel.layerGrpcJs)
  )
)

await Effect.runPromise(program)
