/**
 * `.npy`: one array of NumPy's, versions 1 to 3 of the format (numpy.lib.format). Big-endian and Fortran-ordered arrays
 * are brought into a tensor's own form.
 *
 * **Gotchas.** NumPy has no bfloat16, float8 and complex32. Object arrays are pickles and are refused, as are structured
 * ones.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type DType, dtypeInfo } from "../../schema/DType.ts"
import { InvalidInput, TensorDecodeError } from "../../schema/KpuError.ts"
import { makeEffect, type Tensor } from "../../schema/Tensor.ts"
import type { Format } from "./Format.ts"
import { reader } from "./reading.ts"

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]

const dtypeOf: { readonly [code: string]: DType } = {
  b1: "bool",
  i1: "int8",
  i2: "int16",
  i4: "int32",
  i8: "int64",
  u1: "uint8",
  u2: "uint16",
  u4: "uint32",
  u8: "uint64",
  f2: "float16",
  f4: "float32",
  f8: "float64",
  c8: "complex64",
  c16: "complex128"
}
const codeOf = new Map(Object.entries(dtypeOf).map(([code, dtype]) => [dtype, code]))

interface Header {
  readonly dtype: DType
  readonly bigEndian: boolean
  readonly fortran: boolean
  readonly shape: ReadonlyArray<number>
}

const refuse = (where: string, problem: string) => new TensorDecodeError({ where, problem })

/** Reads the header, a Python dict of three literals. */
const parseHeader = (text: string): Header | TensorDecodeError => {
  const where = "the .npy header"
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1]
  if (descr === undefined) {
    return refuse(
      where,
      /'descr'\s*:\s*\[/.test(text) ? "is of a structured array, which is no tensor" : "has no descr"
    )
  }
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text)?.[1]
  if (order === undefined) return refuse(where, "has no fortran_order")
  const sizes = /'shape'\s*:\s*\(([\d\sL,]*)\)/.exec(text)?.[1]
  if (sizes === undefined) return refuse(where, "has no shape")
  const code = /^([<>|=])([a-zA-Z]\d*)$/.exec(descr)
  const dtype = code === null ? undefined : dtypeOf[code[2]!]
  if (dtype === undefined) {
    return refuse(
      where,
      descr.includes("O")
        ? "is of an array of Python objects, which are not read"
        : `has the dtype ${descr}, which no tensor has`
    )
  }
  const shape = sizes
    .split(",")
    .map((size) => size.trim().replace(/L$/, ""))
    .filter((size) => size !== "")
    .map(Number)
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return refuse(where, "has a shape that is none")
  return { dtype, bigEndian: code![1] === ">", fortran: order === "True", shape }
}

const swap = (bytes: Uint8Array, unit: number): Uint8Array => {
  const out = new Uint8Array(bytes.byteLength)
  for (let at = 0; at < bytes.byteLength; at += unit) {
    for (let byte = 0; byte < unit; byte++) out[at + byte] = bytes[at + unit - 1 - byte]!
  }
  return out
}

/** Column-major elements in row-major order. */
const rowMajor = (bytes: Uint8Array, shape: ReadonlyArray<number>, itemsize: number): Uint8Array => {
  const out = new Uint8Array(bytes.byteLength)
  const strides: Array<number> = []
  let stride = itemsize
  for (const size of shape) {
    strides.push(stride)
    stride *= size
  }
  const index = new Array<number>(shape.length).fill(0)
  let from = 0
  for (let to = 0; to < out.byteLength; to += itemsize) {
    for (let byte = 0; byte < itemsize; byte++) out[to + byte] = bytes[from + byte]!
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!
      if (++index[axis]! < shape[axis]!) break
      from -= strides[axis]! * shape[axis]!
      index[axis] = 0
    }
  }
  return out
}

const encodeHeader = (tensor: Tensor, code: string): Uint8Array => {
  const size = dtypeInfo(tensor.dtype).itemsize
  const { shape } = tensor
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`
  const dict = `{'descr': '${size === 1 ? "|" : "<"}${code}', 'fortran_order': False, 'shape': ${tuple}, }`
  // The elements begin at a multiple of 64, as NumPy has them.
  const version = dict.length + 75 > 65535 ? 2 : 1
  const prefix = version === 1 ? 10 : 12
  const total = Math.ceil((prefix + dict.length + 1) / 64) * 64
  const bytes = new Uint8Array(total).fill(0x20)
  bytes.set([...magic, version, 0])
  const view = new DataView(bytes.buffer)
  if (version === 1) view.setUint16(8, total - prefix, true)
  else view.setUint32(8, total - prefix, true)
  bytes.set(new TextEncoder().encode(dict), prefix)
  bytes[total - 1] = 0x0a
  return bytes
}

/** The longest header that is read; NumPy itself refuses more than 10,000. */
const maxHeader = 2 ** 20

export const npy: Format = {
  name: "npy",
  extensions: [".npy"],
  matches: (head) => magic.every((byte, index) => head[index] === byte),
  open: (source) =>
    Effect.gen(function* () {
      const file = yield* reader(source)
      const head = yield* file.read(0, 8)
      if (!npy.matches(head)) return yield* refuse("the first bytes", "are not those of a .npy file")
      const version = head[6]!
      if (version < 1 || version > 3) return yield* refuse("the .npy version", `is ${version}; 1 to 3 are read`)
      const wide = version > 1
      const lengthBytes = yield* file.read(8, wide ? 4 : 2)
      const view = new DataView(lengthBytes.buffer, lengthBytes.byteOffset, lengthBytes.byteLength)
      const length = wide ? view.getUint32(0, true) : view.getUint16(0, true)
      if (length > maxHeader) return yield* refuse("the .npy header", `is ${length} bytes; ${maxHeader} are the most`)
      const start = 8 + (wide ? 4 : 2)
      const header = parseHeader(new TextDecoder("latin1").decode(yield* file.read(start, length)))
      if (header instanceof TensorDecodeError) return yield* header
      const { bigEndian, dtype, fortran, shape } = header
      const info = dtypeInfo(dtype)
      const byteLength = shape.reduce((product, size) => product * size, info.itemsize)
      const there = file.size - start - length
      if (byteLength > there) {
        return yield* refuse("the elements", `are ${there} bytes; ${dtype} [${shape.join(", ")}] needs ${byteLength}`)
      }
      return {
        infos: [{ name: "", dtype, shape, byteLength }],
        readAll: Stream.fromEffect(
          Effect.gen(function* () {
            let data = yield* file.read(start + length, byteLength)
            if (bigEndian && info.unit > 1) data = swap(data, info.unit)
            if (fortran && shape.length > 1) data = rowMajor(data, shape, info.itemsize)
            return ["", yield* makeEffect({ dtype, shape, data })] as const
          })
        )
      }
    }),
  encode: (content) =>
    Effect.suspend(() => {
      if (content._tag !== "One") {
        return Effect.fail(
          new InvalidInput({
            field: "--out",
            problem: `an .npy file holds one tensor, not ${content.tensors.length}; give a folder, or a .pt or .safetensors file`
          })
        )
      }
      const { tensor } = content
      const code = codeOf.get(tensor.dtype)
      return code === undefined
        ? Effect.fail(
            new InvalidInput({ field: "--out", problem: `NumPy has no ${tensor.dtype}; write .pt or .safetensors` })
          )
        : Effect.succeed([encodeHeader(tensor, code), tensor.data])
    })
}
