/**
 * The main job on real input: a `.pt` file that PyTorch saved is read, sent, streamed and written back as `.pt`, through
 * a real kube-apiserver and a real Python server, and Python confirms that both files hold the same tensor.
 *
 * `npm run example:pytorch` runs it, after `npm run peers` has prepared the real counterparts.
 */
import { join } from "node:path"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Data, Effect, FileSystem, Layer, Option, Stream } from "effect"
import { Compute, Tensor } from "effect-kpu"
import { missing } from "../test/kit/peers.ts"
import { TorchTool } from "../test/kit/TorchTool.ts"
import { kubernetesWorld } from "../test/kit/worlds.ts"

class ExampleFailed extends Data.TaggedError("ExampleFailed")<{ readonly message: string }> {}

/** Reads a tensor, sends it, streams it through the Compute and writes what came back. */
const job = Effect.fn("job")(function* (input: string, output: string) {
  const fs = yield* FileSystem.FileSystem
  const tensor = yield* Effect.flatMap(fs.readFile(input), (bytes) => Tensor.fromTorch(bytes))
  yield* Console.log(
    `read      ${input}: ${tensor.dtype} [${tensor.shape.join(", ")}], ${tensor.data.byteLength} bytes`
  )

  const compute = yield* Compute.scoped({ name: "pytorch-example", image: "localhost:5001/kpu-torch-server:latest" })
  const { conditions = [] } = (yield* compute.resource).status ?? {}
  yield* Console.log(
    `ready     ${conditions.map(({ message, status, type }) => `${type}=${status}: ${message}`).join(", ")}`
  )

  const receipt = yield* compute.sendTensors([tensor])
  yield* Console.log(`sent      ${receipt.message} (${receipt.receivedTensorIds.join(", ")})`)

  const echoed = yield* compute.streamTensors([tensor]).pipe(
    Stream.runHead,
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.fail(new ExampleFailed({ message: "the server sent nothing back" })),
        onSome: Effect.succeed
      })
    )
  )
  yield* fs.writeFile(output, Tensor.toTorch(echoed))
  yield* Console.log(`streamed  and written to ${output}`)
}, Effect.scoped)

const program = Effect.gen(function* () {
  const absent = missing("kubernetes", "pytorch")
  if (absent !== undefined) return yield* new ExampleFailed({ message: `${absent}: run \`npm run peers\` first` })

  const torch = yield* TorchTool
  const [made] = yield* torch.make([{ name: "weights", dtype: "float32", shape: [1024, 768], fill: "bits" }])
  if (made === undefined || !("file" in made)) return yield* new ExampleFailed({ message: "PyTorch made no file" })
  yield* Console.log(`saved     by PyTorch ${torch.version}`)

  const output = join(torch.folder, "weights-back.pt")
  yield* job(made.file, output).pipe(Effect.provide(kubernetesWorld))

  const [compared] = yield* torch.equal([[made.file, output]])
  if (compared?.bits !== true) return yield* new ExampleFailed({ message: `the files differ: ${compared?.why}` })
  yield* Console.log("compared  by PyTorch: both files hold the same tensor, bit for bit")
})

program.pipe(
  Effect.provide(Layer.suspend(() => Layer.mergeAll(TorchTool.layer, NodeServices.layer))),
  NodeRuntime.runMain
)
