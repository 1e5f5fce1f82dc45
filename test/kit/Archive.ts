/**
 * Builds ZIP archives and pickles byte by byte, right and wrong ones, independently of the code under test.
 */
import { crc32 } from "node:zlib"

/** A record, and what to write about it instead of the truth. */
export interface ArchiveRecord {
  readonly name: string
  readonly data: Uint8Array
  readonly method?: number | undefined
  readonly flags?: number | undefined
  readonly crc?: number | undefined
  /** In the central directory. */
  readonly size?: number | undefined
  readonly compressedSize?: number | undefined
  readonly offset?: number | undefined
  /** In the local header. */
  readonly localName?: string | undefined
  readonly localSize?: number | undefined
  /** Left out of the central directory. */
  readonly hidden?: boolean | undefined
}

export interface ArchiveOptions {
  readonly count?: number | undefined
  readonly directoryOffset?: number | undefined
  readonly directorySize?: number | undefined
  readonly comment?: string | undefined
  /** Write a ZIP64 end record with these values (the end record then holds the maxima). */
  readonly zip64?: { readonly count?: bigint; readonly size?: bigint; readonly offset?: bigint } | undefined
}

const le = (value: number | bigint, bytes: number): Buffer => {
  const out = Buffer.alloc(bytes)
  let rest = BigInt(value)
  for (let index = 0; index < bytes; index++) {
    out[index] = Number(rest & 255n)
    rest >>= 8n
  }
  return out
}

/** A ZIP archive. Data is not aligned and local headers hold the sizes, as most ZIP writers do. */
export const zip = (records: ReadonlyArray<ArchiveRecord>, options: ArchiveOptions = {}): Uint8Array => {
  const parts: Array<Buffer> = []
  const central: Array<Buffer> = []
  let offset = 0
  for (const record of records) {
    const crc = record.crc ?? crc32(record.data)
    const { method = 0, flags = 0, data, name } = record
    const localName = Buffer.from(record.localName ?? name)
    const size = record.size ?? data.length
    const local = Buffer.concat([
      le(0x04034b50, 4),
      le(20, 2),
      le(flags, 2),
      le(method, 2),
      le(0, 4),
      le(crc, 4),
      le(record.localSize ?? data.length, 4),
      le(record.localSize ?? data.length, 4),
      le(localName.length, 2),
      le(0, 2),
      localName
    ])
    if (record.hidden !== true) {
      const encoded = Buffer.from(name)
      central.push(
        Buffer.concat([
          le(0x02014b50, 4),
          le(20, 2),
          le(20, 2),
          le(flags, 2),
          le(method, 2),
          le(0, 4),
          le(crc, 4),
          le(record.compressedSize ?? size, 4),
          le(size, 4),
          le(encoded.length, 2),
          le(0, 2),
          le(0, 2),
          le(0, 2),
          le(0, 2),
          le(0, 4),
          le(record.offset ?? offset, 4),
          encoded
        ])
      )
    }
    parts.push(local, Buffer.from(data))
    offset += local.length + data.length
  }
  const directory = Buffer.concat(central)
  const count = options.count ?? central.length
  const size = options.directorySize ?? directory.length
  const start = options.directoryOffset ?? offset
  const comment = Buffer.from(options.comment ?? "")
  const zip64 =
    options.zip64 === undefined
      ? []
      : [
          le(0x06064b50, 4),
          le(44, 8),
          le(45, 2),
          le(45, 2),
          le(0, 8),
          le(options.zip64.count ?? count, 8),
          le(options.zip64.count ?? count, 8),
          le(options.zip64.size ?? size, 8),
          le(options.zip64.offset ?? start, 8),
          le(0x07064b50, 4),
          le(0, 4),
          le(offset + directory.length, 8),
          le(1, 4)
        ]
  const is64 = options.zip64 !== undefined
  return new Uint8Array(
    Buffer.concat([
      ...parts,
      directory,
      ...zip64,
      le(0x06054b50, 4),
      le(0, 4),
      le(is64 ? 0xffff : count, 2),
      le(is64 ? 0xffff : count, 2),
      le(is64 ? 0xffffffff : size, 4),
      le(is64 ? 0xffffffff : start, 4),
      le(comment.length, 2),
      comment
    ])
  )
}

