/**
 * Tensors as the files that `torch.save` writes: the bytes before the elements, the elements where they lie, the bytes after.
 *
 * Nothing is copied: the caller's memory is part of the file. The bytes after the elements hold their CRC-32, so they are
 * made last; their length is known first.
 */
import { isDType } from "../schema/DType.ts"
import { InvalidInput } from "../schema/KpuError.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { crc32 } from "./Crc32.ts"
import { Pickler } from "./Pickler.ts"
import { archiveSize, ZipWriter } from "./ZipWriter.ts"

/** The first path component of every record's name. */
const root = "archive"
const encoder = new TextEncoder()
const formatVersion = encoder.encode("1")
const storageAlignment = encoder.encode("64")
const byteOrder = encoder.encode("little")
const version = encoder.encode("3\n")
const serializationIdBytes = 40

/** A file in the making: `pieces` may be gone through once. */
export interface EncodedFile {
  /** The size of the whole file. */
  readonly byteLength: number
  /** The file, in order: headers that were made for it, and the tensors' own memory. */
  pieces(): Iterable<Uint8Array>
}

const encodeArchive = (pickle: Uint8Array, storages: ReadonlyArray<Uint8Array>): EncodedFile => {
  const records = [
    { name: `${root}/data.pkl`, data: pickle },
    { name: `${root}/.format_version`, data: formatVersion },
    { name: `${root}/.storage_alignment`, data: storageAlignment },
    { name: `${root}/byteorder`, data: byteOrder },
    ...storages.map((data, index) => ({ name: `${root}/data/${index}`, data })),
    { name: `${root}/version`, data: version }
  ]
  const idName = `${root}/.data/serialization_id`
  const sizes = records.map(({ data, name }) => ({ name, size: data.byteLength }))
  return {
    byteLength: archiveSize([...sizes, { name: idName, size: serializationIdBytes }]),
    *pieces() {
      const writer = new ZipWriter()
      let crcOfAll = 0
      let crcOfNames = 0
      for (const { data, name } of records) {
        yield writer.begin(name, data.byteLength)
        let crc = 0
        // An empty piece means nothing to whoever writes it.
        if (data.byteLength > 0) {
          yield data
          crc = crc32(data)
        }
        yield writer.end(crc)
        crcOfNames = crc32(encoder.encode(name), crcOfNames)
        crcOfAll = crc32(new Uint8Array(new Uint32Array([crc]).buffer), crcOfAll)
      }
      // PyTorch's id is a hash of the names and a hash of the CRCs; nothing reads it but caches of whole files.
      const id = encoder.encode(String(crcOfNames).padStart(20, "0") + String(crcOfAll).padStart(20, "0"))
      yield writer.begin(idName, id.byteLength)
      yield id
      yield writer.end(crc32(id))
      yield writer.finish()
    }
  }
}

/** One tensor's file. */
export const encodeTensor = (tensor: Tensor): EncodedFile => {
  const pickler = new Pickler()
  pickler.tensor("0", tensor.dtype, tensor.shape)
  return encodeArchive(pickler.finish(), [tensor.data])
}

/** The file of a dict of tensors, as `torch.save({"a": a, "b": b}, file)` makes it. Tensors over the same memory share a storage. */
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

/** A file's pieces as one array: the one copy that a caller who wants a single array pays for. */
export const joinFile = (file: EncodedFile): Uint8Array => {
  const out = new Uint8Array(file.byteLength)
  let at = 0
  for (const piece of file.pieces()) {
    out.set(piece, at)
    at += piece.byteLength
  }
  return out
}

/** Refuses what is not a tensor: callers without types pass anything. */
export const checkTensor = (value: Tensor, field = "tensor"): void => {
  if (typeof value !== "object" || value === null || !isDType(value.dtype) || !(value.data instanceof Uint8Array)) {
    throw new InvalidInput({ field, problem: "is not a Tensor; make one with Tensor.make or Tensor.fromArray" })
  }
}
