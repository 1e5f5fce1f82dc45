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
import type { DType } from "./schema/DType.ts"
import type * as Base from "./schema/Tensor.ts"
import * as Functions from "./TensorFunctions.ts"

/** A tensor. */
export type Tensor<D extends DType = DType> = Base.Tensor<D>

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
 *
 * @namespace
 */
export const Tensor = Functions
