/** `.npy`: one array of NumPy's. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Npy from "../../formats/Npy.ts"
import { InvalidInput } from "../../schema/KpuError.ts"
import type { Format } from "./Format.ts"

const refuse = (problem: string) => Effect.fail(new InvalidInput({ field: "--out", problem }))

export const npy: Format = {
  name: "npy",
  extensions: [".npy"],
  matches: (head) => Buffer.from(head.subarray(0, 6)).equals(Buffer.from("\x93NUMPY", "latin1")),
  open: (source) =>
    Effect.map(Npy.fromSource(source), ({ blocks, byteLength, dtype, read, shape }) => ({
      infos: [{ name: "", dtype, shape, byteLength }],
      readAll: Stream.fromEffect(Effect.map(read, (tensor) => ["", tensor] as const)),
      blocks: () => blocks()
    })),
  encode: (content) =>
    content._tag === "One"
      ? Effect.catch(Npy.toPieces(content.tensor), () =>
          refuse(`NumPy has no ${content.tensor.dtype}; write .pt or .safetensors`)
        )
      : refuse(
          `an .npy file holds one tensor, not ${content.tensors.length}; give a folder, or a .pt or .safetensors file`
        )
}
