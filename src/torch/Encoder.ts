/**
 * Tensors as the files that `torch.save` writes: the bytes before the elements, the elements where they lie, the bytes after.
 *
 * Nothing is copied: the caller's memory is part of the file. The bytes after the elements hold their CRC-32, so they are
 * made last; their length is known first.
 */
import { isDType } from "../schema/DType.ts"
import { InvalidInput } from "../schema/KpuError.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { ArchiveWriter, headRecords, record, sizeOf } from "./ArchiveWriter.ts"
import { crc32 } from "./Crc32.ts"
import { Pickler } from "./Pickler.ts"

/** A file in the making. */
export interface EncodedFile {
  /** The size of the whole file. */
  readonly byteLength: number
  /** The file, in order: headers that were made for it, and the tensors' own memory. */
  pieces(): Iterable<Uint8Array>
}

/** One tensor's file in three parts. */
export interface EncodedTensor {
  readonly byteLength: number
  /** What comes before the elements; it ends at a multiple of 64 bytes. */
  readonly header: Uint8Array
  /** The elements: the tensor's own memory. */
  readonly data: Uint8Array
  /** What comes after the elements, once their CRC-32 is known. May be made once. */
  trailer(crc: number): Uint8Array
}

/** One tensor's file. */
export const encodeTensor = (tensor: Tensor): EncodedTensor => {
  const pickler = new Pickler()
  pickler.tensor("0", tensor.dtype, tensor.shape)
  const records = headRecords(pickler.finish())
  const storage = record("data/0", tensor.data)
  const writer = new ArchiveWriter()
  for (const each of records) writer.add(each)
  writer.begin(storage.name, tensor.data.byteLength)
  return {
    byteLength: sizeOf([...records, storage]),
    header: writer.take(),
    data: tensor.data,
    trailer: (crc) => {
      writer.end(crc)
      return writer.finish()
    }
  }
}

const encodeArchive = (pickle: Uint8Array, storages: ReadonlyArray<Uint8Array>): EncodedFile => {
  const records = [...headRecords(pickle), ...storages.map((data, index) => record(`data/${index}`, data))]
  return {
    byteLength: sizeOf(records),
    *pieces() {
      const writer = new ArchiveWriter()
      for (const each of records) yield* writer.record(each)
      yield writer.finish()
    }
  }
}

/** The file of one tensor, as pieces. */
export const encodeOne = (tensor: Tensor): EncodedFile => {
  const pickler = new Pickler()
  pickler.tensor("0", tensor.dtype, tensor.shape)
  return encodeArchive(pickler.finish(), [tensor.data])
}

/**
 * The file of a dict of tensors, as `torch.save({"a": a, "b": b}, file)` makes it. Tensors over the same memory share a
 * storage.
 */
export const encodeDict = (entries: ReadonlyArray<readonly [name: string, tensor: Tensor]>): EncodedFile => {
  const storages = new Storages()
  const pickler = new Pickler()
  pickler.dict(entries.length, (index) => {
    const [name, tensor] = entries[index]!
    pickler.string(name)
    pickler.tensor(storages.key(tensor), tensor.dtype, tensor.shape)
  })
  return encodeArchive(pickler.finish(), storages.data)
}

/** The file of a list of tensors, as `torch.save([a, b], file)` makes it. */
export const encodeList = (tensors: ReadonlyArray<Tensor>): EncodedFile => {
  const storages = new Storages()
  const pickler = new Pickler()
  pickler.list(tensors.length, (index) => {
    const tensor = tensors[index]!
    pickler.tensor(storages.key(tensor), tensor.dtype, tensor.shape)
  })
  return encodeArchive(pickler.finish(), storages.data)
}

class Storages {
  readonly data: Array<Uint8Array> = []
  private readonly keys = new Map<string, Map<ArrayBufferLike, string>>()

  key(tensor: Tensor): string {
    const { buffer, byteLength, byteOffset } = tensor.data
    // PyTorch keeps one storage under one dtype.
    const place = `${tensor.dtype} ${byteOffset} ${byteLength}`
    let buffers = this.keys.get(place)
    if (buffers === undefined) {
      buffers = new Map()
      this.keys.set(place, buffers)
    }
    let key = buffers.get(buffer)
    if (key === undefined) {
      key = String(this.data.length)
      this.data.push(tensor.data)
      buffers.set(buffer, key)
    }
    return key
  }
}

/** One tensor's file as one array: the one copy that a caller who wants a single array pays for. */
export const encodeWhole = (tensor: Tensor): Uint8Array => {
  const { byteLength, data, header, trailer } = encodeTensor(tensor)
  const out = new Uint8Array(byteLength)
  out.set(header)
  let crc = 0
  // Copied and summed slice by slice: the second reading finds the first one's bytes in the cache.
  for (let start = 0; start < data.byteLength; start += copySlice) {
    const slice = data.subarray(start, start + copySlice)
    out.set(slice, header.byteLength + start)
    crc = crc32(slice, crc)
  }
  out.set(trailer(crc), header.byteLength + data.byteLength)
  return out
}

const copySlice = 256 * 1024

/** Refuses what is not a tensor: callers without types pass anything. */
export const checkTensor = (value: Tensor, field = "tensor"): void => {
  if (typeof value !== "object" || value === null || !isDType(value.dtype) || !(value.data instanceof Uint8Array)) {
    throw new InvalidInput({ field, problem: "is not a Tensor; make one with Tensor.make or Tensor.fromArray" })
  }
}
