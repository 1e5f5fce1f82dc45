/**
 * Writes the uncompressed ZIP archives that `torch.save` writes, piece by piece, without touching the records' data.
 *
 * Every record's data begins at a multiple of 64 bytes (a padding extra field `FB` in its local header sees to that) and is
 * followed by a data descriptor, so that the CRC may be known last. The archive ends with a ZIP64 end record, always, as
 * PyTorch's writer does. Records over 4 GiB, and those that begin after 4 GiB, have ZIP64 fields.
 *
 * Source: PKWARE APPNOTE 6.3.10; the layout is the one that PyTorch 2.9 was seen to write.
 */

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

const encoder = new TextEncoder()

interface Entry {
  readonly name: Uint8Array
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
    const nameLength = encoder.encode(name).length
    central += centralHeaderBytes + nameLength + centralExtraBytes(offset, size)
    offset += localHeaderBytes + nameLength + localExtraBytes(offset, nameLength, size) + size + descriptorBytes(size)
  }
  return offset + central + zip64EndBytes + endBytes
}

/** Writes one archive: `begin`, the data (by the caller), `end` for each record, then `finish`. */
export class ZipWriter {
  private readonly entries: Array<Entry> = []
  private offset = 0

  /** The local header of the next record; its data comes right after. */
  begin(recordName: string, size: number): Uint8Array {
    const name = encoder.encode(recordName)
    const extra = localExtraBytes(this.offset, name.length, size)
    const header = new Uint8Array(localHeaderBytes + name.length + extra)
    const view = new DataView(header.buffer)
    const zip64 = size >= uint32Max
    view.setUint32(0, 0x04034b50, true)
    view.setUint16(4, zip64 ? 45 : 0, true)
    view.setUint16(6, flags, true)
    if (zip64) {
      view.setUint32(18, uint32Max, true)
      view.setUint32(22, uint32Max, true)
    }
    view.setUint16(26, name.length, true)
    view.setUint16(28, extra, true)
    header.set(name, localHeaderBytes)
    let at = localHeaderBytes + name.length
    if (zip64) {
      view.setUint16(at, 1, true)
      view.setUint16(at + 2, 16, true)
      view.setBigUint64(at + 4, BigInt(size), true)
      view.setBigUint64(at + 12, BigInt(size), true)
      at += 20
    }
    header[at] = 0x46
    header[at + 1] = 0x42
    view.setUint16(at + 2, header.length - at - 4, true)
    header.fill(0x5a, at + 4)
    this.entries.push({ name, size, offset: this.offset, crc: 0 })
    this.offset += header.length + size + descriptorBytes(size)
    return header
  }

  /** What follows the data of the record that was begun last. */
  end(crc: number): Uint8Array {
    const entry = this.entries[this.entries.length - 1]!
    entry.crc = crc
    const descriptor = new Uint8Array(descriptorBytes(entry.size))
    const view = new DataView(descriptor.buffer)
    view.setUint32(0, 0x08074b50, true)
    view.setUint32(4, crc, true)
    if (descriptor.length === 16) {
      view.setUint32(8, entry.size, true)
      view.setUint32(12, entry.size, true)
    } else {
      view.setBigUint64(8, BigInt(entry.size), true)
      view.setBigUint64(16, BigInt(entry.size), true)
    }
    return descriptor
  }

  /** The central directory and the end records. */
  finish(): Uint8Array {
    const start = this.offset
    let size = 0
    for (const entry of this.entries) {
      size += centralHeaderBytes + entry.name.length + centralExtraBytes(entry.offset, entry.size)
    }
    const out = new Uint8Array(size + zip64EndBytes + endBytes)
    const view = new DataView(out.buffer)
    let at = 0
    for (const entry of this.entries) at = this.writeCentral(out, view, at, entry)
    const count = this.entries.length
    view.setUint32(at, 0x06064b50, true)
    view.setBigUint64(at + 4, 44n, true)
    view.setUint16(at + 12, 0x031e, true)
    view.setUint16(at + 14, 45, true)
    view.setBigUint64(at + 24, BigInt(count), true)
    view.setBigUint64(at + 32, BigInt(count), true)
    view.setBigUint64(at + 40, BigInt(size), true)
    view.setBigUint64(at + 48, BigInt(start), true)
    at += 56
    view.setUint32(at, 0x07064b50, true)
    view.setBigUint64(at + 8, BigInt(start + size), true)
    view.setUint32(at + 16, 1, true)
    at += 20
    view.setUint32(at, 0x06054b50, true)
    view.setUint16(at + 8, Math.min(count, uint16Max), true)
    view.setUint16(at + 10, Math.min(count, uint16Max), true)
    view.setUint32(at + 12, Math.min(size, uint32Max), true)
    view.setUint32(at + 16, Math.min(start, uint32Max), true)
    return out
  }

  private writeCentral(out: Uint8Array, view: DataView, at: number, entry: Entry): number {
    const extra = centralExtraBytes(entry.offset, entry.size)
    view.setUint32(at, 0x02014b50, true)
    view.setUint16(at + 6, extra > 0 ? 45 : 0, true)
    view.setUint16(at + 8, flags, true)
    view.setUint32(at + 16, entry.crc, true)
    view.setUint32(at + 20, Math.min(entry.size, uint32Max), true)
    view.setUint32(at + 24, Math.min(entry.size, uint32Max), true)
    view.setUint16(at + 28, entry.name.length, true)
    view.setUint16(at + 30, extra, true)
    view.setUint32(at + 42, Math.min(entry.offset, uint32Max), true)
    out.set(entry.name, at + centralHeaderBytes)
    at += centralHeaderBytes + entry.name.length
    if (extra > 0) {
      view.setUint16(at, 1, true)
      view.setUint16(at + 2, extra - 4, true)
      at += 4
      if (entry.size >= uint32Max) {
        view.setBigUint64(at, BigInt(entry.size), true)
        view.setBigUint64(at + 8, BigInt(entry.size), true)
        at += 16
      }
      if (entry.offset >= uint32Max) {
        view.setBigUint64(at, BigInt(entry.offset), true)
        at += 8
      }
    }
    return at
  }
}
