/**
 * Mutations of files of tensors and of chunk streams, and what must hold for whatever comes out: only typed errors, memory
 * within the limit, work within multiples of the input's size. Reproducible: everything follows from a seed.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { dtypeInfo } from "../../src/schema/DType.ts"
import { InvalidInput, TensorDecodeError, TensorLimitError } from "../../src/schema/KpuError.ts"
import { equals, make, type Tensor } from "../../src/schema/Tensor.ts"
import * as TorchFile from "../../src/TorchFile.ts"
import { Assembler } from "../../src/torch/Assembler.ts"
import { chunkTensor, toMessage } from "../../src/torch/Chunker.ts"
import { decodeTensor } from "../../src/torch/Decoder.ts"
import { decodePayload } from "../../src/torch/Payloads.ts"
import { makeWork } from "../../src/torch/Work.ts"
import { dataOffset, findEnd, localHeaderRoom, readDirectory } from "../../src/torch/ZipReader.ts"
import { type ArchiveRecord, pickle, tensorPickle, tensorRecords, wholePickle, zip } from "../kit/Archive.ts"

/** A source of random numbers that a seed fixes (mulberry32). */
export class Random {
  private state: number
  constructor(seed: number) {
    this.state = seed | 0
  }
  /** From 0 up to `below`, which is left out. */
  int(below: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.int(items.length)]!
  }
}

/** The most that a fuzzed tensor may be allocated. */
export const maxTensorBytes = 2 ** 20

const interesting = [0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x2e, 0x28, 0x52, 0x51, 0x63, 0x74, 0x4b, 0x8a, 0x58]
const wide = [0n, 1n, 0x7fn, 0xffffn, 0x7fffffffn, 0xfffffffen, 0xffffffffn, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n]

/** One to four changes: bits, bytes, numbers, pieces left out, doubled, moved, or taken from elsewhere. */
export const mutate = (random: Random, bytes: Uint8Array, corpus: ReadonlyArray<Uint8Array>): Uint8Array => {
  let out = Buffer.from(bytes)
  for (let changes = 1 + random.int(4); changes > 0; changes--) {
    if (out.length === 0) return out
    // The ends of an archive hold what is believed most: half of the changes go there.
    const near = random.int(4)
    const range = Math.min(out.length, 400)
    const at = near === 0 ? random.int(range) : near === 1 ? out.length - 1 - random.int(range) : random.int(out.length)
    const length = 1 + random.int(random.int(2) === 0 ? 8 : Math.min(out.length, 300))
    // Changes that keep everything in its place reach further than those that move it.
    switch (random.int(12)) {
      case 9:
      case 10:
      case 0:
        out[at]! ^= 1 << random.int(8)
        break
      case 11:
      case 1:
        out[at] = random.pick(interesting)
        break
      case 2: {
        const size = random.pick([2, 4, 8])
        const value = random.pick(wide)
        for (let index = 0; index < size && at + index < out.length; index++) {
          out[at + index] = Number((value >> BigInt(8 * index)) & 255n)
        }
        break
      }
      case 3:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + length)])
        break
      case 4:
        out = Buffer.concat([out.subarray(0, at + length), out.subarray(at)])
        break
      case 5: {
        const other = random.pick(corpus)
        const from = random.int(other.length)
        out = Buffer.concat([out.subarray(0, at), other.subarray(from, from + length), out.subarray(at + length)])
        break
      }
      case 6:
        for (let index = 0; index < length && at + index < out.length; index++) out[at + index] = random.int(256)
        break
      case 7:
        out = out.subarray(0, at)
        break
      default: {
        const other = random.int(out.length)
        const piece = Buffer.from(out.subarray(at, at + length))
        piece.copy(out, other, 0, Math.min(piece.length, out.length - other))
      }
    }
  }
  return new Uint8Array(out)
}

/** A file, and the records that it is of: its pickle can be changed on its own. */
export interface Sample {
  readonly file: Uint8Array
  readonly records: ReadonlyArray<ArchiveRecord>
}

/** A sample of a file that is a ZIP archive as it should be; others have no records. */
export const sampleOf = (file: Uint8Array): Sample => {
  const work = makeWork()
  try {
    const end = findEnd(file, file.length, work)
    const entries = readDirectory(file.subarray(end.offset, end.offset + end.size), end, work)
    const records = [...entries.values()].map((entry) => {
      const header = file.subarray(entry.headerOffset, entry.headerOffset + localHeaderRoom(entry))
      const start = dataOffset(entry, header, work)
      return { name: entry.name, data: file.subarray(start, start + entry.size) }
    })
    return { file, records }
  } catch {
    return { file, records: [] }
  }
}

