/**
 * Hugging Face's safetensors files: named tensors with a JSON header and nothing that could be run.
 *
 * **Details**
 *
 * Opening a file reads its header; a tensor is read when it is asked for. A header is checked as the reference
 * implementation does: elements without gaps and overlaps up to the end of the file, sizes that agree with dtype and shape.
 * Written are tensors sorted by element size, largest first, so that each is aligned to its elements.
 *
 * complex32 and complex128 have no safetensors dtype; the packed ones (F4, F6) have none here. Both are refused by name.
 *
 * Source: https://github.com/huggingface/safetensors, section "Format". (On npm, a name is reserved for it and a parser of
 * remote headers exists; neither reads and writes files.)
 *
 * @example
 * ```ts
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { Safetensors, Tensor } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   yield* Safetensors.write("model.safetensors", { "layer.weight": Tensor.randn([10, 4]) })
 *   const file = yield* Safetensors.open("model.safetensors")
 *   return yield* file.read("layer.weight")
 * }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
 * ```
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type DType, dtypeInfo } from "../schema/DType.ts"
import { InvalidInput, type TensorDecodeError } from "../schema/KpuError.ts"
import { isTensor, make, type Tensor } from "../schema/Tensor.ts"
import { maxRank } from "../torch/Unpickler.ts"
import { quote, refuse } from "../torch/Work.ts"
import * as AtomicFile from "./AtomicFile.ts"
import * as ByteSource from "./ByteSource.ts"
import { type BlockOptions, readBlocks } from "./blocks.ts"
import { attempt, checked } from "./reading.ts"

const codes: { readonly [D in DType]?: string } = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
  float8_e4m3fnuz: "F8_E4M3FNUZ",
  float8_e5m2fnuz: "F8_E5M2FNUZ",
  float8_e8m0fnu: "F8_E8M0",
  int8: "I8",
  int16: "I16",
  int32: "I32",
  int64: "I64",
  uint8: "U8",
  uint16: "U16",
  uint32: "U32",
  uint64: "U64",
  bool: "BOOL",
  complex64: "C64"
}

const dtypeOfCode = new Map(Object.entries(codes).map(([dtype, code]) => [code, dtype as DType]))

/** The reference implementation's limit. */
const maxHeaderBytes = 100_000_000

/** What is known of a tensor before it is read. */
export interface TensorInfo {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  /** The size of its elements. */
  readonly byteLength: number
}

/** An open file. */
export interface SafetensorsFile<E = PlatformError.PlatformError> {
  /** The tensors, in the order of the header. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** The file's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>
  /** Reads one tensor. Fails with `InvalidInput` for a name that is not there. */
  readonly read: (name: string) => Effect.Effect<Tensor, TensorDecodeError | InvalidInput | E>
  /** The elements of one tensor as tensors of one dimension, a few MiB each: for what is larger than memory. */
  readonly blocks: (name: string, options?: BlockOptions) => Stream.Stream<Tensor, TensorDecodeError | InvalidInput | E>
  /** Reads all tensors, one after the other. */
  readonly readAll: Stream.Stream<readonly [name: string, tensor: Tensor], TensorDecodeError | E>
}

interface Entry extends TensorInfo {
  readonly begin: number
}

const where = "safetensors header"

const isRecord = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The most objects and lists in a header, which take far more memory than their text: a tensor has three. */
const maxHeaderValues = 2 ** 21
/** The format nests three deep. */
const maxHeaderDepth = 64

const quotes = 0x22
const backslash = 0x5c

/**
 * Looks for what `JSON.parse` would not tell of: keys that an object has twice (it keeps the last), and so many values
 * that they would fill the memory.
 */
const checkText = (text: string): void => {
  const objects: Array<Set<string> | undefined> = []
  let values = 0
  let string = ""
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case quotes: {
        const start = at++
        while (at < text.length && text.charCodeAt(at) !== quotes) at += text.charCodeAt(at) === backslash ? 2 : 1
        string = text.slice(start, at + 1)
        break
      }
      case 0x7b: // {
      case 0x5b: // [
        if (++values > maxHeaderValues) refuse(where, `has more than ${maxHeaderValues} objects and lists`)
        if (objects.length === maxHeaderDepth) refuse(where, `nests deeper than ${maxHeaderDepth}`)
        objects.push(text[at] === "{" ? new Set() : undefined)
        break
      case 0x7d: // }
      case 0x5d: // ]
        objects.pop()
        break
      case 0x3a: {
        // A colon. What is no JSON is told by JSON.parse.
        const keys = objects[objects.length - 1]
        const key = string.includes("\\") ? unescaped(string) : string.slice(1, -1)
        if (keys?.has(key) === true) refuse(where, `has ${quote(key)} twice`)
        keys?.add(key)
      }
    }
  }
}

