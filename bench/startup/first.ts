/** Sends one tensor to the Compute `first` and ends: start-up as a user meets it. The argument is the gateway's address. */
import * as Effect from "effect/Effect"
import { Compute, Endpoint, Kpu, Tensor } from "effect-kpu"

const program = Effect.gen(function* () {
  const compute = yield* Compute.attach("first")
  yield* compute.ready()
  const receipt = yield* compute.sendTensors([Tensor.randn([10, 10])])
  console.log(JSON.stringify({ sent: receipt.receivedTensorIds.length }))
}).pipe(
  Effect.scoped,
  Effect.provide(Kpu.layerWith({ namespace: "default", endpoint: Endpoint.layerGateway(process.argv[2]!) }))
)

await Effect.runPromise(program)
