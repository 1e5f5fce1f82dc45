/**
 * Scoped use: a Compute that lives as long as the work with it. However the work ends, the Compute is deleted.
 *
 * With `LocalCluster.layer` in place of `Kpu.layer` this runs without Kubernetes; so do all of these examples.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Stream } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

export const program = Effect.gen(function* () {
  const compute = yield* Compute.scoped({
    name: "scoped-use",
    image: "localhost:5001/kpu-torch-server:latest",
    env: { LOG_LEVEL: "DEBUG", CHUNK_SIZE: "2097152" },
    labels: { team: "ml", env: "prod" }
  })

  const receipt = yield* compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
  yield* Effect.log(receipt.message)

  const received = yield* compute.receiveTensors({ count: 2, parameters: { shape: "20,20" } }).pipe(
    Stream.tap((tensor) => Effect.log(`received [${tensor.shape.join(", ")}]`)),
    Stream.runCollect
  )

  const echoed = yield* compute.streamTensors([Tensor.randn([10, 10]), Tensor.randn([20, 20])]).pipe(Stream.runCollect)
  return { sent: receipt.receivedTensorIds.length, received: received.length, echoed: echoed.length }
}).pipe(Effect.scoped)

if (import.meta.main) program.pipe(Effect.provide(Kpu.layer), NodeRuntime.runMain)
