/**
 * Tensors from the files that `torch.save` writes. A contiguous tensor is a view of the file's own bytes; a strided,
 * conjugated, negated or big-endian one is copied once.
 *
 * Everything that is not such a file is a `TensorDecodeError` that says where and what. What is read is bounded by the
 * size of the input: see `ZipReader`, `Unpickler` and `Layout`, each of which checks its own part.
 */
import { dtypeInfo } from "../schema/DType.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { crc32 } from "./Crc32.ts"
import { extentOf, materialize } from "./Layout.ts"
import { describe, PickleDict, PickleList, PickleTuple, TensorRef, unpickle } from "./Unpickler.ts"
import { makeWork, quote, refuse, type Work } from "./Work.ts"
import {
  dataOffset,
  defaultMaxRecords,
  findEnd,
  localHeaderRoom,
  maxEndBytes,
  readDirectory,
  type ZipEntry
} from "./ZipReader.ts"

/** How bytes are read. */
export interface DecodeOptions {
  /** Whether the CRC-32 of what is read is checked. On by default for files. */
  readonly verifyCrc?: boolean | undefined
  /** The most bytes that are allocated for a tensor whose elements do not lie ready in the file. 4 GiB by default. */
  readonly maxTensorBytes?: number | undefined
}

/** The default of `maxTensorBytes`. */
export const defaultMaxTensorBytes = 4 * 2 ** 30

/** The largest pickle that is read: state dicts take some 300 bytes a tensor. */
export const maxPickleBytes = 64 * 2 ** 20

/** The largest pickle of one tensor: with 64 dimensions it takes some 1,500 bytes. */
const maxTensorPickleBytes = 64 * 2 ** 10

/** The records of a file that matter. */
export interface Archive {
  readonly root: string
  readonly entries: ReadonlyMap<string, ZipEntry>
  readonly pickle: ZipEntry
}

const startsWith = (bytes: Uint8Array, start: ReadonlyArray<number>): boolean =>
  start.every((byte, index) => bytes[index] === byte)

/** Refuses what is not a ZIP archive, by what it is. `head` is the first bytes, up to 16. */
export const checkHead = (head: Uint8Array): void => {
  if (startsWith(head, [0x50, 0x4b, 3, 4])) return
  refuse("the first bytes", foreign(head))
}

const foreign = (head: Uint8Array): string => {
  if (head.byteLength === 0) return "are missing: the file is empty"
  if (startsWith(head, legacyMagic)) {
    return "are those of a file from before PyTorch 1.6; load it and save it again with a newer one"
  }
  if (startsWith(head, [0x80])) return "are those of a bare pickle, not of torch.save"
  if (startsWith(head, [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59])) return "are those of a NumPy .npy file"
  if (startsWith(head, [0x50, 0x4b])) return "are those of a ZIP archive that torch.save does not write"
  return "are not those of a torch.save file (a ZIP archive)"
}

/** The pickle of the number 0x1950a86a20f9469cfc6c, with which older files begin. */
const legacyMagic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]

/** Finds the records that matter among an archive's entries. */
export const findArchive = (entries: ReadonlyMap<string, ZipEntry>): Archive => {
  let root: string | undefined
  for (const name of entries.keys()) {
    const slash = name.indexOf("/")
    if (slash > 0 && name.slice(slash) === "/data.pkl") {
      if (root !== undefined) return refuse("zip central directory", "has two records data.pkl")
      root = name.slice(0, slash)
    }
  }
  if (root === undefined) return refuse("zip central directory", "has no record data.pkl: not written by torch.save")
  if (entries.has(`${root}/constants.pkl`)) {
    return refuse(`record ${quote(`${root}/constants.pkl`)}`, "makes this a TorchScript program, not a file of tensors")
  }
  const pickle = entries.get(`${root}/data.pkl`)!
  if (pickle.size > maxPickleBytes) {
    return refuse(`record ${quote(pickle.name)}`, `is ${pickle.size} bytes; ${maxPickleBytes} are the most`)
  }
  return { root, entries, pickle }
}

