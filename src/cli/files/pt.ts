/** `.pt`: what `torch.save` writes and `torch.load` reads. Tensors of a file are read when their turn comes. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TorchFile from "../../TorchFile.ts"
import { encodeDict, encodeList, encodeOne } from "../../torch/Encoder.ts"
import { fileError } from "../input/AtomicFile.ts"
import type { FileFailure, Format, TensorFile } from "./Format.ts"

const toTensorFile = <E>(file: TorchFile.TorchFile<E>, mapError: (error: E) => FileFailure): TensorFile => ({
  infos: [...file.tensors].map(([name, { byteLength, dtype, shape }]) => ({ name, byteLength, dtype, shape })),
  readAll: file.readAll.pipe(
    Stream.mapError((error) =>
      (error as { _tag?: string })._tag === "TensorDecodeError" ? (error as FileFailure) : mapError(error as E)
    )
  )
})

export const pt: Format = {
  name: "pt",
  extensions: [".pt", ".pth"],
  matches: (head) => head[0] === 0x50 && head[1] === 0x4b,
  open: (source) =>
    source._tag === "Bytes"
      ? Effect.map(TorchFile.fromBytes(source.bytes), (file) => toTensorFile(file, (never) => never))
      : TorchFile.open(source.path).pipe(
          Effect.provide(NodeFileSystem.layer),
          Effect.mapError((error) =>
            error._tag === "PlatformError" ? fileError("read", source.path, error.reason.cause ?? error) : error
          ),
          Effect.map((file) =>
            toTensorFile(file, (error) => fileError("read", source.path, error.reason.cause ?? error))
          )
        ),
  encode: (content) =>
    Effect.sync(() => {
      switch (content._tag) {
        case "One":
          return encodeOne(content.tensor).pieces()
        case "Named":
          return encodeDict(content.tensors).pieces()
        case "List":
          return encodeList(content.tensors).pieces()
      }
    })
}
