/**
 * The records of a `torch.save` file around its storages: their names, their order, and the id at the end.
 *
 * PyTorch's serialization id is a hash of the records' names and one of their CRCs, of 20 digits each. So is this one, of
 * other hashes: nothing reads it but caches of whole files.
 */
import { ByteWriter } from "./ByteWriter.ts"
import { crc32, crc32OfText } from "./Crc32.ts"
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

/** A CRC as the four bytes that the id is a hash of. */
const word = new Uint8Array(4)
const wordView = new DataView(word.buffer)

/** Writes an archive whose last record is a hash of the others' names and CRCs, as PyTorch's is. */
export class ArchiveWriter {
  private readonly out = new ByteWriter()
  private readonly zip = new ZipWriter(this.out)
  private names = 0
  private crcs = 0

  /** Writes what comes before a record's data. */
  begin(name: string, size: number): void {
    this.names = crc32OfText(name, this.names)
    this.zip.begin(name, size)
  }
  /** Writes what comes after it. */
  end(crc: number): void {
    wordView.setUint32(0, crc, true)
    this.crcs = crc32(word, this.crcs)
    this.zip.end(crc)
  }
  /** Writes a whole record, which is small: its data is copied. */
  add({ data, name }: FileRecord): void {
    this.begin(name, data.byteLength)
    this.out.append(data)
    this.end(crc32(data))
  }
  /** Writes the last records and the directory; gives all that was not taken yet. */
  finish(): Uint8Array {
    this.add(versionRecord)
    const id = String(this.names).padStart(20, "0") + String(this.crcs).padStart(20, "0")
    this.zip.begin(idName, serializationIdBytes)
    this.out.text(id)
    this.zip.end(crc32OfText(id))
    this.zip.finish()
    return this.take()
  }
  /** What was written since the last time. */
  take(): Uint8Array {
    return this.out.take()
  }
  /** The next pieces of the archive, with a record's data as it lies; what follows the data comes with the next piece. */
  *record({ data, name }: FileRecord): Generator<Uint8Array> {
    this.begin(name, data.byteLength)
    yield this.take()
    // An empty piece means nothing to whoever writes it.
    if (data.byteLength > 0) yield data
    this.end(crc32(data))
  }
}

/** The size of an archive of these records, and those that every archive ends with. */
export const sizeOf = (records: ReadonlyArray<FileRecord>): number =>
  archiveSize([
    ...[...records, versionRecord].map(({ data, name }) => ({ name, size: data.byteLength })),
    { name: idName, size: serializationIdBytes }
  ])
