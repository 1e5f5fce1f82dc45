/**
 * Files of named tensors: what `torch.save` writes for a dict, a list, a state dict or one tensor.
 *
 * **Details**
 *
 * Opening a file reads its directory and its pickle; a tensor is read when it is asked for, and only its own bytes are. A
 * tensor's name is the path to it, joined by dots: `layer.weight`, `optimizer.state.0.step`, `0` in a list, the empty
 * name where the file is one tensor.
 *
 * **Gotchas**
 *
 * CRCs are checked where a whole record is read: a tensor that is a part of a larger storage is read without the rest, and
 * so without a check. Tensors that share a storage are read one by one, each into memory of its own.
 *
 * @example
 * ```ts
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { Tensor, TorchFile } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   yield* TorchFile.write("model.pt", { weight: Tensor.randn([10, 4]), bias: Tensor.zeros([10]) })
 *   const file = yield* TorchFile.open("model.pt")
 *   return yield* file.read("bias")
 * }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
 * ```
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AtomicFile from "./formats/AtomicFile.ts"
import * as ByteSource from "./formats/ByteSource.ts"
import { type BlockOptions, blocksOf, readBlocks } from "./formats/blocks.ts"
import { attempt, checked } from "./formats/reading.ts"
import { type DType, dtypeInfo } from "./schema/DType.ts"
import { InvalidInput, type TensorDecodeError } from "./schema/KpuError.ts"
import { isTensor, type Tensor } from "./schema/Tensor.ts"
import { crc32 } from "./torch/Crc32.ts"
import {
  type Archive,
  checkCrc,
  checkHead,
  type DecodeOptions,
  defaultMaxTensorBytes,
  findArchive,
  isBigEndian,
  storageEntry
} from "./torch/Decoder.ts"
import { checkTensor, type EncodedFile, encodeDict, encodeList, encodeOne } from "./torch/Encoder.ts"
import { extentOf, materialize } from "./torch/Layout.ts"
import { type NamedTensors, namedTensors, type PlainValue } from "./torch/NamedTensors.ts"
import { StreamedFile } from "./torch/StreamedFile.ts"
import { type TensorRef, unpickle } from "./torch/Unpickler.ts"
import { makeWork, quote, refuse, type Work } from "./torch/Work.ts"
import {
  dataOffset,
  defaultMaxRecords,
  findEnd,
  localHeaderRoom,
  maxEndBytes,
  readDirectory,
  type ZipEntry
} from "./torch/ZipReader.ts"

/** What is known of a tensor before it is read. */
export interface TensorInfo {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  /** The size of its elements. */
  readonly byteLength: number
  readonly requiresGrad: boolean
}

/** An open file. */
export interface TorchFile<E = PlatformError.PlatformError> {
  /** What the file holds at its root. */
  readonly kind: "tensor" | "dict" | "list"
  /** The tensors, in the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** Numbers, texts and booleans beside the tensors, by name. */
  readonly values: ReadonlyMap<string, PlainValue>
  /** Reads one tensor. Fails with `InvalidInput` for a name that is not there. */
  readonly read: (name: string) => Effect.Effect<Tensor, TensorDecodeError | InvalidInput | E>
  /**
   * The elements of one tensor in row-major order, as tensors of one dimension, a few MiB each: for what is larger than
   * memory. A tensor whose elements do not lie ready in the file is read whole for it.
   */
  readonly blocks: (name: string, options?: BlockOptions) => Stream.Stream<Tensor, TensorDecodeError | InvalidInput | E>
  /** Reads all tensors, one after the other. */
  readonly readAll: Stream.Stream<readonly [name: string, tensor: Tensor], TensorDecodeError | E>
}

/** The largest directory that is read into memory: that of a hundred thousand records is a tenth of it. */
const maxDirectoryBytes = 64 * 2 ** 20

/** "little" or "big", and some room for an error to show what else it is. */
const maxOrderBytes = 64

/**
 * Reads the directory and the pickle of a file. Contiguous tensors are views of what the source gives.
 *
 * @example `const file = yield* TorchFile.fromSource(yield* ByteSource.open("model.pt"))`
 */
