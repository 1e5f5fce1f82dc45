/** Tensors for programs of promises. */
import type { DType } from "../schema/DType.ts"
import type * as Base from "../schema/Tensor.ts"
import * as Functions from "./TensorFunctions.ts"

/** A tensor. */
export type Tensor<D extends DType = DType> = Base.Tensor<D>

/**
 * Everything that makes, reads, compares and converts tensors, as in `effect-kpu`; `fromTorch` gives a promise.
 *
 * @example
 * ```ts
 * import { Tensor } from "effect-kpu/promise"
 *
 * const tensor = Tensor.randn([100, 100], { seed: 1 })
 * console.log(tensor.shape, Tensor.toTypedArray(tensor)[0])
 * ```
 *
 * @namespace
 */
export const Tensor = Functions
