/**
 * NumPy's `.npy` files: one array each.
 *
 * **Details**
 *
 * Read are versions 1 to 3, either byte order, C and Fortran order; written is version 1.0, little-endian, C order. Arrays
 * of Python objects, of records and of text are refused: this package runs no pickles and has no such tensors. bfloat16,
 * the float8 family and complex32 have no NumPy dtype and cannot be written.
 *
 * Source: the specification in `numpy.lib.format`. (There are packages that read `.npy`; none that was found writes it,
 * checks what it reads, and has the 64-bit and complex dtypes.)
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type DType, dtypeInfo } from "../schema/DType.ts"
import { InvalidInput, type TensorDecodeError } from "../schema/KpuError.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { type DecodeOptions, defaultMaxTensorBytes } from "../torch/Decoder.ts"
import { extentOf, materialize } from "../torch/Layout.ts"
import { contiguousStrides } from "../torch/Pickler.ts"
import { maxRank, StorageRef, TensorRef } from "../torch/Unpickler.ts"
import { makeWork, quote, refuse } from "../torch/Work.ts"
import * as AtomicFile from "./AtomicFile.ts"
import * as ByteSource from "./ByteSource.ts"
import { type BlockOptions, blocksOf, readBlocks } from "./blocks.ts"
import { attempt, checked } from "./reading.ts"

const codes: { readonly [D in DType]?: string } = {
  float64: "f8",
  float32: "f4",
  float16: "f2",
  int8: "i1",
  int16: "i2",
  int32: "i4",
  int64: "i8",
  uint8: "u1",
  uint16: "u2",
  uint32: "u4",
  uint64: "u8",
  bool: "b1",
  complex64: "c8",
  complex128: "c16"
}

const dtypeOfCode = new Map(Object.entries(codes).map(([dtype, code]) => [code, dtype as DType]))

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]

/** NumPy itself refuses longer headers unless told otherwise. */
const maxHeaderBytes = 64 * 1024

/** An option of reading: the most bytes that are allocated for elements that do not lie ready in the file. */
export type ReadOptions = Pick<DecodeOptions, "maxTensorBytes">

/** An open file. */
export interface NpyFile<E = PlatformError.PlatformError> {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  /** The size of the elements. */
  readonly byteLength: number
  /** Reads the tensor. */
  readonly read: Effect.Effect<Tensor, TensorDecodeError | E>
  /**
   * The elements as tensors of one dimension, a few MiB each, for an array that is larger than memory. They come in
   * row-major order; an array in Fortran order or of big-endian numbers is read whole for it.
   */
  readonly blocks: (options?: BlockOptions) => Stream.Stream<Tensor, TensorDecodeError | E>
}

/**
 * The pieces of the `.npy` file of a tensor, of which the last is the tensor's own memory. Fails with `InvalidInput` for a
 * dtype that NumPy has not.
 *
 * @example `const body = Stream.fromIterable(yield* Npy.toPieces(tensor))`
 */
export const toPieces = (tensor: Tensor): Effect.Effect<ReadonlyArray<Uint8Array>, InvalidInput> =>
  Effect.suspend(() => {
    const code = codes[tensor.dtype]
    if (code === undefined) {
      return Effect.fail(
        new InvalidInput({ field: "dtype", problem: `NumPy has no ${tensor.dtype}; convert it first` })
      )
    }
    const { data, shape } = tensor
    const order = dtypeInfo(tensor.dtype).unit === 1 ? "|" : "<"
    const sizes = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`
    const text = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': ${sizes}, }`
    // The elements begin at a multiple of 64, after a line feed.
    const head = new Uint8Array(Math.ceil((10 + text.length + 1) / 64) * 64).fill(0x20)
    head.set([...magic, 1, 0, (head.length - 10) & 255, (head.length - 10) >>> 8])
    head.set(new TextEncoder().encode(text), 10)
    head[head.length - 1] = 0x0a
    return Effect.succeed([head, data])
  })

/**
 * The bytes of the `.npy` file of a tensor. Fails with `InvalidInput` for a dtype that NumPy has not.
 *
 * @example `const bytes = yield* Npy.encode(tensor)`
 */
export const encode = (tensor: Tensor): Effect.Effect<Uint8Array, InvalidInput> =>
  Effect.map(toPieces(tensor), AtomicFile.joined)

/**
 * Writes a file from the tensor's own memory. It appears under its name when it is whole.
 *
 * @example `yield* Npy.write("weights.npy", tensor)`
 */
export const write = (
  path: string,
  tensor: Tensor
): Effect.Effect<void, InvalidInput | PlatformError.PlatformError, FileSystem.FileSystem> =>
  Effect.flatMap(toPieces(tensor), (pieces) => AtomicFile.writePieces(path, pieces))

/**
 * Reads the header of a file. A little-endian array in C order is a view of what the source gives.
 *
 * @example `const file = yield* Npy.fromSource(yield* ByteSource.open("weights.npy"))`
 */
