/**
 * A pipeline: maps a folder of `.pt` files through a Compute into another folder. Files are read as the server takes
 * them and written as it answers; at no time are more than a few in memory. A file's name travels as the tensor's id.
 *
 * `node examples/pipeline.ts in out`
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, FileSystem, Layer, Path, Stream } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

export const mapFolder = Effect.fn("mapFolder")(function* (from: string, to: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* fs.makeDirectory(to, { recursive: true })
  const names = (yield* fs.readDirectory(from)).filter((name) => name.endsWith(".pt")).sort()

  const tensors = Stream.fromIterable(names).pipe(
    Stream.mapEffect((name) =>
      fs.readFile(path.join(from, name)).pipe(
        Effect.flatMap((bytes) => Tensor.fromTorch(bytes)),
        Effect.map((tensor) => ({ tensor, id: name }))
      )
    )
  )

  const compute = yield* Compute.scoped({ name: "pipeline" })
  return yield* compute.streamTensorMessages(tensors).pipe(
    Stream.mapEffect(({ id, tensor }) => {
      // The server answers under `processed_<id>`.
      const target = path.join(to, id.replace(/^processed_/, ""))
      return fs
        .writeFile(`${target}.part`, Tensor.toTorch(tensor))
        .pipe(Effect.andThen(fs.rename(`${target}.part`, target)), Effect.as(target))
    }),
    Stream.tap((target) => Effect.log(`wrote ${target}`)),
    Stream.runCollect
  )
}, Effect.scoped)

if (import.meta.main) {
  const [from = "in", to = "out"] = process.argv.slice(2)
  mapFolder(from, to).pipe(Effect.provide(Layer.merge(Kpu.layer, NodeServices.layer)), NodeRuntime.runMain)
}
