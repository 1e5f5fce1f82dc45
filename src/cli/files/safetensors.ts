/**
 * `.safetensors`: tensors by name behind a JSON header (Hugging Face's format). A tensor is read when its turn comes.
 *
 * **Details.** The header is checked as the reference implementation checks it: known dtypes, sizes that agree, tensors
 * side by side without a hole or an overlap, nothing beyond the end.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type DType, dtypeInfo } from "../../schema/DType.ts"
import { InvalidInput, TensorDecodeError } from "../../schema/KpuError.ts"
import { makeEffect, type Tensor } from "../../schema/Tensor.ts"
import type { Format } from "./Format.ts"
import { reader } from "./reading.ts"

const dtypeOf: { readonly [code: string]: DType } = {
  BOOL: "bool",
  U8: "uint8",
  I8: "int8",
  U16: "uint16",
  I16: "int16",
  U32: "uint32",
  I32: "int32",
  U64: "uint64",
  I64: "int64",
  F8_E5M2: "float8_e5m2",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2FNUZ: "float8_e5m2fnuz",
  F8_E4M3FNUZ: "float8_e4m3fnuz",
  F8_E8M0: "float8_e8m0fnu",
  F16: "float16",
  BF16: "bfloat16",
  F32: "float32",
  F64: "float64",
  C64: "complex64"
}
const codeOf = new Map(Object.entries(dtypeOf).map(([code, dtype]) => [dtype, code]))

const Size = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Entry = Schema.Struct({
  dtype: Schema.String,
  shape: Schema.Array(Size),
  data_offsets: Schema.Tuple([Size, Size])
})
const decodeEntry = Schema.decodeUnknownOption(Entry)

/** What the reference implementation reads at most. */
const maxHeader = 100_000_000

const refuse = (where: string, problem: string) => new TensorDecodeError({ where, problem })

interface Place {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly begin: number
  readonly end: number
}

const parse = (text: string, size: number): ReadonlyArray<Place> | TensorDecodeError => {
  const where = "the safetensors header"
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch {
    return refuse(where, "is not JSON")
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) return refuse(where, "is no JSON object")
  const places: Array<Place> = []
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue
    const at = `${where}: ${JSON.stringify(name)}`
    const entry = Option.getOrUndefined(decodeEntry(value))
    if (entry === undefined) return refuse(at, "must have dtype, shape and data_offsets")
    const dtype = dtypeOf[entry.dtype]
    if (dtype === undefined) return refuse(at, `has the dtype ${entry.dtype}, which is not read here`)
    const [begin, end] = entry.data_offsets
    const byteLength = entry.shape.reduce((product, size) => product * size, dtypeInfo(dtype).itemsize)
    if (end - begin !== byteLength) {
      return refuse(at, `has ${end - begin} bytes; ${dtype} [${entry.shape.join(", ")}] needs ${byteLength}`)
    }
    places.push({ name, dtype, shape: entry.shape, begin, end })
  }
  places.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let reached = 0
  for (const { begin, end, name } of places) {
    if (begin !== reached)
      return refuse(`${where}: ${JSON.stringify(name)}`, "does not begin where the one before ends")
    reached = end
  }
  if (reached !== size) return refuse("the elements", `are ${size} bytes; the header tells of ${reached}`)
  return places
}

const encodeAll = (entries: ReadonlyArray<readonly [string, Tensor]>): Array<Uint8Array> | InvalidInput => {
  // Large elements first, so that each tensor lies at a multiple of its own element's size.
  const sorted = [...entries].sort(([, a], [, b]) => dtypeInfo(b.dtype).unit - dtypeInfo(a.dtype).unit)
  // A map first: a tensor may be named __proto__.
  const header = new Map<string, typeof Entry.Type>()
  let offset = 0
  for (const [name, { data, dtype, shape }] of sorted) {
    const code = codeOf.get(dtype)
    if (code === undefined)
      return new InvalidInput({ field: "--out", problem: `safetensors has no ${dtype}; write .pt` })
    if (name === "__metadata__")
      return new InvalidInput({ field: "--out", problem: "safetensors keeps the name __metadata__ for itself" })
    header.set(name, { dtype: code, shape, data_offsets: [offset, offset + data.byteLength] })
    offset += data.byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)))
  const length = Math.ceil(json.byteLength / 8) * 8
  const head = new Uint8Array(8 + length).fill(0x20)
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true)
  head.set(json, 8)
  return [head, ...sorted.map(([, { data }]) => data)]
}

export const safetensors: Format = {
  name: "safetensors",
  extensions: [".safetensors"],
  // Eight bytes of length, of which the upper ones are zero, and the JSON's brace.
  matches: (head) => head.byteLength >= 9 && head[8] === 0x7b && head[5] === 0 && head[6] === 0 && head[7] === 0,
  open: (source) =>
    Effect.gen(function* () {
      const file = yield* reader(source)
      const lengthBytes = yield* file.read(0, 8)
      const length = Number(new DataView(lengthBytes.buffer, lengthBytes.byteOffset, 8).getBigUint64(0, true))
      if (length > maxHeader)
        return yield* refuse("the safetensors header", `is ${length} bytes; ${maxHeader} are the most`)
      const start = 8 + length
      const places = parse(new TextDecoder().decode(yield* file.read(8, length)), file.size - start)
      if (places instanceof TensorDecodeError) return yield* places
      return {
        infos: places.map(({ begin, dtype, end, name, shape }) => ({ name, dtype, shape, byteLength: end - begin })),
        readAll: Stream.fromIterable(places).pipe(
          Stream.mapEffect(({ begin, dtype, end, name, shape }) =>
            Effect.gen(function* () {
              const data = yield* file.read(start + begin, end - begin)
              return [name, yield* makeEffect({ dtype, shape, data })] as const
            })
          )
        )
      }
    }),
  encode: (content) =>
    Effect.suspend(() => {
      const entries: ReadonlyArray<readonly [string, Tensor]> =
        content._tag === "One"
          ? [["tensor", content.tensor]]
          : content._tag === "Named"
            ? content.tensors
            : content.tensors.map((tensor, index) => [String(index), tensor] as const)
      const encoded = encodeAll(entries)
      return encoded instanceof InvalidInput ? Effect.fail(encoded) : Effect.succeed(encoded)
    })
}