export const fromSource = <E>(
  from: ByteSource.ByteSource<E>,
  options?: DecodeOptions
): Effect.Effect<TorchFile<E>, TensorDecodeError | E> =>
  Effect.gen(function* () {
    const source = checked(from)
    const work = makeWork()
    const verifyCrc = options?.verifyCrc ?? true
    const maxTensorBytes = options?.maxTensorBytes ?? defaultMaxTensorBytes
    const head = yield* source.read(0, Math.min(16, source.size))
    yield* attempt(() => checkHead(head))
    const tailLength = Math.min(source.size, maxEndBytes)
    const tail = yield* source.read(source.size - tailLength, tailLength)
    const end = yield* attempt(() => {
      const found = findEnd(tail, source.size, work)
      if (found.count > defaultMaxRecords || found.size > maxDirectoryBytes) {
        refuse("zip end record", `tells of ${found.count} records in ${found.size} bytes, more than are read`)
      }
      return found
    })
    const directory = yield* source.read(end.offset, end.size)
    const archive = yield* attempt(() => findArchive(readDirectory(directory, end, work)))
    const locate = (entry: ZipEntry, counted: Work) =>
      Effect.flatMap(source.read(entry.headerOffset, localHeaderRoom(entry)), (header) =>
        attempt(() => dataOffset(entry, header, counted))
      )
    const readRecord = (entry: ZipEntry) =>
      Effect.gen(function* () {
        const start = yield* locate(entry, work)
        const data = yield* source.read(start, entry.size)
        if (verifyCrc) yield* attempt(() => checkCrc(entry, crc32(data)))
        return data
      })
    const pickle = yield* readRecord(archive.pickle)
    const found = yield* attempt(() => {
      const value = unpickle(pickle, { where: "data.pkl", work })
      return namedTensors(value, work.opcodes)
    })
    const order = archive.entries.get(`${archive.root}/byteorder`)
    let bigEndian = false
    if (order !== undefined) {
      const { name, size } = order
      yield* attempt(() => size <= maxOrderBytes || refuse(`record ${quote(name)}`, `is ${size} bytes`))
      const bytes = yield* readRecord(order)
      bigEndian = yield* attempt(() => isBigEndian(bytes, name))
    }
    const info = yield* attempt(() => describeAll(found, archive))

    const find = (name: string): Effect.Effect<TensorRef, InvalidInput> =>
      Effect.suspend(() => {
        const ref = found.tensors.get(name)
        return ref === undefined
          ? Effect.fail(
              new InvalidInput({ field: "name", problem: `${quote(name)} is not among the ${info.size} tensors` })
            )
          : Effect.succeed(ref)
      })
    const place = (where: string, ref: TensorRef, counted: Work) =>
      Effect.gen(function* () {
        const { entry, extent } = yield* attempt(() => ({
          entry: storageEntry(archive, ref, where),
          extent: extentOf(ref, where)
        }))
        return { entry, extent, start: (yield* locate(entry, counted)) + extent.start }
      })
    const readRef = (name: string, ref: TensorRef): Effect.Effect<Tensor, TensorDecodeError | E> =>
      Effect.gen(function* () {
        const where = tensorWhere(name)
        const counted = makeWork()
        const { entry, extent, start } = yield* place(where, ref, counted)
        const bytes = yield* source.read(start, extent.end - extent.start)
        return yield* attempt(() => {
          if (verifyCrc && bytes.byteLength === entry.size) checkCrc(entry, crc32(bytes))
          return materialize(ref, extent, bytes, where, { bigEndian, maxTensorBytes, work: counted })
        })
      })
    const refBlocks = (name: string, ref: TensorRef, blockOptions: BlockOptions | undefined) =>
      Effect.gen(function* () {
        const { entry, extent, start } = yield* place(tensorWhere(name), ref, makeWork())
        const isPlain = extent.contiguous && !ref.conj && !ref.neg && !(bigEndian && dtypeInfo(ref.dtype).unit > 1)
        if (!isPlain) return blocksOf(yield* readRef(name, ref), blockOptions)
        const blocks = readBlocks(source, { dtype: ref.dtype, start, byteLength: extent.byteLength }, blockOptions)
        if (!verifyCrc || extent.byteLength !== entry.size) return blocks
        return Stream.suspend(() => {
          let crc = 0
          return blocks.pipe(
            Stream.map((block) => {
              crc = crc32(block.data, crc)
              return block
            }),
            Stream.concat(Stream.drain(Stream.fromEffect(attempt(() => checkCrc(entry, crc)))))
          )
        })
      })

    return {
      kind: found.kind,
      tensors: info,
      values: found.values,
      read: (name) => Effect.flatMap(find(name), (ref) => readRef(name, ref)),
      blocks: (name, blockOptions) =>
        Stream.unwrap(Effect.flatMap(find(name), (ref) => refBlocks(name, ref, blockOptions))),
      readAll: Stream.fromIterable(found.tensors).pipe(
        Stream.mapEffect(([name, ref]) => Effect.map(readRef(name, ref), (tensor) => [name, tensor] as const))
      )
    }
  })

const tensorWhere = (name: string): string => (name === "" ? "the tensor" : `tensor ${quote(name)}`)