export const fromSource = <E>(
  from: ByteSource.ByteSource<E>,
  options?: ReadOptions
): Effect.Effect<NpyFile<E>, TensorDecodeError | E> =>
  Effect.gen(function* () {
    const source = checked(from)
    const head = yield* source.read(0, Math.min(12, source.size))
    const { begin, start } = yield* attempt(() => readStart(head, source.size))
    const bytes = yield* source.read(begin, start - begin)
    const { bigEndian, extent, ref } = yield* attempt(() => readLayout(bytes, source.size - start))
    const { dtype, shape } = ref
    const read = Effect.gen(function* () {
      const elements = yield* source.read(start, extent.byteLength)
      return yield* attempt(() =>
        materialize(ref, extent, elements, where, {
          bigEndian,
          maxTensorBytes: options?.maxTensorBytes ?? defaultMaxTensorBytes,
          work: makeWork()
        })
      )
    })
    const isPlain = extent.contiguous && !(bigEndian && dtypeInfo(dtype).unit > 1)
    return {
      dtype,
      shape,
      byteLength: extent.byteLength,
      read,
      blocks: (blockOptions) =>
        isPlain
          ? readBlocks(source, { dtype, start, byteLength: extent.byteLength }, blockOptions)
          : Stream.unwrap(Effect.map(read, (tensor) => blocksOf(tensor, blockOptions)))
    }
  })

/**
 * Opens a file. It is closed with the scope.
 *
 * @example `const { shape } = yield* Npy.open("weights.npy")`
 */
export const open = (
  path: string,
  options?: ReadOptions
): Effect.Effect<NpyFile, TensorDecodeError | PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.flatMap(ByteSource.open(path), (source) => fromSource(source, options))

/**
 * The tensor in the bytes of a `.npy` file. Fails with `TensorDecodeError`. A little-endian array in C order is a view of
 * the bytes given.
 *
 * @example `const tensor = yield* Npy.decode(yield* fs.readFile("weights.npy"))`
 */
export const decode = (bytes: Uint8Array, options?: ReadOptions): Effect.Effect<Tensor, TensorDecodeError> =>
  Effect.flatMap(fromSource(ByteSource.fromBytes(bytes), options), ({ read }) => read)

const where = "npy elements"
const inHeader = "npy header"

/** Where the header begins, and where the elements do. */
const readStart = (head: Uint8Array, size: number): { readonly begin: number; readonly start: number } => {
  if (head.byteLength < 12 || !magic.every((byte, index) => head[index] === byte)) {
    return refuse("the first bytes", "are not those of a NumPy .npy file")
  }
  const version = head[6]!
  if (version < 1 || version > 3) return refuse(inHeader, `is of version ${version}; 1 to 3 are read`)
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const begin = version === 1 ? 10 : 12
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  const start = begin + length
  if (length > maxHeaderBytes || start > size) return refuse(inHeader, `is said to have ${length} bytes`)
  return { begin, start }
}

/** How the elements lie, of which there are so many bytes. */
const readLayout = (bytes: Uint8Array, storageBytes: number) => {
  const { bigEndian, dtype, fortran, shape } = readHeader(new TextDecoder("latin1").decode(bytes))
  const info = dtypeInfo(dtype)
  const ref = new TensorRef({
    storage: new StorageRef("elements", info, Math.floor(storageBytes / info.itemsize)),
    dtype,
    offset: 0,
    shape,
    strides: fortran ? contiguousStrides(shape.toReversed()).reverse() : contiguousStrides(shape),
    requiresGrad: false,
    conj: false,
    neg: false
  })
  const byteLength = shape.reduce((product, size) => product * size, info.itemsize)
  if (Number.isSafeInteger(byteLength) && byteLength !== storageBytes) {
    return refuse(where, `are ${storageBytes} bytes; [${shape.join(", ")}] of ${dtype} is ${byteLength}`)
  }
  return { bigEndian, ref, extent: extentOf(ref, where) }
}

interface Header {
  readonly dtype: DType
  readonly bigEndian: boolean
  readonly fortran: boolean
  readonly shape: ReadonlyArray<number>
}

/** The header is a Python dict of three entries, written as Python writes it. */
const readHeader = (text: string): Header => {
  const entries = new Map<string, string>()
  const entry = /\s*'(\w+)'\s*:\s*('[^']*'|True|False|\([\d,\sL]*\))\s*(,|\})/y
  const open = /^\s*\{/.exec(text)
  if (open === null) return refuse(inHeader, "is not a dict")
  entry.lastIndex = open[0].length
  for (;;) {
    const found = entry.exec(text)
    if (found === null) break
    const [, key, value, end] = found
    if (entries.has(key!)) return refuse(inHeader, `has ${quote(key!)} twice`)
    entries.set(key!, value!)
    if (end === "}") break
  }
  const descr = entries.get("descr")
  const fortran = entries.get("fortran_order")
  const sizes = entries.get("shape")
  if (descr === undefined && /'descr'\s*:\s*\[/.test(text)) return refuse(inHeader, "is of an array of records")
  if (
    descr === undefined ||
    (fortran !== "True" && fortran !== "False") ||
    sizes === undefined ||
    !sizes.startsWith("(")
  ) {
    return refuse(inHeader, `is not understood: ${quote(text.trim())}`)
  }
  const [, order, code] = /^'([<>|=])(\w+)'$/.exec(descr) ?? []
  if (code === "O") return refuse(inHeader, "is of an array of Python objects, which are a pickle")
  const dtype = code === undefined ? undefined : dtypeOfCode.get(code)
  if (dtype === undefined) return refuse(inHeader, `has dtype ${quote(descr.slice(1, -1))}, which no tensor has`)
  const shape = sizes
    .slice(1, -1)
    .split(",")
    .map((size) => size.trim().replace(/L$/, ""))
    .filter((size) => size !== "")
    .map(Number)
  if (shape.length > maxRank || !shape.every((size) => Number.isSafeInteger(size))) {
    return refuse(inHeader, `has shape ${quote(sizes)}`)
  }
  return { dtype, bigEndian: order === ">", fortran: fortran === "True", shape }
}
