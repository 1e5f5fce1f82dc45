/** `.safetensors`: tensors by name behind a JSON header (Hugging Face's format). */
import * as Effect from "effect/Effect"
import * as Safetensors from "../../formats/Safetensors.ts"
import { InvalidInput } from "../../schema/KpuError.ts"
import type { Tensor } from "../../schema/Tensor.ts"
import { type Content, type Format, infosOf } from "./Format.ts"

const named = (content: Content): ReadonlyArray<readonly [string, Tensor]> => {
  switch (content._tag) {
    case "One":
      return [["tensor", content.tensor]]
    case "Named":
      return content.tensors
    case "List":
      return content.tensors.map((tensor, index) => [String(index), tensor] as const)
  }
}

export const safetensors: Format = {
  name: "safetensors",
  extensions: [".safetensors"],
  // Eight bytes of length, of which the upper ones are zero, and the JSON's brace.
  matches: (head) => head.byteLength >= 9 && head[8] === 0x7b && head[5] === 0 && head[6] === 0 && head[7] === 0,
  open: (source) =>
    Effect.map(Safetensors.fromSource(source), ({ blocks, readAll, tensors }) => ({
      infos: infosOf(tensors),
      readAll,
      blocks
    })),
  encode: (content) =>
    Effect.mapError(
      Safetensors.toPieces(new Map(named(content))),
      ({ field, problem }) =>
        new InvalidInput({ field: "--out", problem: `${field}: ${problem}; a .pt file can hold it` })
    )
}
