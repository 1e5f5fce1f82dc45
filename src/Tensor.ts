/**
 * Tensors: what a Compute is sent and what comes back.
 *
 * `Tensor` is the type and, under the same name, everything that makes, reads, compares and converts tensors.
 *
 * @example
 * ```ts
 * import { Tensor } from "effect-kpu"
 *
 * const tensor: Tensor = Tensor.randn([100, 100])
 * tensor.dtype // "float32"
 * Tensor.toTypedArray(tensor)[0]
 * ```
 */
import * as Effect from "effect/Effect"
import type { DType } from "./schema/DType.ts"
import { TensorDecodeError } from "./schema/KpuError.ts"
import * as Base from "./schema/Tensor.ts"
import * as Elements from "./schema/TensorElements.ts"
import * as Interop from "./schema/TensorInterop.ts"
import * as Random from "./schema/TensorRandom.ts"
import { TensorSchema } from "./schema/TensorSchema.ts"
import { type DecodeOptions, decodeTensor } from "./torch/Decoder.ts"
import { checkTensor, encodeWhole } from "./torch/Encoder.ts"

/** A tensor. */
export type Tensor<D extends DType = DType> = Base.Tensor<D>

const toTorch = (tensor: Base.Tensor): Uint8Array => {
  checkTensor(tensor)
  return encodeWhole(tensor)
}

const fromTorch = (bytes: Uint8Array, options?: DecodeOptions): Effect.Effect<Base.Tensor, TensorDecodeError> =>
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

/**
 * Everything that makes, reads, compares and converts tensors.
 *
 * @example
 * ```ts
 * import { Tensor } from "effect-kpu"
 *
 * const tensor = Tensor.fromArray([
 *   [1, 2],
 *   [3, 4]
 * ])
 * Tensor.toNestedArray(tensor)
 * ```
 */
export const Tensor = {
  make: Base.make,
  makeEffect: Base.makeEffect,
  zeros: Base.zeros,
  randn: Random.randn,
  fromArray: Elements.fromArray,
  fromNumbers: Elements.fromNumbers,
  fromTypedArray: Base.fromTypedArray,
  isTensor: Base.isTensor,
  numel: Base.numel,
  equals: Base.equals,
  toTypedArray: Base.toTypedArray,
  toFloat32Array: Elements.toFloat32Array,
  toFloat64Array: Elements.toFloat64Array,
  toNestedArray: Elements.toNestedArray,
  fromOnnx: Interop.fromOnnx,
  toOnnx: Interop.toOnnx,
  fromTfjs: Interop.fromTfjs,
  toTfjs: Interop.toTfjs,
  /** The Schema of tensors: JSON with the bytes in Base64, and generated tensors for property tests. */
  Schema: TensorSchema,
  /**
   * The bytes of the file that `torch.save(tensor, file)` writes, for `torch.load`.
   *
   * @example `yield* fs.writeFile("tensor.pt", Tensor.toTorch(tensor))`
   */
  toTorch,
  /**
   * The tensor in a file that `torch.save` wrote; fails with `TensorDecodeError`. A contiguous tensor is a view of the
   * bytes given, which are not to be written to any more.
   *
   * @example `const tensor = yield* Tensor.fromTorch(yield* fs.readFile("tensor.pt"))`
   */
  fromTorch
} as const
