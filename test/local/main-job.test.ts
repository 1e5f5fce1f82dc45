/** The whole client on the embedded cluster: what a user writes, run unchanged. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Compute, Endpoint, Kpu, LocalCluster, Tensor } from "../../src/index.ts"
import * as Local from "../../src/local/layers.ts"

const job = Effect.gen(function* () {
  const compute = yield* Compute.scoped({ name: "my-compute", image: "localhost:5001/kpu-torch-server:latest" })
  const receipt = yield* compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
  assert.strictEqual(receipt.message, "Received 2 tensor(s)")
  assert.strictEqual(receipt.receivedTensorIds.length, 2)

  const noise = yield* compute.receiveTensors({ count: 2, parameters: { shape: "20,20" } }).pipe(Stream.runCollect)
  assert.deepStrictEqual(
    noise.map(({ shape }) => shape),
    [
      [20, 20],
      [20, 20]
    ]
  )

  const sent = [Tensor.randn([10, 10]), Tensor.randn([300, 1000])]
  const echoed = yield* compute.streamTensors(sent).pipe(Stream.runCollect)
  assert.strictEqual(echoed.length, 2)
  for (const [i, tensor] of sent.entries()) assert.isTrue(Tensor.equals(tensor, echoed[i]!))

  yield* compute.suspend()
  assert.isFalse(yield* compute.isReady)
  yield* compute.resume({ timeout: "10 seconds" })
  const again = yield* compute.streamTensors([Tensor.zeros([3])]).pipe(Stream.runCollect)
  assert.strictEqual(again.length, 1)
  yield* compute.delete()
}).pipe(Effect.scoped)

describe("the main job", () => {
  it.live("runs on LocalCluster.layer", () => job.pipe(Effect.provide(LocalCluster.layer)))

  it.live("runs through the gateway, which routes by compute-id", () =>
    Effect.gen(function* () {
      const cluster = yield* LocalCluster.start()
      const throughGateway = Kpu.layerWith({
        config: Local.configOf(cluster),
        endpoint: Endpoint.layerGateway(cluster.gatewayAddress)
      })
      yield* job.pipe(Effect.provide(throughGateway))
    })
  )
})
