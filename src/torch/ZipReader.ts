/**
 * Finds records in the uncompressed ZIP archives that `torch.save` writes. Pure: it is given the bytes that it asks for, so
 * that archives in memory and in files are read by the same code.
 *
 * **Details**
 *
 * Nothing is believed that is not checked: the directory lies inside the file, each record inside the room between its
 * own header and the next one's (so records cannot overlap), and names in both headers agree. Compressed and encrypted
 * records are refused when they are asked for; nothing is ever inflated.
 *
 * Source: PKWARE APPNOTE 6.3.10.
 */
import { quote, refuse, type Work } from "./Work.ts"

/** One record, as the central directory tells of it. */
export interface ZipEntry {
  readonly name: string
  readonly size: number
  readonly crc: number
  readonly flags: number
  readonly method: number
  readonly headerOffset: number
  /** Where the next record, or the directory, begins: the data must end before. */
  readonly limit: number
}

/** Where the central directory is. */
export interface ZipEnd {
  readonly offset: number
  readonly size: number
  readonly count: number
}

const end = "zip end record"
const directory = "zip central directory"

/** As many bytes from the end of a file hold its end records: comment, end record, ZIP64 locator and end record. */
export const maxEndBytes = 65535 + 22 + 20 + 56

/** The bytes of a local header before its name. */
export const localHeaderBytes = 30

/** The most records that an archive may have. */
export const defaultMaxRecords = 100_000

/** A record for a message. Made only when there is one: on the way of good files it would cost a tenth of reading. */
const recordNamed = (name: string): string => `record ${quote(name)}`

