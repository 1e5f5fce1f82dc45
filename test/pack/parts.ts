/**
 * The parts of the package that need no Kubernetes client: tensors, PyTorch's files, typed errors. They run on Bun too.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { InvalidInput, Tensor, TorchFile } from "effect-kpu"

const folder = mkdtempSync(join(tmpdir(), "effect-kpu-parts-"))
const file = join(folder, "model.pt")

const program = Effect.gen(function* () {
  const tensor = Tensor.randn([64, 32], { seed: 7 })
  const back = yield* Tensor.fromTorch(Tensor.toTorch(tensor))
  if (!Tensor.equals(tensor, back)) throw new Error("the bytes should give the tensor back")

  yield* TorchFile.write(file, { weight: tensor, bias: Tensor.zeros([64], { dtype: "bfloat16" }) })
  const model = yield* TorchFile.open(file)
  if (!Tensor.equals(yield* model.read("weight"), tensor)) throw new Error("the file should give the tensor back")

  const error = yield* Effect.flip(Tensor.makeEffect({ dtype: "float32", shape: [2], data: new Float32Array(3) }))
  if (!(error instanceof InvalidInput) || error.field !== "data") throw new Error("the error should name the field")
  yield* Console.log("tensors and files held")
})

program.pipe(
  Effect.scoped,
  Effect.provide(NodeServices.layer),
  Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true }))),
  Effect.runPromise
)
