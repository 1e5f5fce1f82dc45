/** `.pt`: what `torch.save` writes and `torch.load` reads. */
import * as Effect from "effect/Effect"
import * as TorchFile from "../../TorchFile.ts"
import { StreamedFile } from "../../torch/StreamedFile.ts"
import { type Format, infosOf } from "./Format.ts"

export const pt: Format = {
  name: "pt",
  extensions: [".pt", ".pth"],
  matches: (head) => head[0] === 0x50 && head[1] === 0x4b,
  open: (source) =>
    Effect.map(TorchFile.fromSource(source), ({ blocks, readAll, tensors }) => ({
      infos: infosOf(tensors),
      readAll,
      blocks
    })),
  encode: (content) =>
    TorchFile.toPieces(
      content._tag === "One" ? content.tensor : content._tag === "Named" ? new Map(content.tensors) : content.tensors
    ),
  streamed: () => {
    const file = new StreamedFile()
    return {
      add: (tensor) => file.add(tensor),
      finish: (names) =>
        file.finish(
          file.count === 1 ? { kind: "tensor" } : names === undefined ? { kind: "list" } : { kind: "dict", names }
        )
    }
  }
}
