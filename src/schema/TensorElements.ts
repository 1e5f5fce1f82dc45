/**
 * The elements of a tensor as JavaScript values: numbers, bigints for the 64-bit integers, booleans, `[re, im]` pairs; one
 * by one, as nested arrays, or converted to a typed array of numbers.
 */
import { type DType, dtypeInfo, hasFloat16Array, isDType } from "./DType.ts"
import { InvalidInput } from "./KpuError.ts"
import { allocateElements, make, type Tensor, toTypedArray } from "./Tensor.ts"
import { float8Encoder, toBFloat16Bits, toFloat16Bits } from "./TensorFloats.ts"
import { elementReader, numberReader, type TensorElement } from "./TensorReading.ts"

/** Elements nested as deep as the tensor has dimensions; a scalar is the element itself. */
export type NestedArray = TensorElement | ReadonlyArray<NestedArray>

/** Turns a number into what the dtype's typed array holds. */
const numberWriter = (dtype: DType): ((value: number) => number) | undefined => {
  switch (dtype) {
    case "bfloat16":
      return toBFloat16Bits
    case "float16":
    case "complex32":
      return hasFloat16Array ? Math.fround : toFloat16Bits
    case "float8_e4m3fn":
    case "float8_e5m2":
    case "float8_e4m3fnuz":
    case "float8_e5m2fnuz":
    case "float8_e8m0fnu":
      return float8Encoder(dtype)
    default:
      return undefined
  }
}

/**
 * The elements as nested arrays.
 *
 * @example `Tensor.toNestedArray(Tensor.zeros([2, 2])) // [[0, 0], [0, 0]]`
 */
export const toNestedArray = (tensor: Tensor): NestedArray => {
  const read = elementReader(tensor)
  const { shape } = tensor
  if (tensor.data.byteLength === 0) checkEmpty(shape)
  let next = 0
  const nest = (axis: number): NestedArray => {
    if (axis === shape.length) return read(next++)
    const out: Array<NestedArray> = []
    for (let index = 0; index < shape[axis]!; index++) out.push(nest(axis + 1))
    return out
  }
  return nest(0)
}

/** The most arrays that are made of a tensor without elements: its bytes do not bound them. */
const maxEmptyArrays = 2 ** 20

const checkEmpty = (shape: ReadonlyArray<number>): void => {
  let arrays = 1
  let deepest = 1
  for (const size of shape.slice(0, shape.indexOf(0))) {
    deepest *= size
    arrays += deepest
  }
  if (arrays > maxEmptyArrays) {
    throw new InvalidInput({
      field: "shape",
      problem: `[${shape.join(", ")}] has no elements, and would be ${arrays} arrays; ${maxEmptyArrays} are the most`
    })
  }
}

/** How `fromArray` is told what to make. */
export interface FromArrayOptions<D extends DType = DType> {
  /** By default `bool` for booleans, `int64` for bigints, and `float32` for numbers. */
  readonly dtype?: D | undefined
}

/**
 * A tensor of nested arrays, whose nesting is the shape. Numbers are rounded to the dtype; what an integer dtype cannot
 * hold is `InvalidInput`. For complex dtypes the innermost arrays are `[re, im]` pairs.
 *
 * @example
 * ```ts
 * import { Tensor } from "effect-kpu"
 *
 * Tensor.fromArray([[1, 2], [3, 4]])
 * Tensor.fromArray([1n, 2n], { dtype: "int64" })
 * Tensor.fromArray([[0, 1], [1, 0]], { dtype: "complex64" }) // i and 1
 * ```
 */
export const fromArray = <const D extends DType = DType>(
  array: NestedArray,
  options?: FromArrayOptions<D>
): Tensor<D> => {
  const shape: Array<number> = []
  let level: NestedArray = array
  while (Array.isArray(level)) {
    if (shape.length === maxNesting) throw new InvalidInput({ field: "data", problem: "is nested too deep" })
    shape.push(level.length)
    level = level[0] as NestedArray
  }
  const dtype = options?.dtype ?? (inferDType(level) as D)
  const complex = isDType(dtype) && dtypeInfo(dtype).kind === "complex"
  const full = shape.slice()
  if (complex && shape.pop() !== 2) {
    throw new InvalidInput({ field: "data", problem: `the innermost arrays of ${dtype} must be [re, im] pairs` })
  }
  const tensor = make({ dtype, shape, data: allocateElements(dtype, shape) })
  const write = elementWriter(tensor)
  let next = 0
  const fill = (value: NestedArray, axis: number): void => {
    if (axis === full.length) {
      write(next++, value)
      return
    }
    if (!Array.isArray(value) || value.length !== full[axis]) {
      throw new InvalidInput({
        field: "data",
        problem: `is ragged: dimension ${axis} is ${full[axis]} long in one place and not in another`
      })
    }
    for (let index = 0; index < value.length; index++) fill(value[index], axis + 1)
  }
  fill(array, 0)
  return tensor
}

