/**
 * A tensor: a dtype, a shape, and exactly the bytes of its elements, row-major, contiguous, little-endian.
 *
 * **Details**
 *
 * A tensor does not copy the memory that it is made of: whoever owns that memory stops writing to it. Everything else
 * about a tensor is frozen. Two tensors are equal (`Tensor.equals`, `Equal.equals`) when dtype, shape and every byte are:
 * NaN equals the same NaN, and −0 differs from 0.
 *
 * **Gotchas**
 *
 * `toTypedArray` is a view of the tensor's own memory where its alignment allows, and a copy where it does not.
 * Typed arrays use the byte order of the machine: big-endian machines are not supported.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import type { Inspectable } from "effect/Inspectable"
import { NodeInspectSymbol } from "effect/Inspectable"
import { type AnyTypedArray, type DType, dtypeInfo, isDType, type TypedArrayOf } from "./DType.ts"
import { InvalidInput } from "./KpuError.ts"
import { formatElements, typedArrayOf } from "./TensorReading.ts"

const TypeId = "~effect-kpu/Tensor"

/** A tensor. */
export interface Tensor<out D extends DType = DType> extends Inspectable, Equal.Equal {
  readonly [TypeId]: typeof TypeId
  /** PyTorch's name without `torch.`: `"float32"`, `"bfloat16"`, `"bool"`, … */
  readonly dtype: D
  /** The size of each dimension; `[]` for a scalar. */
  readonly shape: ReadonlyArray<number>
  /** The elements: exactly numel × itemsize bytes, little-endian, row-major. Not to be written to. */
  readonly data: Uint8Array
}

class TensorImpl<D extends DType> implements Tensor<D> {
  readonly [TypeId]: typeof TypeId = TypeId
  readonly dtype: D
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array

  constructor(dtype: D, shape: ReadonlyArray<number>, data: Uint8Array) {
    this.dtype = dtype
    this.shape = shape
    this.data = data
    Object.freeze(this)
  }
  [Equal.symbol](that: unknown): boolean {
    return isTensor(that) && equals(this, that)
  }
  [Hash.symbol](): number {
    return hashTensor(this)
  }
  /** `Tensor float32 [2, 2] [[1, 2], [3, 4]]`; large ones are shortened. */
  toString(): string {
    return `Tensor ${this.dtype} [${this.shape.join(", ")}] ${formatElements(this)}`
  }
  /** What structured logs hold: dtype, shape and size, never the elements. */
  toJSON(): unknown {
    return { _id: "Tensor", dtype: this.dtype, shape: this.shape, byteLength: this.data.byteLength }
  }
  [NodeInspectSymbol](): unknown {
    return this.toString()
  }
}

/**
 * Whether a value is a tensor.
 *
 * @example `Tensor.isTensor(Tensor.zeros([2, 3])) // true`
 */
export const isTensor = (value: unknown): value is Tensor =>
  typeof value === "object" && value !== null && TypeId in value

/** What a tensor is made of. */
export interface TensorInput<D extends DType = DType> {
  readonly dtype: D
  readonly shape: ReadonlyArray<number>
  /** The elements' bytes, or a typed array of the dtype's own class. */
  readonly data: AnyTypedArray | ArrayBufferLike
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

const show = (value: unknown): string => (typeof value === "string" ? JSON.stringify(value) : String(value))

/** The number of elements of a shape, or why it is none. */
const checkShape = (shape: unknown): number | string => {
  if (!Array.isArray(shape)) return "must be an array of sizes, such as [100, 100]"
  let numel = 1
  let nonZero = 1
  for (let axis = 0; axis < shape.length; axis++) {
    const size: unknown = shape[axis]
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
      return `size ${axis} is ${show(size)}; sizes are whole numbers from 0`
    }
    numel *= size
    // A zero must not hide sizes that overflow: PyTorch computes strides from them.
    nonZero *= Math.max(size, 1)
    if (!Number.isSafeInteger(nonZero)) return `[${shape.join(", ")}] has more elements than can be counted`
  }
  return numel
}