/** Whether a `byteorder` record's bytes say big-endian. */
export const isBigEndian = (bytes: Uint8Array, name: string): boolean => {
  const text = bytes.byteLength > 16 ? "" : new TextDecoder("latin1").decode(bytes)
  if (text === "little") return false
  if (text === "big") return true
  return refuse(`record ${quote(name)}`, `is neither "little" nor "big"`)
}

/** The storage record of a tensor; its size must be what the pickle says. */
export const storageEntry = (archive: Archive, ref: TensorRef, where: string): ZipEntry => {
  const name = `${archive.root}/data/${ref.storage.key}`
  const entry = archive.entries.get(name)
  if (entry === undefined) return refuse(where, `has its elements in record ${quote(name)}, which is not there`)
  const itemsize = ref.storage.info?.itemsize ?? 1
  if (entry.size !== ref.storage.numel * itemsize) {
    return refuse(
      `record ${quote(name)}`,
      `is ${entry.size} bytes; the pickle says ${ref.storage.numel} elements of ${itemsize} bytes`
    )
  }
  return entry
}

/** Refuses a record whose bytes are not those that were written. */
export const checkCrc = (entry: ZipEntry, crc: number): void => {
  if (crc !== entry.crc) refuse(`record ${quote(entry.name)}`, "is damaged: its CRC-32 is not the one written down")
}

/** The tensor of a file that holds one. Throws `TensorDecodeError`. */
export const decodeTensor = (bytes: Uint8Array, options?: DecodeOptions, work: Work = makeWork()): Tensor => {
  const verifyCrc = options?.verifyCrc ?? true
  const size = bytes.byteLength
  checkHead(bytes.subarray(0, 16))
  const end = findEnd(bytes.subarray(Math.max(0, size - maxEndBytes)), size, work)
  if (end.count > defaultMaxRecords) {
    return refuse("zip end record", `tells of ${end.count} records; ${defaultMaxRecords} are the most`)
  }
  const archive = findArchive(readDirectory(bytes.subarray(end.offset, end.offset + end.size), end, work))
  const read = (entry: ZipEntry, check: boolean): Uint8Array => {
    const header = bytes.subarray(entry.headerOffset, entry.headerOffset + localHeaderRoom(entry))
    const start = dataOffset(entry, header, work)
    const data = bytes.subarray(start, start + entry.size)
    if (check) {
      checkCrc(entry, crc32(data))
      work.bytes += entry.size
    }
    return data
  }
  if (archive.pickle.size > maxTensorPickleBytes) {
    return refuse(
      `record ${quote(archive.pickle.name)}`,
      `is ${archive.pickle.size} bytes; of one tensor it is at most ${maxTensorPickleBytes}. TorchFile reads several`
    )
  }
  const value = unpickle(read(archive.pickle, verifyCrc), { where: "data.pkl", work })
  if (!(value instanceof TensorRef)) {
    const help = value instanceof PickleDict || value instanceof PickleList || value instanceof PickleTuple
    return refuse("data.pkl", `holds ${describe(value)}, not one tensor${help ? "; TorchFile reads several" : ""}`)
  }
  const order = archive.entries.get(`${archive.root}/byteorder`)
  const bigEndian = order !== undefined && isBigEndian(read(order, verifyCrc), order.name)
  const where = `tensor of ${value.dtype} in data.pkl`
  const extent = extentOf(value, where)
  const entry = storageEntry(archive, value, where)
  const storage = read(entry, verifyCrc)
  return materialize(value, extent, storage.subarray(extent.start, extent.end), where, {
    bigEndian: bigEndian && dtypeInfo(value.dtype).unit > 1,
    maxTensorBytes: options?.maxTensorBytes ?? defaultMaxTensorBytes,
    work
  })
}
