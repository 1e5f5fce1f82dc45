/**
 * What a fresh project does with the package: the main job on the embedded cluster, with Effect and with promises. The
 * package check compiles this against the tarball and runs it on each runtime.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Stream } from "effect"
import { Compute, LocalCluster, Tensor } from "effect-kpu"
import * as Promises from "effect-kpu/promise"

const input = [Tensor.randn([10, 10], { seed: 1 }), Tensor.randn([20, 20], { seed: 2 })]

const same = (output: ReadonlyArray<Tensor>) => {
  const equal = output.length === input.length && output.every((tensor, index) => Tensor.equals(tensor, input[index]!))
  if (!equal) throw new Error("what came back is not what was sent")
}

const withEffect = Effect.gen(function* () {
  const compute = yield* Compute.scoped({ name: "fresh" })
  const receipt = yield* compute.sendTensors(input)
  if (receipt.receivedTensorIds.length !== input.length) throw new Error("the server should have them all")
  same(yield* compute.streamTensors(input).pipe(Stream.runCollect))
}).pipe(Effect.scoped, Effect.provide(LocalCluster.layer))

const withPromises = async () => {
  await using _client = Promises.init({ layer: LocalCluster.layer })
  await using compute = await Promises.Compute.create({ name: "fresh" })
  same(await compute.streamTensors(input).toArray())
}

withEffect.pipe(
  Effect.andThen(Effect.promise(withPromises)),
  Effect.andThen(Console.log("the main job held, with Effect and with promises")),
  NodeRuntime.runMain
)
