/**
 * Sends a model's weights: a state dict that `torch.save(model.state_dict(), "model.pt")` wrote, one tensor after the
 * other, each under its name. A tensor is read from the file when the wire has room for it, so that a model larger than
 * memory goes through.
 *
 * `node examples/send-weights.ts model.pt`
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, Layer, Stream } from "effect"
import { Compute, Kpu, TorchFile } from "effect-kpu"

export const sendWeights = Effect.fn("sendWeights")(function* (path: string) {
  const file = yield* TorchFile.open(path)
  const bytes = [...file.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
  yield* Effect.log(`${path}: ${file.tensors.size} tensors, ${bytes} bytes`)

  const compute = yield* Compute.scoped({ name: "send-weights" })
  const receipt = yield* compute.sendTensors(
    file.readAll.pipe(Stream.map(([name, tensor]) => ({ tensor, metadata: { name } })))
  )
  yield* Effect.log(receipt.message)
  return receipt
}, Effect.scoped)

if (import.meta.main) {
  sendWeights(process.argv[2] ?? "model.pt").pipe(
    Effect.provide(Layer.merge(Kpu.layer, NodeServices.layer)),
    NodeRuntime.runMain
  )
}