/** Pieces of pickles, as Python writes them. */
export const pickle = {
  proto: Buffer.from([0x80, 2]),
  stop: Buffer.from("."),
  mark: Buffer.from("("),
  tuple: Buffer.from("t"),
  reduce: Buffer.from("R"),
  persid: Buffer.from("Q"),
  emptyTuple: Buffer.from(")"),
  emptyDict: Buffer.from("}"),
  emptyList: Buffer.from("]"),
  setItem: Buffer.from("s"),
  append: Buffer.from("a"),
  none: Buffer.from("N"),
  true: Buffer.from([0x88]),
  false: Buffer.from([0x89]),
  put: (index: number) => Buffer.concat([Buffer.from("r"), le(index, 4)]),
  get: (index: number) => Buffer.concat([Buffer.from("j"), le(index, 4)]),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  text: (text: string) => Buffer.concat([Buffer.from("X"), le(Buffer.byteLength(text), 4), Buffer.from(text)]),
  int: (value: number | bigint) =>
    value >= 0 && value < 256
      ? Buffer.from([0x4b, Number(value)])
      : Buffer.concat([Buffer.from([0x8a, 9]), le(BigInt.asUintN(72, BigInt(value)), 9)])
}

const ints = (values: ReadonlyArray<number | bigint>): Buffer =>
  Buffer.concat([pickle.mark, ...values.map(pickle.int), pickle.tuple])

/** What a tensor's pickle says. */
export interface TensorPickle {
  readonly storage?: string | undefined
  readonly key?: string | undefined
  readonly numel: number | bigint
  readonly offset?: number | bigint | undefined
  readonly shape: ReadonlyArray<number | bigint>
  readonly strides: ReadonlyArray<number | bigint>
  /** For `_rebuild_tensor_v3`. */
  readonly dtype?: string | undefined
  readonly metadata?: Uint8Array | undefined
}

/** The pickle of a tensor, without the opcodes around it. */
export const tensorPickle = (tensor: TensorPickle): Buffer =>
  Buffer.concat([
    pickle.global("torch._utils", tensor.dtype === undefined ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3"),
    pickle.mark,
    pickle.mark,
    pickle.text("storage"),
    tensor.dtype === undefined
      ? pickle.global("torch", tensor.storage ?? "FloatStorage")
      : pickle.global("torch.storage", tensor.storage ?? "UntypedStorage"),
    pickle.text(tensor.key ?? "0"),
    pickle.text("cpu"),
    pickle.int(tensor.numel),
    pickle.tuple,
    pickle.persid,
    pickle.int(tensor.offset ?? 0),
    ints(tensor.shape),
    ints(tensor.strides),
    pickle.false,
    pickle.global("collections", "OrderedDict"),
    pickle.emptyTuple,
    pickle.reduce,
    ...(tensor.dtype === undefined ? [] : [pickle.global("torch", tensor.dtype)]),
    ...(tensor.metadata === undefined ? [] : [Buffer.from(tensor.metadata)]),
    pickle.tuple,
    pickle.reduce
  ])

/** A whole pickle around a value. */
export const wholePickle = (...value: ReadonlyArray<Uint8Array>): Uint8Array =>
  new Uint8Array(Buffer.concat([pickle.proto, ...value, pickle.stop]))

/** The records of a file of one tensor. */
export const tensorRecords = (
  pickled: Uint8Array,
  storage: Uint8Array,
  root = "archive"
): ReadonlyArray<ArchiveRecord> => [
  { name: `${root}/data.pkl`, data: pickled },
  { name: `${root}/data/0`, data: storage },
  { name: `${root}/version`, data: Buffer.from("3\n") }
]
