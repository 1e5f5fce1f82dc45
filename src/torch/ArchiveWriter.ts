/**
 * The records of a `torch.save` file around its storages: their names, their order, and the id at the end.
 *
 * PyTorch's serialization id is a hash of the records' names and one of their CRCs, of 20 digits each. So is this one, of
 * other hashes: nothing reads it but caches of whole files.
 */
import { crc32 } from "./Crc32.ts"
import { archiveSize, ZipWriter } from "./ZipWriter.ts"

/** The first path component of every record's name. */
const root = "archive"
const encoder = new TextEncoder()
const formatVersion = encoder.encode("1")
const storageAlignment = encoder.encode("64")
const byteOrder = encoder.encode("little")
const version = encoder.encode("3\n")
const serializationIdBytes = 40

/** A record: its full name and its bytes. */
export interface FileRecord {
  readonly name: string
  readonly data: Uint8Array
}

/** A record under the archive's root. */
export const record = (name: string, data: Uint8Array): FileRecord => ({ name: `${root}/${name}`, data })

/** The records before the storages, as PyTorch 2.9 orders them. */
export const headRecords = (pickle: Uint8Array): ReadonlyArray<FileRecord> => [
  record("data.pkl", pickle),
  record(".format_version", formatVersion),
  record(".storage_alignment", storageAlignment),
  record("byteorder", byteOrder)
]
/** What stands before the storages in a file whose pickle comes after them: nothing that tells where storages are. */
export const streamHeadRecords: ReadonlyArray<FileRecord> = [record("byteorder", byteOrder)]

const versionRecord = record("version", version)
const idName = `${root}/.data/serialization_id`

/** Writes an archive whose last record is a hash of the others' names and CRCs, as PyTorch's is. */
export class ArchiveWriter {
  private readonly zip = new ZipWriter()
  private names = 0
  private crcs = 0
  private readonly word = new Uint32Array(1)

  /** What comes before a record's data. */
  begin(name: string, size: number): Uint8Array {
    this.names = crc32(encoder.encode(name), this.names)
    return this.zip.begin(name, size)
  }
  /** What comes after it. */
  end(crc: number): Uint8Array {
    this.word[0] = crc
    this.crcs = crc32(new Uint8Array(this.word.buffer), this.crcs)
    return this.zip.end(crc)
  }
  /** A whole record. */
  *record({ data, name }: FileRecord): Generator<Uint8Array> {
    yield this.begin(name, data.byteLength)
    // An empty piece means nothing to whoever writes it.
    if (data.byteLength > 0) yield data
    yield this.end(crc32(data))
  }
  /** The last records, and the directory. */
  *finish(): Generator<Uint8Array> {
    yield* this.record(versionRecord)
    const id = encoder.encode(String(this.names).padStart(20, "0") + String(this.crcs).padStart(20, "0"))
    yield this.zip.begin(idName, serializationIdBytes)
    yield id
    yield this.zip.end(crc32(id))
    yield this.zip.finish()
  }
}

/** The size of an archive of these records, and those that every archive ends with. */
export const sizeOf = (records: ReadonlyArray<FileRecord>): number =>
  archiveSize([
    ...[...records, versionRecord].map(({ data, name }) => ({ name, size: data.byteLength })),
    { name: idName, size: serializationIdBytes }
  ])
