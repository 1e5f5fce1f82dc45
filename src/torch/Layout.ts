/**
 * From a tensor's place in its storage (offset, sizes, strides, byte order, lazy conjugation and negation) to contiguous
 * little-endian elements: a view where the storage has them so, otherwise one copy.
 */
import { dtypeInfo } from "../schema/DType.ts"
import { make, type Tensor } from "../schema/Tensor.ts"
import type { TensorRef } from "./Unpickler.ts"
import { quote, refuse, type Work } from "./Work.ts"

/** Where a tensor's elements are in its storage. */
export interface Extent {
  /** The bytes of the tensor. */
  readonly byteLength: number
  /** The range of the storage's bytes that it touches. */
  readonly start: number
  readonly end: number
  /** Whether the range is the elements, in order. */
  readonly contiguous: boolean
}

/** Checks a tensor's sizes and strides against its storage. Throws `TensorDecodeError`. */
export const extentOf = (ref: TensorRef, where: string): Extent => {
  const { itemsize } = dtypeInfo(ref.dtype)
  const storageBytes = ref.storage.numel * (ref.storage.info === undefined ? 1 : itemsize)
  let numel = 1
  let nonZero = 1
  let last = ref.offset
  let expected = 1
  let contiguous = true
  for (let axis = ref.shape.length - 1; axis >= 0; axis--) {
    const size = ref.shape[axis]!
    const stride = ref.strides[axis]!
    numel *= size
    nonZero *= Math.max(size, 1)
    if (size > 1) {
      if (stride !== expected) contiguous = false
      last += (size - 1) * stride
    }
    expected *= Math.max(size, 1)
    if (!Number.isSafeInteger(nonZero * itemsize) || !Number.isSafeInteger(last)) {
      return refuse(where, `sizes [${ref.shape.join(", ")}] and strides [${ref.strides.join(", ")}] overflow`)
    }
  }
  if (numel === 0) return { byteLength: 0, start: 0, end: 0, contiguous: true }
  const end = (last + 1) * itemsize
  if (!(end <= storageBytes)) {
    return refuse(
      where,
      `reaches element ${last} of storage ${quote(ref.storage.key)}, which has ${Math.floor(storageBytes / itemsize)}`
    )
  }
  return { byteLength: numel * itemsize, start: ref.offset * itemsize, end, contiguous }
}

/** How the elements are stored. */
export interface Stored {
  readonly bigEndian: boolean
  readonly maxTensorBytes: number
  readonly work: Work
}

/**
 * The tensor of a reference. `bytes` are those of the storage from `extent.start` to `extent.end`; the tensor is a view of
 * them where nothing has to be done to them.
 */
export const materialize = (
  ref: TensorRef,
  extent: Extent,
  bytes: Uint8Array,
  where: string,
  stored: Stored
): Tensor => {
  const { itemsize, unit } = dtypeInfo(ref.dtype)
  const swap = stored.bigEndian && unit > 1
  if (extent.contiguous && !swap && !ref.conj && !ref.neg) {
    return make({ dtype: ref.dtype, shape: ref.shape, data: bytes })
  }
  if (extent.byteLength > stored.maxTensorBytes) {
    return refuse(
      where,
      `is ${extent.byteLength} bytes when its strides are resolved; the limit maxTensorBytes is ${stored.maxTensorBytes}`
    )
  }
  stored.work.bytes += extent.byteLength
  stored.work.allocated += extent.byteLength
  const data = allocate(extent.byteLength, where)
  if (extent.contiguous) data.set(bytes)
  else gather(bytes, data, ref.shape, ref.strides, itemsize)
  if (swap) swapBytes(data, unit)
  const negateReal = ref.neg
  // Negating a conjugated number negates the real part and, twice, the imaginary one.
  const negateImaginary = ref.neg !== ref.conj
  if (negateReal || negateImaginary) {
    const complex = itemsize !== unit
    for (let at = unit - 1, part = 0; at < data.byteLength; at += unit, part ^= 1) {
      if (complex && part === 1 ? negateImaginary : negateReal) data[at]! ^= 0x80
    }
  }
  return make({ dtype: ref.dtype, shape: ref.shape, data })
}

const allocate = (size: number, where: string): Uint8Array => {
  try {
    return new Uint8Array(size)
  } catch {
    return refuse(where, `is ${size} bytes when its strides are resolved, more than this process can allocate`)
  }
}

const swapBytes = (data: Uint8Array, unit: number): void => {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (unit === 2) buffer.swap16()
  else if (unit === 4) buffer.swap32()
  else buffer.swap64()
}