/** The number of elements of a shape. Throws `InvalidInput` for what is no shape. */
export const numelOf = (shape: ReadonlyArray<number>): number => {
  const numel = checkShape(shape)
  if (typeof numel === "string") throw new InvalidInput({ field: "shape", problem: numel })
  return numel
}

const bytesOf = (info: ReturnType<typeof dtypeInfo>, data: unknown): Uint8Array | string => {
  if (data instanceof Uint8Array) {
    return data.constructor === Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  }
  if (ArrayBuffer.isView(data)) {
    const name = data.constructor.name
    const fits =
      name === info.array.name ||
      (name === "Uint8ClampedArray" && info.name === "uint8") ||
      // Raw bits, where the view is of numbers.
      (name === "Uint16Array" && (info.name === "float16" || info.name === "complex32"))
    if (!fits) {
      return `a ${name} does not hold ${info.name}; give a ${info.array.name}, or the bytes as a Uint8Array`
    }
    if (!littleEndian && info.unit > 1) return "typed arrays of this big-endian machine are not supported"
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  }
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  if (typeof SharedArrayBuffer !== "undefined" && data instanceof SharedArrayBuffer) return new Uint8Array(data)
  return "must be bytes (Uint8Array, ArrayBuffer) or a typed array; nested arrays go through Tensor.fromArray"
}

const build = <D extends DType>(input: TensorInput<D>): Tensor<D> | InvalidInput => {
  const { data, dtype, shape } = input
  if (!isDType(dtype)) {
    return new InvalidInput({ field: "dtype", problem: `${show(dtype)} is no dtype; it is a name such as "float32"` })
  }
  const numel = checkShape(shape)
  if (typeof numel === "string") return new InvalidInput({ field: "shape", problem: numel })
  const info = dtypeInfo(dtype)
  const bytes = bytesOf(info, data)
  if (typeof bytes === "string") return new InvalidInput({ field: "data", problem: bytes })
  const expected = numel * info.itemsize
  if (bytes.byteLength !== expected) {
    return new InvalidInput({
      field: "data",
      problem: `${dtype} of shape [${shape.join(", ")}] is ${expected} bytes; the data has ${bytes.byteLength}`
    })
  }
  return new TensorImpl(dtype, Object.freeze(shape.slice()), bytes)
}

/**
 * A tensor over memory that is given, without copying it. Throws `InvalidInput`, naming `dtype`, `shape` or `data`.
 *
 * @example
 * ```ts
 * import { Tensor } from "effect-kpu"
 *
 * const tensor = Tensor.make({ dtype: "float32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) })
 * ```
 */
export const make = <const D extends DType>(input: TensorInput<D>): Tensor<D> => {
  const tensor = build(input)
  if (tensor instanceof InvalidInput) throw tensor
  return tensor
}

/**
 * As `make`, for input that is not trusted: fails with `InvalidInput`.
 *
 * @example `yield* Tensor.makeEffect({ dtype, shape, data })`
 */
export const makeEffect = <const D extends DType>(input: TensorInput<D>): Effect.Effect<Tensor<D>, InvalidInput> =>
  Effect.suspend(() => {
    const tensor = build(input)
    return tensor instanceof InvalidInput ? Effect.fail(tensor) : Effect.succeed(tensor)
  })

/**
 * A tensor of zeros; float32 unless told otherwise.
 *
 * @example `Tensor.zeros([3, 3], { dtype: "int64" })`
 */
export const zeros = <const D extends DType = "float32">(
  shape: ReadonlyArray<number>,
  options?: { readonly dtype?: D | undefined }
): Tensor<D> => {
  const dtype = options?.dtype ?? ("float32" as D)
  return make({ dtype, shape, data: allocateElements(dtype, shape) })
}