const describeAll = (found: NamedTensors, archive: Archive): ReadonlyMap<string, TensorInfo> => {
  const info = new Map<string, TensorInfo>()
  for (const [name, ref] of found.tensors) {
    const where = tensorWhere(name)
    storageEntry(archive, ref, where)
    const { byteLength } = extentOf(ref, where)
    info.set(name, { dtype: ref.dtype, shape: ref.shape, byteLength, requiresGrad: ref.requiresGrad })
  }
  return info
}

/**
 * Opens a file. It is closed with the scope.
 *
 * @example `const file = yield* TorchFile.open("model.pt"); file.tensors.keys()`
 */
export const open = (
  path: string,
  options?: DecodeOptions
): Effect.Effect<TorchFile, TensorDecodeError | PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.flatMap(ByteSource.open(path), (source) => fromSource(source, options))

/**
 * A file whose bytes are in memory already. Contiguous tensors are views of them.
 *
 * @example `const file = yield* TorchFile.fromBytes(bytes)`
 */
export const fromBytes = (
  bytes: Uint8Array,
  options?: DecodeOptions
): Effect.Effect<TorchFile<never>, TensorDecodeError> => fromSource(ByteSource.fromBytes(bytes), options)

/** What can be written: one tensor, a list of tensors, or tensors by name. */
export type Tensors = Tensor | ReadonlyArray<Tensor> | ReadonlyMap<string, Tensor> | { readonly [name: string]: Tensor }

const encode = (tensors: Tensors): Effect.Effect<EncodedFile, InvalidInput> =>
  Effect.suspend(() => {
    try {
      if (isTensor(tensors)) return Effect.succeed(encodeOne(tensors))
      if (Array.isArray(tensors)) {
        tensors.forEach((tensor, index) => {
          checkTensor(tensor, `tensors[${index}]`)
        })
        return Effect.succeed(encodeList(tensors))
      }
      const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors as { [name: string]: Tensor })
      for (const [name, tensor] of entries) checkTensor(tensor, `tensors[${JSON.stringify(name)}]`)
      return Effect.succeed(encodeDict(entries))
    } catch (error) {
      return error instanceof InvalidInput ? Effect.fail(error) : Effect.die(error)
    }
  })

/**
 * The pieces of a file of tensors: headers, and the tensors' own memory. They are made as they are asked for.
 *
 * @example `const body = Stream.fromIterable(yield* TorchFile.toPieces({ weight, bias }))`
 */
export const toPieces = (tensors: Tensors): Effect.Effect<Iterable<Uint8Array>, InvalidInput> =>
  Effect.map(encode(tensors), (file) => file.pieces())

/**
 * The bytes of a file of tensors.
 *
 * @example `const bytes = yield* TorchFile.toBytes({ weight, bias })`
 */
export const toBytes = (tensors: Tensors): Effect.Effect<Uint8Array, InvalidInput> =>
  Effect.map(encode(tensors), (file) => AtomicFile.joined([...file.pieces()]))

/**
 * Writes a file that `torch.load` reads as a tensor, a list or a dict, from the tensors' own memory. Tensors over the same
 * memory share a storage. The file appears under its name when it is whole.
 *
 * @example `yield* TorchFile.write("model.pt", { "layer.weight": weight, "layer.bias": bias })`
 */
export const write = (
  path: string,
  tensors: Tensors
): Effect.Effect<void, InvalidInput | PlatformError.PlatformError, FileSystem.FileSystem> =>
  Effect.flatMap(encode(tensors), (encoded) => AtomicFile.writePieces(path, encoded.pieces()))

/**
 * Writes a dict of tensors that come one after the other: one at a time is in memory. The stream's own errors pass through.
 *
 * @example `yield* TorchFile.writeStream("copy.pt", file.readAll)`
 */
export const writeStream = <E, R>(
  path: string,
  tensors: Stream.Stream<readonly [name: string, tensor: Tensor], E, R>
): Effect.Effect<void, E | InvalidInput | PlatformError.PlatformError, R | FileSystem.FileSystem> =>
  AtomicFile.writing(path, (out) =>
    Effect.gen(function* () {
      const file = new StreamedFile()
      const names = new Set<string>()
      yield* Stream.runForEach(tensors, ([name, tensor]) =>
        Effect.gen(function* () {
          if (!isTensor(tensor)) return yield* new InvalidInput({ field: name, problem: "is not a Tensor" })
          if (names.has(name)) return yield* new InvalidInput({ field: name, problem: "comes twice" })
          names.add(name)
          yield* AtomicFile.writeAll(out, file.add(tensor))
        })
      )
      yield* AtomicFile.writeAll(out, file.finish({ kind: "dict", names: [...names] }))
    })
  )