type Words = Uint8Array | Uint16Array | Uint32Array

/** Copies strided elements, in row-major order. */
const gather = (
  bytes: Uint8Array,
  out: Uint8Array,
  shape: ReadonlyArray<number>,
  strides: ReadonlyArray<number>,
  itemsize: number
): void => {
  // Dimensions of one element do not count, and neighbours that step evenly are one.
  const sizes: Array<number> = []
  const steps: Array<number> = []
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis]!
    const stride = strides[axis]!
    if (size === 1) continue
    const top = sizes.length - 1
    if (top >= 0 && steps[top] === stride * size) {
      sizes[top]! *= size
      steps[top] = stride
    } else {
      sizes.push(size)
      steps.push(stride)
    }
  }
  let inner = sizes.pop() ?? 1
  let step = steps.pop() ?? 1
  // A last dimension that is dense is copied as one element of many words.
  let run = 1
  if (step === 1) {
    run = inner
    inner = sizes.pop() ?? 1
    step = steps.pop() ?? 0
  }
  const runBytes = run * itemsize
  const word =
    bytes.byteOffset % 4 === 0 && runBytes % 4 === 0 ? 4 : bytes.byteOffset % 2 === 0 && runBytes % 2 === 0 ? 2 : 1
  // A step counts elements; a word divides an element, or the element is a part of a word only where runs are aligned.
  const scale = itemsize / word
  if (!Number.isInteger(scale)) return gatherBytes(bytes, out, sizes, steps, inner, step, run, itemsize)
  const words = (array: Uint8Array): Words =>
    word === 4
      ? new Uint32Array(array.buffer, array.byteOffset, array.byteLength >>> 2)
      : word === 2
        ? new Uint16Array(array.buffer, array.byteOffset, array.byteLength >>> 1)
        : array
  copy(
    words(bytes),
    words(out),
    sizes,
    steps.map((each) => each * scale),
    inner,
    step * scale,
    run * scale
  )
}

const gatherBytes = (
  bytes: Uint8Array,
  out: Uint8Array,
  sizes: ReadonlyArray<number>,
  steps: ReadonlyArray<number>,
  inner: number,
  step: number,
  run: number,
  itemsize: number
): void =>
  copy(
    bytes,
    out,
    sizes,
    steps.map((each) => each * itemsize),
    inner,
    step * itemsize,
    run * itemsize
  )

/** Transposed elements are copied in squares of this side, whose cache lines are used before they are lost: twice as fast. */
const tile = 16

const copy = (
  from: Words,
  to: Words,
  sizes: ReadonlyArray<number>,
  steps: ReadonlyArray<number>,
  inner: number,
  step: number,
  run: number
): void => {
  let outer = sizes.length
  const rows = outer > 0 ? sizes[outer - 1]! : 1
  const rowStep = outer > 0 ? steps[outer - 1]! : 0
  const transposed = run === 1 && rowStep < step
  if (transposed && outer > 0) outer--
  const index = new Array<number>(outer).fill(0)
  let source = 0
  let at = 0
  for (;;) {
    if (transposed) {
      copyTransposed(from, to, source, at, rows, rowStep, inner, step)
      at += rows * inner
    } else if (run === 1) {
      for (let item = 0, read = source; item < inner; item++, read += step) to[at++] = from[read]!
    } else if (run < 32) {
      for (let item = 0, read = source; item < inner; item++, read += step) {
        for (let word = 0; word < run; word++) to[at++] = from[read + word]!
      }
    } else {
      for (let item = 0, read = source; item < inner; item++, read += step) {
        to.set(from.subarray(read, read + run), at)
        at += run
      }
    }
    let axis = outer - 1
    for (; axis >= 0; axis--) {
      source += steps[axis]!
      if (++index[axis]! < sizes[axis]!) break
      source -= steps[axis]! * sizes[axis]!
      index[axis] = 0
    }
    if (axis < 0) return
  }
}

const copyTransposed = (
  from: Words,
  to: Words,
  source: number,
  at: number,
  rows: number,
  rowStep: number,
  columns: number,
  step: number
): void => {
  for (let top = 0; top < rows; top += tile) {
    const bottom = Math.min(top + tile, rows)
    for (let left = 0; left < columns; left += tile) {
      const width = Math.min(tile, columns - left)
      for (let row = top; row < bottom; row++) {
        let read = source + row * rowStep + left * step
        const start = at + row * columns + left
        for (let write = start; write < start + width; write++) {
          to[write] = from[read]!
          read += step
        }
      }
    }
  }
}
