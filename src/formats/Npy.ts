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
import { type DType, dtypeInfo } from "../schema/DType.ts"
import { InvalidInput, type TensorDecodeError } from "../schema/KpuError.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { type DecodeOptions, defaultMaxTensorBytes } from "../torch/Decoder.ts"
import { extentOf, materialize } from "../torch/Layout.ts"
import { contiguousStrides } from "../torch/Pickler.ts"
import { maxRank, StorageRef, TensorRef } from "../torch/Unpickler.ts"
import { makeWork, quote, refuse } from "../torch/Work.ts"
import { attempt } from "./Source.ts"

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

/**
 * The bytes of the `.npy` file of a tensor. Fails with `InvalidInput` for a dtype that NumPy has not.
 *
 * @example `yield* fs.writeFile("weights.npy", yield* Npy.encode(tensor))`
 */
export const encode = (tensor: Tensor): Effect.Effect<Uint8Array, InvalidInput> =>
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
    const start = Math.ceil((10 + text.length + 1) / 64) * 64
    const out = new Uint8Array(start + data.byteLength)
    out.fill(0x20, 0, start)
    out.set([...magic, 1, 0, (start - 10) & 255, (start - 10) >>> 8])
    out.set(new TextEncoder().encode(text), 10)
    out[start - 1] = 0x0a
    out.set(data, start)
    return Effect.succeed(out)
  })

/**
 * The tensor in the bytes of a `.npy` file. Fails with `TensorDecodeError`. A little-endian array in C order is a view of
 * the bytes given.
 *
 * @example `const tensor = yield* Npy.decode(yield* fs.readFile("weights.npy"))`
 */
export const decode = (
  bytes: Uint8Array,
  options?: Pick<DecodeOptions, "maxTensorBytes">
): Effect.Effect<Tensor, TensorDecodeError> => attempt(() => read(bytes, options))

const where = "npy header"

const read = (bytes: Uint8Array, options: Pick<DecodeOptions, "maxTensorBytes"> | undefined): Tensor => {
  if (bytes.byteLength < 12 || !magic.every((byte, index) => bytes[index] === byte)) {
    return refuse("the first bytes", "are not those of a NumPy .npy file")
  }
  const version = bytes[6]!
  if (version < 1 || version > 3) return refuse(where, `is of version ${version}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const begin = version === 1 ? 10 : 12
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  const start = begin + length
  if (length > maxHeaderBytes || start > bytes.byteLength) return refuse(where, `is said to have ${length} bytes`)
  const { bigEndian, dtype, fortran, shape } = readHeader(
    new TextDecoder("latin1").decode(bytes.subarray(begin, start))
  )
  const info = dtypeInfo(dtype)
  const storageBytes = bytes.byteLength - start
  const strides = fortran ? contiguousStrides(shape.toReversed()).reverse() : contiguousStrides(shape)
  const ref = new TensorRef({
    storage: new StorageRef("elements", info, Math.floor(storageBytes / info.itemsize)),
    dtype,
    offset: 0,
    shape,
    strides,
    requiresGrad: false,
    conj: false,
    neg: false
  })
  const extent = extentOf(ref, "npy elements")
  if (extent.byteLength !== storageBytes) {
    return refuse(
      "npy elements",
      `are ${storageBytes} bytes; [${shape.join(", ")}] of ${dtype} is ${extent.byteLength}`
    )
  }
  return materialize(ref, extent, bytes.subarray(start), "npy elements", {
    bigEndian,
    maxTensorBytes: options?.maxTensorBytes ?? defaultMaxTensorBytes,
    work: makeWork()
  })
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
  if (open === null) return refuse(where, "is not a dict")
  entry.lastIndex = open[0].length
  for (;;) {
    const found = entry.exec(text)
    if (found === null) break
    const [, key, value, end] = found
    if (entries.has(key!)) return refuse(where, `has ${quote(key!)} twice`)
    entries.set(key!, value!)
    if (end === "}") break
  }
  const descr = entries.get("descr")
  const fortran = entries.get("fortran_order")
  const sizes = entries.get("shape")
  if (descr === undefined && /'descr'\s*:\s*\[/.test(text)) return refuse(where, "is of an array of records")
  if (
    descr === undefined ||
    (fortran !== "True" && fortran !== "False") ||
    sizes === undefined ||
    !sizes.startsWith("(")
  ) {
    return refuse(where, `is not understood: ${quote(text.trim())}`)
  }
  const [, order, code] = /^'([<>|=])(\w+)'$/.exec(descr) ?? []
  if (code === "O") return refuse(where, "is of an array of Python objects, which are a pickle")
  const dtype = code === undefined ? undefined : dtypeOfCode.get(code)
  if (dtype === undefined) return refuse(where, `has dtype ${quote(descr.slice(1, -1))}, which no tensor has`)
  const shape = sizes
    .slice(1, -1)
    .split(",")
    .map((size) => size.trim().replace(/L$/, ""))
    .filter((size) => size !== "")
    .map(Number)
  if (shape.length > maxRank || !shape.every((size) => Number.isSafeInteger(size))) {
    return refuse(where, `has shape ${quote(sizes)}`)
  }
  return { dtype, bigEndian: order === ">", fortran: fortran === "True", shape }
}
