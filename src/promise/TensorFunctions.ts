/**
 * What `Tensor` gathers for programs of promises: the same functions, and a promise where the Effect client has an
 * Effect.
 */
import * as Effect from "effect/Effect"
import type { Tensor } from "../schema/Tensor.ts"
import * as Functions from "../TensorFunctions.ts"
import type { DecodeOptions } from "../torch/Decoder.ts"

export {
  equals,
  fromArray,
  fromNumbers,
  fromOnnx,
  fromTfjs,
  fromTypedArray,
  isTensor,
  make,
  numel,
  randn,
  Schema,
  toFloat32Array,
  toFloat64Array,
  toNestedArray,
  toOnnx,
  toTfjs,
  toTorch,
  toTypedArray,
  zeros
} from "../TensorFunctions.ts"

/**
 * The tensor in a file that `torch.save` wrote; rejects with `TensorDecodeError`. A contiguous tensor is a view of the
 * bytes given, which are not to be written to any more.
 *
 * @example
 * ```ts
 * import { Tensor } from "effect-kpu/promise"
 *
 * const tensor = await Tensor.fromTorch(Tensor.toTorch(Tensor.randn([2, 3])))
 * console.log(tensor.shape)
 * ```
 */
export const fromTorch = (bytes: Uint8Array, options?: DecodeOptions): Promise<Tensor> =>
  Effect.runPromise(Functions.fromTorch(bytes, options))
