/**
 * What `Tensor` gathers: everything that makes, reads, compares and converts tensors. A module and not an object, so that
 * each of them keeps its docs, and a bundler leaves out those that are not used.
 */
import * as Effect from "effect/Effect"
import { TensorDecodeError } from "./schema/KpuError.ts"
import type { Tensor } from "./schema/Tensor.ts"
import { type DecodeOptions, decodeTensor } from "./torch/Decoder.ts"
import { checkTensor, encodeWhole } from "./torch/Encoder.ts"

export { equals, fromTypedArray, isTensor, make, makeEffect, numel, toTypedArray, zeros } from "./schema/Tensor.ts"
export { fromArray, fromNumbers, toFloat32Array, toFloat64Array, toNestedArray } from "./schema/TensorElements.ts"
export { fromOnnx, fromTfjs, toOnnx, toTfjs } from "./schema/TensorInterop.ts"
export { randn } from "./schema/TensorRandom.ts"
export { TensorSchema as Schema } from "./schema/TensorSchema.ts"

/**
 * The bytes of the file that `torch.save(tensor, file)` writes, for `torch.load`.
 *
 * @example `yield* fs.writeFile("tensor.pt", Tensor.toTorch(tensor))`
 */
export const toTorch = (tensor: Tensor): Uint8Array => {
  checkTensor(tensor)
  return encodeWhole(tensor)
}

/**
 * The tensor in a file that `torch.save` wrote; fails with `TensorDecodeError`. A contiguous tensor is a view of the
 * bytes given, which are not to be written to any more.
 *
 * @example `const tensor = yield* Tensor.fromTorch(yield* fs.readFile("tensor.pt"))`
 */
export const fromTorch = (bytes: Uint8Array, options?: DecodeOptions): Effect.Effect<Tensor, TensorDecodeError> =>
  Effect.suspend(() => {
    if (!(bytes instanceof Uint8Array)) {
      return Effect.fail(new TensorDecodeError({ where: "the input", problem: "is not bytes (Uint8Array)" }))
    }
    try {
      return Effect.succeed(decodeTensor(bytes, options))
    } catch (error) {
      return error instanceof TensorDecodeError ? Effect.fail(error) : Effect.die(error)
    }
  })