const unescaped = (string: string): string => {
  try {
    return JSON.parse(string)
  } catch {
    return refuse(where, "is not JSON")
  }
}

const readHeader = (
  bytes: Uint8Array,
  dataBytes: number
): { readonly entries: Map<string, Entry>; readonly metadata: Map<string, string> } => {
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return refuse(where, "is not JSON: it is not UTF-8")
  }
  checkText(text)
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch {
    return refuse(where, "is not JSON")
  }
  if (!isRecord(header)) return refuse(where, "is not an object")
  const entries = new Map<string, Entry>()
  const metadata = new Map<string, string>()
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") {
      if (!isRecord(value)) return refuse(where, "has __metadata__ that is not an object")
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== "string") return refuse(where, `has metadata ${quote(key)} that is not text`)
        metadata.set(key, text)
      }
    } else entries.set(name, readEntry(name, value))
  }
  let end = 0
  for (const [name, { begin, byteLength }] of [...entries].sort(
    ([, a], [, b]) => a.begin - b.begin || a.byteLength - b.byteLength
  )) {
    if (begin !== end) return refuse(`tensor ${quote(name)}`, `begins at ${begin}; what is before it ends at ${end}`)
    end = begin + byteLength
  }
  if (end !== dataBytes) return refuse(where, `tells of ${end} bytes of elements; the file has ${dataBytes}`)
  return { entries, metadata }
}

const readEntry = (name: string, value: unknown): Entry => {
  const at = `tensor ${quote(name)}`
  if (!isRecord(value)) return refuse(at, "is not described by an object")
  const { data_offsets: offsets, dtype: code, shape } = value
  if (typeof code !== "string") return refuse(at, "has a dtype that is no text")
  const dtype = dtypeOfCode.get(code)
  if (dtype === undefined) return refuse(at, `has dtype ${quote(code)}, which is not read`)
  const isSize = (size: unknown): size is number => typeof size === "number" && Number.isSafeInteger(size) && size >= 0
  if (!Array.isArray(shape) || shape.length > maxRank || !shape.every(isSize)) {
    return refuse(at, "has a shape that is no list of sizes")
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return refuse(at, "has data_offsets that are no two numbers")
  }
  const [begin, end] = offsets as [number, number]
  const byteLength = shape.reduce((product, size) => product * size, dtypeInfo(dtype).itemsize)
  const widest = shape.reduce((product, size) => product * Math.max(size, 1), dtypeInfo(dtype).itemsize)
  if (!Number.isSafeInteger(widest)) return refuse(at, `has sizes [${shape.join(", ")}] that overflow`)
  if (end - begin !== byteLength) {
    return refuse(at, `has ${end - begin} bytes; [${shape.join(", ")}] of ${dtype} is ${byteLength}`)
  }
  return { dtype, shape, byteLength, begin }
}

/**
 * Reads the header of a file. Its tensors are views of what the source gives.
 *
 * @example `const file = yield* Safetensors.fromSource(yield* ByteSource.open("model.safetensors"))`
 */
export const fromSource = <E>(
  from: ByteSource.ByteSource<E>
): Effect.Effect<SafetensorsFile<E>, TensorDecodeError | E> =>
  Effect.gen(function* () {
    const source = checked(from)
    const head = yield* source.read(0, Math.min(8, source.size))
    const length = yield* attempt(() => {
      if (head.byteLength < 8) refuse("the first bytes", "are missing")
      const size = new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true)
      if (size > BigInt(Math.min(maxHeaderBytes, source.size - 8))) refuse(where, `is said to have ${size} bytes`)
      return Number(size)
    })
    const start = 8 + length
    const header = yield* source.read(8, length)
    const { entries, metadata } = yield* attempt(() => readHeader(header, source.size - start))
    const readEntryOf = ({ begin, byteLength, dtype, shape }: Entry): Effect.Effect<Tensor, TensorDecodeError | E> =>
      Effect.map(source.read(start + begin, byteLength), (data) => make({ dtype, shape, data }))
    const entryOf = (name: string): Effect.Effect<Entry, InvalidInput> =>
      Effect.suspend(() => {
        const entry = entries.get(name)
        return entry === undefined
          ? Effect.fail(
              new InvalidInput({ field: "name", problem: `${quote(name)} is not among the ${entries.size} tensors` })
            )
          : Effect.succeed(entry)
      })
    return {
      tensors: entries,
      metadata,
      read: (name) => Effect.flatMap(entryOf(name), readEntryOf),
      blocks: (name, options) =>
        Stream.unwrap(
          Effect.map(entryOf(name), ({ begin, byteLength, dtype }) =>
            readBlocks(source, { dtype, byteLength, start: start + begin }, options)
          )
        ),
      readAll: Stream.fromIterable(entries).pipe(
        Stream.mapEffect(([name, entry]) => Effect.map(readEntryOf(entry), (tensor) => [name, tensor] as const))
      )
    }
  })

