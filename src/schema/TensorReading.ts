/**
 * Elements read from a tensor's bytes: as the dtype's typed array, one by one, and as text. Nothing here makes a tensor.
 */
import { type DType, dtypeInfo, hasFloat16Array, type TypedArrayOf } from "./DType.ts"
import { float8Values, fromBFloat16Bits, fromFloat16Bits } from "./TensorFloats.ts"

/** What is read: a tensor, or what will be one. */
export interface Elements<D extends DType = DType> {
  readonly dtype: D
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}

/** One element: `[re, im]` for complex dtypes. */
export type TensorElement = number | bigint | boolean | readonly [re: number, im: number]

/** The typed array of the dtype: a view of the bytes, or a copy where they are not aligned. */
export const typedArrayOf = <D extends DType>(tensor: Elements<D>): TypedArrayOf<D> => {
  const { array } = dtypeInfo(tensor.dtype)
  const size = array.BYTES_PER_ELEMENT
  const data = tensor.data.byteOffset % size === 0 ? tensor.data : tensor.data.slice()
  return new array(data.buffer, data.byteOffset, data.byteLength / size) as TypedArrayOf<D>
}

/** Reads the numbers of a real dtype, or of a complex one's parts, from its typed array. */
export const numberReader = (dtype: DType): ((bits: number) => number) | undefined => {
  switch (dtype) {
    case "bfloat16":
      return fromBFloat16Bits
    case "float16":
    case "complex32":
      return hasFloat16Array ? undefined : fromFloat16Bits
    case "float8_e4m3fn":
    case "float8_e5m2":
    case "float8_e4m3fnuz":
    case "float8_e5m2fnuz":
    case "float8_e8m0fnu": {
      const values = float8Values(dtype)
      return (bits) => values[bits]!
    }
    default:
      return undefined
  }
}

/** Reads elements by their row-major index. */
export const elementReader = (tensor: Elements): ((index: number) => TensorElement) => {
  const array = typedArrayOf(tensor) as ArrayLike<number | bigint>
  const { kind } = dtypeInfo(tensor.dtype)
  if (kind === "bool") return (index) => array[index] !== 0
  const read = numberReader(tensor.dtype)
  const part = read === undefined ? (index: number) => array[index]! : (index: number) => read(array[index] as number)
  if (kind !== "complex") return part
  return (index) => [part(index * 2) as number, part(index * 2 + 1) as number]
}

/** Above this many elements only the first and last three of each dimension are shown, as PyTorch does. */
const fullPrint = 1000
const edge = 3

const formatElement = (element: TensorElement): string => {
  if (typeof element === "object") {
    const [re, im] = element
    return `${formatElement(re)}${im < 0 || Object.is(im, -0) ? "-" : "+"}${formatElement(Math.abs(im))}i`
  }
  if (typeof element !== "number") return String(element)
  return Object.is(element, -0)
    ? "-0"
    : Number.isInteger(element)
      ? String(element)
      : String(Number(element.toPrecision(5)))
}

/** The elements as text; large tensors are shortened. */
export const formatElements = (tensor: Elements): string => {
  const read = elementReader(tensor)
  const { shape } = tensor
  const total = shape.reduce((product, size) => product * size, 1)
  const format = (axis: number, start: number, count: number): string => {
    if (axis === shape.length) return formatElement(read(start))
    const size = shape[axis]!
    const step = size === 0 ? 0 : count / size
    const items: Array<string> = []
    for (let index = 0; index < size; index++) {
      if (total > fullPrint && size > 2 * edge && index === edge) {
        items.push("…")
        index = size - edge
      }
      items.push(format(axis + 1, start + index * step, step))
    }
    return `[${items.join(", ")}]`
  }
  // A shape of many ones and one zero has nothing to show, however deep it nests.
  return total === 0 ? "[]" : format(0, 0, total)
}