/** Files of our own making that cover what the reader knows; files of PyTorch's come on top where it is there. */
export const ownSamples = (): ReadonlyArray<Sample> => {
  const storage = Uint8Array.from({ length: 96 }, (_, index) => index * 37)
  const conj = Buffer.concat([pickle.emptyDict, pickle.text("conj"), pickle.true, pickle.setItem])
  const views = [
    tensorPickle({ numel: 24, shape: [4, 6], strides: [6, 1] }),
    tensorPickle({ numel: 24, shape: [6, 4], strides: [1, 6] }),
    tensorPickle({ numel: 24, offset: 5, shape: [3, 4], strides: [0, 2] }),
    tensorPickle({ numel: 96, shape: [48], strides: [1], dtype: "uint16" }),
    tensorPickle({ storage: "ComplexFloatStorage", numel: 12, shape: [12], strides: [1], metadata: conj }),
    Buffer.concat([
      pickle.global("torch._utils", "_rebuild_parameter"),
      pickle.mark,
      tensorPickle({ numel: 24, shape: [24], strides: [1] }),
      pickle.true,
      pickle.global("collections", "OrderedDict"),
      pickle.emptyTuple,
      pickle.reduce,
      pickle.tuple,
      pickle.reduce
    ])
  ]
  const named = Buffer.concat([
    pickle.global("collections", "OrderedDict"),
    pickle.emptyTuple,
    pickle.reduce,
    ...views.slice(0, 3).flatMap((view, index) => [pickle.text(`layer.${index}`), view, pickle.setItem]),
    pickle.emptyDict,
    pickle.text("_metadata"),
    pickle.int(1),
    pickle.setItem,
    Buffer.from("b")
  ])
  return [...views, named].map((value, index) => {
    const pickled = wholePickle(value)
    const records = tensorRecords(pickled, storage)
    return { file: zip(records, index % 2 === 0 ? {} : { zip64: {} }), records }
  })
}

/** What a run of mutations came to. */
export interface Tally {
  runs: number
  refused: number
  accepted: number
  /** The largest work done for an input, by its size in bytes. */
  opcodesPerByte: number
  recordsPerByte: number
  bytesPerByte: number
  allocated: number
  readonly problems: Map<string, number>
}

export const makeTally = (): Tally => ({
  runs: 0,
  refused: 0,
  accepted: 0,
  opcodesPerByte: 0,
  recordsPerByte: 0,
  bytesPerByte: 0,
  allocated: 0,
  problems: new Map()
})

/** What is stated of the work for an input of `size` bytes: see `docs/tensors.md`. */
export const bounds = {
  opcodesPerByte: 1,
  recordsPerByte: 1,
  /** Directory, headers and pickle once, CRCs of what is read, and the search for the end record. */
  bytesPerByte: 4
} as const

const refusedBy = (tally: Tally, error: unknown): void => {
  if (error instanceof TensorDecodeError || error instanceof TensorLimitError || error instanceof InvalidInput) {
    tally.refused++
    const kind = error.message.replace(/[0-9]+|"[^"]*"/g, "#").slice(0, 100)
    tally.problems.set(kind, (tally.problems.get(kind) ?? 0) + 1)
    return
  }
  throw error
}

const checkTensor = (tensor: Tensor): void => {
  // make checks dtype, shape and size.
  if (!equals(make(tensor), tensor)) throw new Error("not a tensor")
}

/** Reads mutated bytes in both ways, and checks what must hold. */
export const readMutated = (bytes: Uint8Array, verifyCrc: boolean, tally: Tally): void => {
  tally.runs++
  const work = makeWork()
  try {
    checkTensor(decodeTensor(bytes, { verifyCrc, maxTensorBytes }, work))
    tally.accepted++
  } catch (error) {
    refusedBy(tally, error)
  }
  const size = Math.max(bytes.length, 100)
  const read = work.bytes - work.allocated
  tally.opcodesPerByte = Math.max(tally.opcodesPerByte, work.opcodes / size)
  tally.recordsPerByte = Math.max(tally.recordsPerByte, work.records / size)
  tally.bytesPerByte = Math.max(tally.bytesPerByte, read / size)
  tally.allocated = Math.max(tally.allocated, work.allocated)
  if (work.allocated > maxTensorBytes) throw new Error(`allocated ${work.allocated} bytes`)
  for (const [what, done] of [
    ["opcodesPerByte", work.opcodes],
    ["recordsPerByte", work.records],
    ["bytesPerByte", read]
  ] as const) {
    if (done > bounds[what] * size) throw new Error(`${what}: ${done} for ${size} bytes`)
  }
  try {
    const file = Effect.runSync(TorchFile.fromBytes(bytes, { verifyCrc, maxTensorBytes }))
    for (const name of file.tensors.keys()) {
      try {
        checkTensor(Effect.runSync(file.read(name)))
      } catch (error) {
        refusedBy(tally, unwrap(error))
      }
    }
    Effect.runSync(Stream.runDrain(Stream.take(file.readAll, 0)))
  } catch (error) {
    refusedBy(tally, unwrap(error))
  }
}