const uint64 = (view: DataView, at: number, where: () => string, what: string): number => {
  const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
  return Number.isSafeInteger(value) ? value : refuse(where(), `${what} is ${view.getBigUint64(at, true)}`)
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Reads the end records. `tail` is the end of the file, at least `maxEndBytes` of it where the file has as much. */
export const findEnd = (tail: Uint8Array, fileSize: number, work: Work): ZipEnd => {
  const base = fileSize - tail.byteLength
  const view = viewOf(tail)
  let at = tail.byteLength - 22
  for (; at >= 0; at--) {
    if (view.getUint32(at, true) === 0x06054b50 && at + 22 + view.getUint16(at + 20, true) === tail.byteLength) break
    work.bytes++
  }
  if (at < 0) return refuse(end, "is missing: the file is cut off, or has bytes after its end")
  const short = {
    disk: view.getUint16(at + 4, true),
    count: view.getUint16(at + 10, true),
    countHere: view.getUint16(at + 8, true),
    size: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true)
  }
  if (short.disk !== 0 || short.count !== short.countHere) return refuse(end, "tells of an archive in several files")
  let found = { count: short.count, size: short.size, offset: short.offset }
  let before = base + at
  if (at >= 20 && view.getUint32(at - 20, true) === 0x07064b50) {
    const where = "zip64 end record"
    const field = (start: number, what: string) => uint64(view, start, () => where, what)
    const offset = field(at - 12, "its offset")
    const inTail = offset - base
    if (inTail < 0 || inTail + 56 > at - 20) return refuse(where, `cannot be at ${offset}`)
    if (view.getUint32(inTail, true) !== 0x06064b50) return refuse(where, `is not at ${offset}`)
    found = {
      count: field(inTail + 32, "the number of records"),
      size: field(inTail + 40, "the directory's size"),
      offset: field(inTail + 48, "the directory's offset")
    }
    const agrees = (small: number, max: number, large: number) => small === max || small === large
    if (
      !agrees(short.count, 0xffff, found.count) ||
      !agrees(short.size, 0xffffffff, found.size) ||
      !agrees(short.offset, 0xffffffff, found.offset)
    ) {
      return refuse(where, "disagrees with the end record")
    }
    before = offset
  }
  if (found.offset + found.size > before) {
    return refuse(end, `puts the directory at ${found.offset} with ${found.size} bytes; only ${before} are before it`)
  }
  if (found.count * 46 > found.size) return refuse(end, `tells of ${found.count} records in ${found.size} bytes`)
  return found
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Reads the central directory, whose bytes are given. */
export const readDirectory = (
  bytes: Uint8Array,
  { count, offset, size }: ZipEnd,
  work: Work
): Map<string, ZipEntry> => {
  const view = viewOf(bytes)
  const entries: Array<{ -readonly [K in keyof ZipEntry]: ZipEntry[K] }> = []
  const byName = new Map<string, ZipEntry>()
  let at = 0
  for (let index = 0; index < count; index++) {
    work.records++
    if (at + 46 > size) return refuse(directory, `ends within entry ${index} of ${count}`)
    if (view.getUint32(at, true) !== 0x02014b50) return refuse(directory, `entry ${index} has a wrong signature`)
    const nameEnd = at + 46 + view.getUint16(at + 28, true)
    const extraEnd = nameEnd + view.getUint16(at + 30, true)
    const next = extraEnd + view.getUint16(at + 32, true)
    if (next > size) return refuse(directory, `ends within entry ${index} of ${count}`)
    work.bytes += next - at
    let name: string
    try {
      name = utf8.decode(bytes.subarray(at + 46, nameEnd))
    } catch {
      return refuse(directory, `the name of entry ${index} is not UTF-8`)
    }
    const where = () => recordNamed(name)
    let compressed = view.getUint32(at + 20, true)
    let entrySize = view.getUint32(at + 24, true)
    let headerOffset = view.getUint32(at + 42, true)
    if (compressed === 0xffffffff || entrySize === 0xffffffff || headerOffset === 0xffffffff) {
      const extra = findZip64(view, nameEnd, extraEnd)
      let field = extra.start
      const wide = (what: string): number => {
        if (field + 8 > extra.end) return refuse(where(), `lacks ${what} in its ZIP64 field`)
        field += 8
        return uint64(view, field - 8, where, what)
      }
      if (entrySize === 0xffffffff) entrySize = wide("the size")
      if (compressed === 0xffffffff) compressed = wide("the stored size")
      if (headerOffset === 0xffffffff) headerOffset = wide("the offset")
    }
    if (view.getUint16(at + 10, true) === 0 && compressed !== entrySize) {
      return refuse(where(), `has two sizes, ${entrySize} and ${compressed}`)
    }
    if (byName.has(name)) return refuse(where(), "is there twice")
    const entry = {
      name,
      size: entrySize,
      crc: view.getUint32(at + 16, true),
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      headerOffset,
      limit: offset
    }
    entries.push(entry)
    byName.set(name, entry)
    at = next
  }
  entries.sort((a, b) => a.headerOffset - b.headerOffset)
  for (let index = 0; index < entries.length; index++) {
    const entry = entries[index]!
    if (index + 1 < entries.length) entry.limit = entries[index + 1]!.headerOffset
    if (entry.headerOffset + localHeaderBytes > entry.limit || entry.limit > offset) {
      return refuse(recordNamed(entry.name), `at ${entry.headerOffset} overlaps another, or the directory`)
    }
  }
  return byName
}

const findZip64 = (view: DataView, start: number, end: number): { readonly start: number; readonly end: number } => {
  for (let at = start; at + 4 <= end; ) {
    const next = at + 4 + view.getUint16(at + 2, true)
    if (view.getUint16(at, true) === 1) return { start: at + 4, end: Math.min(next, end) }
    at = next
  }
  return { start: end, end }
}

/** How many bytes from an entry's header offset its local header may take. */
export const localHeaderRoom = (entry: ZipEntry): number =>
  Math.min(entry.limit - entry.headerOffset, localHeaderBytes + entry.name.length * 3)

/** Where a record's data begins. `header` holds the first `localHeaderRoom` bytes at its header offset. */
export const dataOffset = (entry: ZipEntry, header: Uint8Array, work: Work): number => {
  const where = () => recordNamed(entry.name)
  work.records++
  work.bytes += header.byteLength
  if (entry.method !== 0) {
    return refuse(where(), `is compressed (method ${entry.method}); torch.save stores records as they are`)
  }
  if ((entry.flags & 1) !== 0) return refuse(where(), "is encrypted")
  const view = viewOf(header)
  if (view.getUint32(0, true) !== 0x04034b50) return refuse(where(), `has no local header at ${entry.headerOffset}`)
  const nameLength = view.getUint16(26, true)
  const nameBytes = header.subarray(localHeaderBytes, localHeaderBytes + nameLength)
  let name: string | undefined
  try {
    name = utf8.decode(nameBytes)
  } catch {
    // Said below.
  }
  if (name !== entry.name) return refuse(where(), "has another name in its local header")
  const stated = view.getUint32(22, true)
  if ((view.getUint16(6, true) & 8) === 0 && stated !== 0xffffffff && stated !== entry.size) {
    return refuse(where(), `is ${entry.size} bytes in the directory and ${stated} in its local header`)
  }
  const start = entry.headerOffset + localHeaderBytes + nameLength + view.getUint16(28, true)
  if (start + entry.size > entry.limit) {
    return refuse(where(), `of ${entry.size} bytes at ${start} runs into what follows at ${entry.limit}`)
  }
  return start
}