const maxNesting = 64

const inferDType = (element: unknown): DType =>
  typeof element === "boolean" ? "bool" : typeof element === "bigint" ? "int64" : "float32"

/** Writes elements (of complex dtypes: parts) into a tensor that nobody else has seen yet. */
const elementWriter = (tensor: Tensor): ((index: number, value: unknown) => void) => {
  const { dtype } = tensor
  const { itemsize, kind } = dtypeInfo(dtype)
  const array = toTypedArray(tensor)
  const bad = (value: unknown): never => {
    const kind = Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`
    const shown = typeof value === "number" || typeof value === "bigint" ? value : kind
    throw new InvalidInput({ field: "data", problem: `${shown} is not an element of a ${dtype} tensor` })
  }
  if (array instanceof BigInt64Array || array instanceof BigUint64Array) {
    const [low, high] = kind === "int" ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n]
    return (index, value) => {
      if (typeof value === "number" && !Number.isSafeInteger(value)) bad(value)
      const whole =
        typeof value === "bigint" ? value : typeof value === "number" ? BigInt(value) : (bad(value) as never)
      if (whole < low || whole > high) bad(value)
      array[index] = whole
    }
  }
  const numbers = array as { [index: number]: number }
  if (kind === "bool") {
    return (index, value) => {
      if (typeof value === "boolean") numbers[index] = value ? 1 : 0
      else if (value === 0 || value === 1) numbers[index] = value
      else bad(value)
    }
  }
  if (kind === "int" || kind === "uint") {
    const bits = itemsize * 8
    const low = kind === "int" ? -(2 ** (bits - 1)) : 0
    const high = kind === "int" ? 2 ** (bits - 1) - 1 : 2 ** bits - 1
    return (index, value) => {
      const number = typeof value === "bigint" ? Number(value) : value
      if (typeof number !== "number" || !Number.isInteger(number) || number < low || number > high) bad(value)
      numbers[index] = number as number
    }
  }
  const write = numberWriter(dtype)
  return (index, value) => {
    if (typeof value !== "number") bad(value)
    numbers[index] = write === undefined ? (value as number) : write(value as number)
  }
}

const toNumbers = <A extends Float32Array | Float64Array>(
  tensor: Tensor,
  make: (length: number) => A,
  own: new (...args: any) => A
): A => {
  const array = toTypedArray(tensor) as ArrayLike<number | bigint>
  if (array instanceof own) return array.slice() as A
  const out = make(array.length)
  const read = numberReader(tensor.dtype)
  if (read !== undefined) for (let index = 0; index < out.length; index++) out[index] = read(array[index] as number)
  else for (let index = 0; index < out.length; index++) out[index] = Number(array[index])
  return out
}

/**
 * The elements of any dtype as numbers, rounded to float32: a copy. Complex dtypes give real and imaginary in turn.
 *
 * @example `Tensor.toFloat32Array(bfloat16Tensor)`
 */
export const toFloat32Array = (tensor: Tensor): Float32Array =>
  toNumbers(tensor, (length) => new Float32Array(length), Float32Array)

/**
 * The elements of any dtype as numbers: a copy, exact for all but 64-bit integers above 2^53. Complex dtypes give real and
 * imaginary in turn.
 *
 * @example `Tensor.toFloat64Array(tensor).reduce((a, b) => a + b)`
 */
export const toFloat64Array = (tensor: Tensor): Float64Array =>
  toNumbers(tensor, (length) => new Float64Array(length), Float64Array)

/**
 * A tensor of any dtype from numbers, rounded to it; complex dtypes take real and imaginary in turn.
 *
 * @example `Tensor.fromNumbers([1, 2.5, 3], { dtype: "bfloat16", shape: [3] })`
 */
export const fromNumbers = <const D extends DType>(
  numbers: ArrayLike<number>,
  options: { readonly dtype: D; readonly shape: ReadonlyArray<number> }
): Tensor<D> => {
  const { dtype, shape } = options
  const tensor = make({ dtype, shape, data: allocateElements(dtype, shape) })
  const parts = toTypedArray(tensor).length
  if (numbers.length !== parts) {
    throw new InvalidInput({
      field: "data",
      problem: `${dtype} of shape [${shape.join(", ")}] takes ${parts} numbers; there are ${numbers.length}`
    })
  }
  const write = elementWriter(tensor)
  for (let index = 0; index < parts; index++) write(index, numbers[index])
  return tensor
}
