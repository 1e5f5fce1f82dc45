/**
 * Tensors to and from the objects that other libraries hold: `{ dims, type, data }` as ONNX Runtime's `Tensor`, and
 * `{ shape, dtype, dataSync() }` as TensorFlow.js's. Neither library is needed: the objects are taken by their form.
 *
 * **Gotchas**
 *
 * As everywhere, the memory is shared, not copied: a buffer that the other library writes to again must be copied first.
 */
import type { AnyTypedArray, DType } from "./DType.ts"
import { InvalidInput } from "./KpuError.ts"
import { make, type Tensor, toTypedArray } from "./Tensor.ts"

/** What ONNX Runtime's `Tensor` looks like. */
export interface OnnxTensor {
  readonly type: string
  readonly dims: ReadonlyArray<number>
  readonly data: AnyTypedArray
}

const onnxTypes = new Set<string>([
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
] satisfies Array<DType>)

/**
 * A tensor of ONNX Runtime's.
 *
 * @example `const tensor = Tensor.fromOnnx(results.output)`
 */
export const fromOnnx = ({ data, dims, type }: OnnxTensor): Tensor => {
  if (!onnxTypes.has(type)) throw new InvalidInput({ field: "type", problem: `${type} has no dtype of plain elements` })
  return make({ dtype: type as DType, shape: dims, data })
}

/**
 * What ONNX Runtime's constructor takes. bfloat16, float8 and complex dtypes are `InvalidInput`: it has none of them.
 *
 * @example
 * ```ts
 * const { type, data, dims } = Tensor.toOnnx(tensor)
 * const input = new ort.Tensor(type, data, dims)
 * ```
 */
export const toOnnx = (tensor: Tensor): OnnxTensor => {
  if (!onnxTypes.has(tensor.dtype)) {
    throw new InvalidInput({ field: "dtype", problem: `ONNX Runtime has no tensors of ${tensor.dtype}` })
  }
  return { type: tensor.dtype, dims: tensor.shape, data: toTypedArray(tensor) }
}

/** What TensorFlow.js's `Tensor` looks like, as far as it is needed here. */
export interface TfjsTensor {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  dataSync(): unknown
}

const tfjsTypes = new Set<string>(["float32", "int32", "bool", "complex64"] satisfies Array<DType>)

/**
 * A tensor of TensorFlow.js's, whose elements are fetched with `dataSync()`.
 *
 * @example `const tensor = Tensor.fromTfjs(tf.tensor([1, 2, 3]))`
 */
export const fromTfjs = (tensor: TfjsTensor): Tensor => {
  const { dtype, shape } = tensor
  if (!tfjsTypes.has(dtype))
    throw new InvalidInput({ field: "dtype", problem: `${dtype} has no dtype of plain elements` })
  return make({ dtype: dtype as DType, shape, data: tensor.dataSync() as AnyTypedArray })
}

/**
 * What `tf.tensor(values, shape, dtype)` takes, as an object with `dataSync()`. TensorFlow.js has float32, int32, bool and
 * complex64; other dtypes are `InvalidInput`.
 *
 * @example
 * ```ts
 * const { dataSync, shape, dtype } = Tensor.toTfjs(tensor)
 * const input = tf.tensor(dataSync(), [...shape], dtype)
 * ```
 */
export const toTfjs = (
  tensor: Tensor
): {
  readonly dtype: "float32" | "int32" | "bool" | "complex64"
  readonly shape: ReadonlyArray<number>
  readonly dataSync: () => AnyTypedArray
} => {
  if (!tfjsTypes.has(tensor.dtype)) {
    throw new InvalidInput({ field: "dtype", problem: `TensorFlow.js has no tensors of ${tensor.dtype}` })
  }
  return {
    dtype: tensor.dtype as "float32" | "int32" | "bool" | "complex64",
    shape: tensor.shape,
    dataSync: () => toTypedArray(tensor)
  }
}
