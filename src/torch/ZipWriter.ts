/**
 * Writes the uncompressed ZIP archives that `torch.save` writes, piece by piece, without touching the records' data.
 *
 * Every record's data begins at a multiple of 64 bytes (a padding extra field `FB` in its local header sees to that) and is
 * followed by a data descriptor, so that the CRC may be known last. The archive ends with a ZIP64 end record, always, as
 * PyTorch's writer does. Records over 4 GiB, and those that begin after 4 GiB, have ZIP64 fields.
 *
 * Source: PKWARE APPNOTE 6.3.10; the layout is the one that PyTorch 2.9 was seen to write.
 */
import type { ByteWriter } from "./ByteWriter.ts"

/** Where data may begin. */
export const alignment = 64

const uint32Max = 0xffffffff
const uint16Max = 0xffff
/** CRC and sizes follow the data; names are UTF-8. */
const flags = 0x0808
const localHeaderBytes = 30
const centralHeaderBytes = 46
const zip64EndBytes = 56 + 20
const endBytes = 22

interface Entry {
  readonly name: string
  readonly nameLength: number
  readonly size: number
  readonly offset: number
  crc: number
}

const localExtraBytes = (offset: number, nameLength: number, size: number): number => {
  const bare = localHeaderBytes + nameLength + (size >= uint32Max ? 20 : 0) + 4
  const padding = (alignment - ((offset + bare) % alignment)) % alignment
  return bare - localHeaderBytes - nameLength + padding
}

const descriptorBytes = (size: number): number => (size >= uint32Max ? 24 : 16)

const centralExtraBytes = (offset: number, size: number): number => {
  const fields = (size >= uint32Max ? 16 : 0) + (offset >= uint32Max ? 8 : 0)
  return fields === 0 ? 0 : 4 + fields
}

/** The size of an archive of records with these names and sizes. */
export const archiveSize = (records: Iterable<{ readonly name: string; readonly size: number }>): number => {
  let offset = 0
  let central = 0
  for (const { name, size } of records) {
    const nameLength = Buffer.byteLength(name)
    central += centralHeaderBytes + nameLength + centralExtraBytes(offset, size)
    offset += localHeaderBytes + nameLength + localExtraBytes(offset, nameLength, size) + size + descriptorBytes(size)
  }
  return offset + central + zip64EndBytes + endBytes
}

/** Writes one archive: `begin`, the data (by the caller), `end` for each record, then `finish`. */
export class ZipWriter {
  private readonly out: ByteWriter
  private readonly entries: Array<Entry> = []
  private offset = 0

  constructor(out: ByteWriter) {
    this.out = out
  }

  /** The local header of the next record; its data comes right after. */
  begin(name: string, size: number): void {
    const { offset, out } = this
    const nameLength = Buffer.byteLength(name)
    const extra = localExtraBytes(offset, nameLength, size)
    const zip64 = size >= uint32Max
    out.u32(0x04034b50)
    out.u16(zip64 ? 45 : 0)
    out.u16(flags)
    out.u16(0) // stored as it is
    out.u32(0) // no date
    out.u32(0) // the CRC comes later
    out.u32(zip64 ? uint32Max : 0)
    out.u32(zip64 ? uint32Max : 0)
    out.u16(nameLength)
    out.u16(extra)
    out.text(name)
    if (zip64) {
      out.u16(1)
      out.u16(16)
      out.u64(size)
      out.u64(size)
    }
    const padding = extra - (zip64 ? 20 : 0) - 4
    out.u16(0x4246) // "FB"
    out.u16(padding)
    out.repeat(0x5a, padding)
    this.entries.push({ name, nameLength, size, offset, crc: 0 })
    this.offset += localHeaderBytes + nameLength + extra + size + descriptorBytes(size)
  }

  /** What follows the data of the record that was begun last. */
  end(crc: number): void {
    const { out } = this
    const entry = this.entries[this.entries.length - 1]!
    entry.crc = crc
    out.u32(0x08074b50)
    out.u32(crc)
    if (entry.size >= uint32Max) {
      out.u64(entry.size)
      out.u64(entry.size)
    } else {
      out.u32(entry.size)
      out.u32(entry.size)
    }
  }

  /** The central directory and the end records. */
  finish(): void {
    const { entries, offset, out } = this
    const before = out.length
    for (const entry of entries) this.writeCentral(entry)
    const size = out.length - before
    const count = entries.length
    out.u32(0x06064b50)
    out.u64(44)
    out.u16(0x031e)
    out.u16(45)
    out.u64(0) // this disk, and the directory's
    out.u64(count)
    out.u64(count)
    out.u64(size)
    out.u64(offset)
    out.u32(0x07064b50)
    out.u32(0)
    out.u64(offset + size)
    out.u32(1)
    out.u32(0x06054b50)
    out.u32(0)
    out.u16(Math.min(count, uint16Max))
    out.u16(Math.min(count, uint16Max))
    out.u32(Math.min(size, uint32Max))
    out.u32(Math.min(offset, uint32Max))
    out.u16(0) // no comment
  }

  private writeCentral({ crc, name, nameLength, offset, size }: Entry): void {
    const { out } = this
    const extra = centralExtraBytes(offset, size)
    out.u32(0x02014b50)
    out.u16(0)
    out.u16(extra > 0 ? 45 : 0)
    out.u16(flags)
    out.u16(0)
    out.u32(0)
    out.u32(crc)
    out.u32(Math.min(size, uint32Max))
    out.u32(Math.min(size, uint32Max))
    out.u16(nameLength)
    out.u16(extra)
    out.repeat(0, 10) // no comment, disk 0, no attributes
    out.u32(Math.min(offset, uint32Max))
    out.text(name)
    if (extra > 0) {
      out.u16(1)
      out.u16(extra - 4)
      if (size >= uint32Max) {
        out.u64(size)
        out.u64(size)
      }
      if (offset >= uint32Max) out.u64(offset)
    }
  }
}
