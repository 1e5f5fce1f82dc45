/**
 * A long exchange with a slow consumer, in a process of its own. Arguments: the transport, the server's port, MiB of a
 * tensor, MiB in all, milliseconds of the consumer for each MiB. Prints the resident memory on the way and at its peak.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TensorClientGrpc from "../../src/layers/TensorClientGrpc.ts"
import type { Tensor } from "../../src/schema/Tensor.ts"
import { TensorClient } from "../../src/services/TensorClient.ts"
import { peakMemory } from "../../test/kit/peakMemory.ts"
import { makeTensor } from "../clients/payload.ts"
import { type Transport, transports } from "../clients/transports.ts"

const [transport, port, tensorMiB, totalMiB, millisPerMiB] = process.argv.slice(2)
const size = Number(tensorMiB)
const count = Math.ceil(Number(totalMiB) / size)
const pause = size * Number(millisPerMiB)

function* repeat(tensor: Tensor): Generator<Tensor> {
  for (let index = 0; index < count; index++) yield tensor
}

const program = Effect.gen(function* () {
  const client = yield* TensorClient
  const connection = yield* client.connect({
    address: { host: "127.0.0.1", port: Number(port), hint: "", mayResolveLater: false },
    namespace: "default",
    name: "bench"
  })
  const tensor = makeTensor(size * 2 ** 18)
  const begun = performance.now()
  const startBytes = process.memoryUsage.rss()
  const curve: Array<readonly [seconds: number, bytes: number]> = []
  const sample = () => curve.push([(performance.now() - begun) / 1000, process.memoryUsage.rss()])
  const timer = setInterval(sample, 100)
  let received = 0
  yield* connection.streamTensors(repeat(tensor)).pipe(
    Stream.runForEach(({ data }) => {
      received += data.byteLength
      return Effect.sleep(pause)
    })
  )
  sample()
  clearInterval(timer)
  const seconds = (performance.now() - begun) / 1000
  console.log(JSON.stringify({ seconds, received, startBytes, peakBytes: peakMemory(), curve }))
}).pipe(Effect.scoped, Effect.provide(Layer.provide(TensorClientGrpc.layer, transports[transport as Transport])))

await Effect.runPromise(program)
