/**
 * Tensors to and from the objects that other libraries hold: `{ dims, type, data }` as ONNX Runtime's `Tensor`, and
 * `{ shape, dtype, dataSync() }` as TensorFlow.js's. Neither library is needed: the objects are taken by their form.
 *
 * **Gotchas**
 *
 * As everywhere, the memory is shared, not copied: a buffer that the other library writes to again must be copied first.
 */
import type { AnyTypedArray, DType, TypedArrayOf } from "./DType.ts"
import { InvalidInput } from "./KpuError.ts"
import { make, type Tensor, toTypedArray } from "./Tensor.ts"

/** What ONNX Runtime's `Tensor` looks like, as far as it is needed here. */
export interface OnnxTensor {
  readonly type: string
  readonly dims: ReadonlyArray<number>
  readonly data: unknown
}

const onnxTypes = [
  "float64",
  "float32",
  "float16",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "bool"
] as const satisfies Array<DType>

/** The dtypes that ONNX Runtime has too, by the same names. */
export type OnnxType = (typeof onnxTypes)[number]

/** What ONNX Runtime's constructor takes. */
export interface OnnxInput {
  readonly type: OnnxType
  readonly dims: ReadonlyArray<number>
  readonly data: TypedArrayOf<Exclude<OnnxType, "float16">> | Uint16Array
}

const isOnnxType = (type: string): type is OnnxType => (onnxTypes as ReadonlyArray<string>).includes(type)

/**
 * A tensor of ONNX Runtime's.
 *
 * @example
 * ```ts
 * import * as ort from "onnxruntime-node"
 * import { Tensor } from "effect-kpu"
 *
 * const tensor = Tensor.fromOnnx(new ort.Tensor("float32", [1, 2, 3, 4], [2, 2]))
 * ```
 */
export const fromOnnx = ({ data, dims, type }: OnnxTensor): Tensor => {
  if (!isOnnxType(type)) throw new InvalidInput({ field: "type", problem: `${type} has no dtype of plain elements` })
  return make({ dtype: type, shape: dims, data: data as AnyTypedArray })
}

/**
 * What ONNX Runtime's constructor takes; float16 as raw bits. bfloat16, float8 and complex dtypes are `InvalidInput`: it
 * has none of them.
 *
 * @example
 * ```ts
 * import * as ort from "onnxruntime-node"
 * import { Tensor } from "effect-kpu"
 *
 * const { type, data, dims } = Tensor.toOnnx(Tensor.randn([2, 3]))
 * const input = new ort.Tensor(type, data, dims)
 * ```
 */
export const toOnnx = (tensor: Tensor): OnnxInput => {
  const { dtype, shape } = tensor
  if (!isOnnxType(dtype)) throw new InvalidInput({ field: "dtype", problem: `ONNX Runtime has no tensors of ${dtype}` })
  const elements = toTypedArray(tensor as Tensor<OnnxType>)
  // Its types, and its versions that do not know Float16Array, want the bits of float16.
  const data = dtype === "float16" ? new Uint16Array(elements.buffer, elements.byteOffset, elements.length) : elements
  return { type: dtype, dims: shape, data: data as OnnxInput["data"] }
}

/** What TensorFlow.js's `Tensor` looks like, as far as it is needed here. */
export interface TfjsTensor {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  dataSync(): unknown
}

const tfjsTypes = ["float32", "int32", "bool", "complex64"] as const satisfies Array<DType>

/** The dtypes that TensorFlow.js has too, by the same names. */
export type TfjsType = (typeof tfjsTypes)[number]

const isTfjsType = (type: string): type is TfjsType => (tfjsTypes as ReadonlyArray<string>).includes(type)

/**
 * A tensor of TensorFlow.js's, whose elements are fetched with `dataSync()`.
 *
 * @example
 * ```ts
 * import * as tf from "@tensorflow/tfjs"
 * import { Tensor } from "effect-kpu"
 *
 * const tensor = Tensor.fromTfjs(tf.tensor([1, 2, 3, 4], [2, 2]))
 * ```
 */
export const fromTfjs = (tensor: TfjsTensor): Tensor => {
  const { dtype, shape } = tensor
  if (!isTfjsType(dtype)) throw new InvalidInput({ field: "dtype", problem: `${dtype} has no dtype of plain elements` })
  return make({ dtype, shape, data: tensor.dataSync() as AnyTypedArray })
}

/**
 * What `tf.tensor(values, shape, dtype)` takes, as an object with `dataSync()`. TensorFlow.js has float32, int32, bool and
 * complex64; other dtypes are `InvalidInput`. It makes a complex64 by `tf.complex(real, imaginary)` only: here the two come
 * in turn.
 *
 * @example
 * ```ts
 * import * as tf from "@tensorflow/tfjs"
 * import { Tensor } from "effect-kpu"
 *
 * const { dataSync, shape, dtype } = Tensor.toTfjs(Tensor.randn([2, 3]))
 * const input = tf.tensor(dataSync(), [...shape], dtype)
 * ```
 */
export const toTfjs = (
  tensor: Tensor
): {
  readonly dtype: TfjsType
  readonly shape: ReadonlyArray<number>
  readonly dataSync: () => TypedArrayOf<TfjsType>
} => {
  const { dtype, shape } = tensor
  if (!isTfjsType(dtype))
    throw new InvalidInput({ field: "dtype", problem: `TensorFlow.js has no tensors of ${dtype}` })
  return { dtype, shape, dataSync: () => toTypedArray(tensor as Tensor<TfjsType>) }
}