/** `runSync` throws the error itself, or wraps it. */
const unwrap = (error: unknown): unknown =>
  error instanceof Error && error.cause !== undefined && !(error instanceof TensorDecodeError) ? error.cause : error

/** What pieces are taken from: files, and their pickles. */
export const corpusOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<Uint8Array> =>
  samples.flatMap(({ file, records }) => [file, ...records.filter(isPickle).map(({ data }) => data)])

const isPickle = ({ name }: ArchiveRecord): boolean => name.endsWith("/data.pkl")

/** One mutation of one of the samples: of the file, or of its pickle alone in a file that is right otherwise. */
export const fuzzFile = (
  random: Random,
  samples: ReadonlyArray<Sample>,
  corpus: ReadonlyArray<Uint8Array>,
  tally: Tally
): void => {
  const { file, records } = random.pick(samples)
  if (records.length > 0 && random.int(2) === 0) {
    const changed = records.map((record) =>
      isPickle(record) ? { ...record, data: mutate(random, record.data, corpus) } : record
    )
    readMutated(zip(changed), true, tally)
  } else {
    readMutated(mutate(random, file, corpus), random.int(2) === 0, tally)
  }
}

const dtypesOfStreams = ["float32", "uint8", "bfloat16"] as const

/** One chunk stream with chunks dropped, doubled, moved and changed: whatever comes out whole is what went in. */
export const fuzzStream = (random: Random, tally: Tally): void => {
  tally.runs++
  const tensors = new Map<string, Tensor>()
  const chunks = ["a", "b", "c"].slice(0, 1 + random.int(3)).flatMap((id) => {
    const dtype = random.pick(dtypesOfStreams)
    const count = random.int(400)
    const data = Uint8Array.from({ length: count * dtypeInfo(dtype).itemsize }, () => random.int(256))
    const tensor = make({ dtype, shape: [count], data })
    tensors.set(id, tensor)
    return [...chunkTensor(tensor, { id, chunkSize: 50 + random.int(1500) })].map(toMessage)
  })
  for (let changes = random.int(4); changes > 0 && chunks.length > 0; changes--) {
    const at = random.int(chunks.length)
    const chunk = chunks[at]!
    switch (random.int(8)) {
      case 0:
        chunks.splice(at, 1)
        break
      case 1:
        chunks.splice(random.int(chunks.length), 0, chunk)
        break
      case 2:
        chunks.splice(random.int(chunks.length), 0, ...chunks.splice(at, 1 + random.int(5)))
        break
      case 3:
        chunks[at] = { ...chunk, totalChunks: random.pick([0, 1, chunk.totalChunks + 1, 0x7fffffff, 0xffffffff]) }
        break
      case 4:
        chunks[at] = { ...chunk, chunkNumber: random.pick([0, 1, chunk.totalChunks, 0xffffffff]) }
        break
      case 5:
        chunks[at] = {
          ...chunk,
          metadata: {
            ...chunk.metadata,
            [random.pick(["size_bytes", "shape", "dtype", "x"])]: random.pick([
              "",
              "0",
              "-1",
              "99",
              "4294967296",
              "[1]"
            ])
          }
        }
        break
      case 6:
        chunks[at] = { ...chunk, data: mutate(random, chunk.data, [chunk.data]) }
        break
      default:
        chunks[at] = { ...chunk, tensorId: random.pick(["a", "b", "", "other"]) }
    }
  }
  const fragments = random.int(2) === 0
  const maxOpenBytes = 64 * 1024
  const assembler = new Assembler({ maxTensorBytes: 16 * 1024, maxOpenTensors: 3, maxOpenBytes })
  try {
    for (const chunk of chunks) {
      let payload: ReturnType<Assembler["push"]>
      if (fragments) {
        const slot = assembler.begin({ tensorId: chunk.tensorId, chunkNumber: chunk.chunkNumber }, chunk.data.length)
        for (let at = 0; at < chunk.data.length; at += 64) slot.write(chunk.data.subarray(at, at + 64))
        payload = slot.end(chunk)
      } else payload = assembler.push(chunk)
      if (assembler.openBytes > maxOpenBytes) throw new Error(`holds ${assembler.openBytes} bytes`)
      if (payload !== undefined) {
        const tensor = decodePayload(payload, { verifyCrc: true, maxTensorBytes })
        const sent = tensors.get(payload.tensorId)
        if (sent !== undefined && sent.shape[0] === tensor.shape[0] && !equals(tensor, sent)) {
          // Chunks of two tensors under one id may make the other one whole.
          if (![...tensors.values()].some((other) => equals(other, tensor))) throw new Error("another tensor came out")
        }
      }
    }
    assembler.finish()
    if (assembler.openBytes !== 0 || assembler.openTensors !== 0) throw new Error("something is held at the end")
    tally.accepted++
  } catch (error) {
    refusedBy(tally, error)
    if (assembler.openBytes > maxOpenBytes) throw new Error(`holds ${assembler.openBytes} bytes`)
  }
}