/**
 * Opens a file. It is closed with the scope.
 *
 * @example `const file = yield* Safetensors.open("model.safetensors")`
 */
export const open = (
  path: string
): Effect.Effect<
  SafetensorsFile,
  TensorDecodeError | PlatformError.PlatformError,
  FileSystem.FileSystem | Scope.Scope
> => Effect.flatMap(ByteSource.open(path), fromSource)

/**
 * A file whose bytes are in memory already. Its tensors are views of them.
 *
 * @example `const file = yield* Safetensors.fromBytes(bytes)`
 */
export const fromBytes = (bytes: Uint8Array): Effect.Effect<SafetensorsFile<never>, TensorDecodeError> =>
  fromSource(ByteSource.fromBytes(bytes))

/** Tensors by name. */
export type NamedTensors = ReadonlyMap<string, Tensor> | { readonly [name: string]: Tensor }

/** What is written beside the tensors. */
export interface WriteOptions {
  /** Text entries of the file's `__metadata__`. */
  readonly metadata?: { readonly [key: string]: string } | undefined
}

/**
 * The pieces of a file of tensors: its header, then the tensors' own memory.
 *
 * @example `const body = Stream.fromIterable(yield* Safetensors.toPieces({ weight, bias }))`
 */
export const toPieces = (
  tensors: NamedTensors,
  options?: WriteOptions
): Effect.Effect<ReadonlyArray<Uint8Array>, InvalidInput> =>
  Effect.gen(function* () {
    const entries: Array<[string, Tensor]> =
      tensors instanceof Map ? [...tensors] : Object.entries(tensors as { [name: string]: Tensor })
    for (const [name, tensor] of entries) {
      const problem = !isTensor(tensor)
        ? "is not a Tensor"
        : name === "__metadata__"
          ? "is a name that the format keeps for itself"
          : codes[tensor.dtype] === undefined
            ? `safetensors has no ${tensor.dtype}; convert it first`
            : undefined
      if (problem !== undefined) return yield* new InvalidInput({ field: `tensors[${JSON.stringify(name)}]`, problem })
    }
    entries.sort(
      ([a, x], [b, y]) => dtypeInfo(y.dtype).itemsize - dtypeInfo(x.dtype).itemsize || (a < b ? -1 : a > b ? 1 : 0)
    )
    const header: Array<readonly [string, unknown]> = []
    if (options?.metadata !== undefined) header.push(["__metadata__", options.metadata])
    let at = 0
    for (const [name, { data, dtype, shape }] of entries) {
      header.push([name, { dtype: codes[dtype], shape, data_offsets: [at, at + data.byteLength] }])
      at += data.byteLength
    }
    const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)))
    // The elements begin at a multiple of 8.
    const head = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20)
    head.set(text, 8)
    new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true)
    return [head, ...entries.map(([, { data }]) => data)]
  })

/**
 * The bytes of a file of tensors.
 *
 * @example `const bytes = yield* Safetensors.toBytes({ weight, bias })`
 */
export const toBytes = (tensors: NamedTensors, options?: WriteOptions): Effect.Effect<Uint8Array, InvalidInput> =>
  Effect.map(toPieces(tensors, options), AtomicFile.joined)

/**
 * Writes a file from the tensors' own memory. It appears under its name when it is whole.
 *
 * @example `yield* Safetensors.write("model.safetensors", { weight, bias }, { metadata: { format: "pt" } })`
 */
export const write = (
  path: string,
  tensors: NamedTensors,
  options?: WriteOptions
): Effect.Effect<void, InvalidInput | PlatformError.PlatformError, FileSystem.FileSystem> =>
  Effect.flatMap(toPieces(tensors, options), (pieces) => AtomicFile.writePieces(path, pieces))