/** Zeroed memory for a new tensor; `InvalidInput` for a dtype or a shape that is none, or more than there is memory for. */
export const allocateElements = (dtype: DType, shape: ReadonlyArray<number>): Uint8Array => {
  const empty = build({ dtype, shape: [0], data: new Uint8Array(0) })
  if (empty instanceof InvalidInput) throw empty
  const size = numelOf(shape) * dtypeInfo(dtype).itemsize
  try {
    return new Uint8Array(size)
  } catch {
    throw new InvalidInput({
      field: "shape",
      problem: `[${shape.join(", ")}] of ${dtype} is ${size} bytes, more than this process can allocate`
    })
  }
}

/**
 * A tensor of a typed array's own dtype, over its memory; one-dimensional unless a shape is given.
 *
 * @example `Tensor.fromTypedArray(new Int32Array([1, 2, 3, 4]), [2, 2])`
 */
export const fromTypedArray = (array: AnyTypedArray, shape?: ReadonlyArray<number>): Tensor => {
  const dtype = ArrayBuffer.isView(array)
    ? dtypeOfArray[array.constructor.name === "Buffer" ? "Uint8Array" : array.constructor.name]
    : undefined
  if (dtype === undefined) throw new InvalidInput({ field: "data", problem: "must be a typed array" })
  return make({ dtype, shape: shape ?? [array.length], data: array })
}

const dtypeOfArray: { readonly [name: string]: DType } = {
  Float64Array: "float64",
  Float32Array: "float32",
  Float16Array: "float16",
  Int8Array: "int8",
  Int16Array: "int16",
  Int32Array: "int32",
  BigInt64Array: "int64",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
  Uint16Array: "uint16",
  Uint32Array: "uint32",
  BigUint64Array: "uint64"
}

/**
 * The elements as the typed array of the dtype: a view of the tensor's memory, or a copy where that is not aligned.
 * bfloat16, float8 (and float16 before Node 24) come as raw bits, complex dtypes as real and imaginary in turn.
 *
 * @example `Tensor.toTypedArray(tensor)[0]`
 */
export const toTypedArray = <D extends DType>(tensor: Tensor<D>): TypedArrayOf<D> => typedArrayOf(tensor)

/**
 * The number of elements.
 *
 * @example `Tensor.numel(Tensor.zeros([2, 3])) // 6`
 */
export const numel = (tensor: Tensor): number => tensor.data.byteLength / dtypeInfo(tensor.dtype).itemsize

/**
 * Whether dtype, shape and every byte are the same.
 *
 * @example `Tensor.equals(sent, echoed)`
 */
export const equals = (self: Tensor, that: Tensor): boolean =>
  self === that ||
  (self.dtype === that.dtype &&
    self.shape.length === that.shape.length &&
    self.shape.every((size, axis) => size === that.shape[axis]) &&
    bytesEqual(self.data, that.data))

const bytesEqual = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.byteLength !== b.byteLength) return false
  let index = 0
  if (a.byteOffset % 8 === 0 && b.byteOffset % 8 === 0) {
    const words = Math.floor(a.byteLength / 8)
    // Float64Array would call NaNs different; two 32-bit words are as fast and exact.
    const left = new Int32Array(a.buffer, a.byteOffset, words * 2)
    const right = new Int32Array(b.buffer, b.byteOffset, words * 2)
    for (let word = 0; word < left.length; word++) if (left[word] !== right[word]) return false
    index = words * 8
  }
  for (; index < a.byteLength; index++) if (a[index] !== b[index]) return false
  return true
}

// A hash needs no more than this: equality looks at everything.
const hashedBytes = 512

const hashTensor = (tensor: Tensor): number => {
  const { data } = tensor
  let hash = 0x811c9dc5
  const mix = (start: number, end: number) => {
    for (let index = start; index < end; index++) hash = Math.imul(hash ^ data[index]!, 0x01000193)
  }
  mix(0, Math.min(hashedBytes, data.byteLength))
  mix(Math.max(hashedBytes, data.byteLength - hashedBytes), data.byteLength)
  return Hash.combine(Hash.string(`${tensor.dtype}[${tensor.shape.join()}]`), Hash.optimize(hash))
}
