/**
 * HPACK, the compression of HTTP/2 headers (RFC 7541): written in its plainest form, read in every form.
 *
 * **Gotchas**
 *
 * A few bytes can stand for many: the decoded headers are bounded, not only their bytes.
 */

/** A name and its value; a sensitive one is never put into a table on the way. */
export interface HeaderField {
  readonly name: string
  readonly value: string
  readonly sensitive?: boolean | undefined
}

export type Headers = Readonly<Record<string, string>>

/** Bytes that are no HPACK, or too many headers: the connection cannot go on. */
export class HpackError extends Error {}

/** The default size of the table, which we do not change; and each entry's own weight (RFC 7541, 4.1). */
const maxTableSize = 4096
const entryOverhead = 32

/** The most that decoded headers may take. */
const maxHeaderListSize = 64 * 1024

/** RFC 7541, appendix A. */
const staticTable: ReadonlyArray<readonly [name: string, value: string]> = (
  ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|" +
  ":status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|" +
  "accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|" +
  "content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|" +
  "cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|" +
  "last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|" +
  "server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
  .split("|")
  .map((entry) => {
    const at = entry.indexOf("=")
    return at === -1 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)]
  })

/** The lengths of the Huffman codes of the 256 bytes and the end mark (RFC 7541, appendix B). The code is canonical. */
const codeLengths = (
  "13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 " +
  "6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 " +
  "13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 " +
  "15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 " +
  "20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 " +
  "22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 " +
  "26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 " +
  "20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30"
)
  .split(" ")
  .map(Number)

const endMark = 256
const longestCode = 30

/** For each length: the first code of it, and the symbols in the order of their codes. */
const codesByLength = (() => {
  const table: Array<{ readonly first: number; readonly symbols: ReadonlyArray<number> }> = []
  let code = 0
  for (let length = 1; length <= longestCode; length++) {
    code *= 2
    const symbols = codeLengths.flatMap((each, symbol) => (each === length ? [symbol] : []))
    table[length] = { first: code, symbols }
    code += symbols.length
  }
  return table
})()

const huffmanDecode = (bytes: Uint8Array): string => {
  const out: Array<number> = []
  let code = 0
  let length = 0
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1)
      length++
      if (length > longestCode) throw new HpackError("a Huffman code that there is not")
      const { first, symbols } = codesByLength[length]!
      const symbol = symbols[code - first]
      if (symbol === undefined) continue
      if (symbol === endMark) throw new HpackError("a Huffman end mark within a string")
      out.push(symbol)
      code = 0
      length = 0
    }
  }
  // What is left is padding: the first bits of the end mark, which are ones.
  if (length > 7 || code !== 2 ** length - 1) throw new HpackError("a Huffman string that is padded wrongly")
  return Buffer.from(out).toString("latin1")
}

/** An integer with a prefix of so many bits (RFC 7541, 5.1). */
const integer = (value: number, bits: number, flags: number): ReadonlyArray<number> => {
  const most = 2 ** bits - 1
  if (value < most) return [flags | value]
  const out = [flags | most]
  let rest = value - most
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  out.push(rest)
  return out
}

const literal = (text: string): Buffer => {
  const bytes = Buffer.from(text, "latin1")
  return Buffer.concat([Buffer.from(integer(bytes.byteLength, 7, 0)), bytes])
}

/** Headers as literals that no table keeps: the other side needs no memory for them. */
export const encodeHeaders = (fields: Iterable<HeaderField>): Buffer => {
  const parts: Array<Uint8Array> = []
  for (const { name, sensitive, value } of fields) {
    parts.push(Buffer.from([sensitive === true ? 0x10 : 0]), literal(name), literal(value))
  }
  return Buffer.concat(parts)
}

/** Said before a header block when the server has set its table's size: ours stays empty (RFC 7541, 4.2). */
export const emptyTable: Uint8Array = Buffer.from([0x20])

/** Reads the header blocks of one connection, in their order. */
export class HpackDecoder {
  /** The newest entry first. */
  private readonly table: Array<readonly [name: string, value: string]> = []
  private tableSize = 0
  private limit = maxTableSize
  private bytes: Uint8Array = new Uint8Array()
  private at = 0

  decode(block: Uint8Array): Headers {
    this.bytes = block
    this.at = 0
    const headers: Record<string, string> = Object.create(null)
    let size = 0
    let first = true
    while (this.at < block.byteLength) {
      const byte = block[this.at]!
      let field: readonly [name: string, value: string]
      if (byte >= 0x80) field = this.entry(this.integer(7))
      else if (byte >= 0x40) {
        field = this.literal(6)
        this.keep(field)
      } else if (byte >= 0x20) {
        if (!first) throw new HpackError("a change of the table's size after a header")
        this.resize(this.integer(5))
        continue
      } else field = this.literal(4)
      first = false
      const [name, value] = field
      size += name.length + value.length + entryOverhead
      if (size > maxHeaderListSize) throw new HpackError(`headers of more than ${maxHeaderListSize} bytes`)
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value
    }
    return headers
  }

  private entry(index: number): readonly [name: string, value: string] {
    const field = index <= staticTable.length ? staticTable[index - 1] : this.table[index - staticTable.length - 1]
    if (field === undefined) throw new HpackError(`no header has the index ${index}`)
    return field
  }

  private literal(bits: number): readonly [name: string, value: string] {
    const index = this.integer(bits)
    const name = index === 0 ? this.string() : this.entry(index)[0]
    return [name, this.string()]
  }

  private keep(field: readonly [name: string, value: string]): void {
    this.table.unshift(field)
    this.tableSize += field[0].length + field[1].length + entryOverhead
    this.evict()
  }

  private resize(limit: number): void {
    if (limit > maxTableSize) throw new HpackError(`a table of ${limit} bytes`)
    this.limit = limit
    this.evict()
  }

  private evict(): void {
    while (this.tableSize > this.limit) {
      const [name, value] = this.table.pop()!
      this.tableSize -= name.length + value.length + entryOverhead
    }
  }

  private byte(): number {
    const byte = this.bytes[this.at++]
    if (byte === undefined) throw new HpackError("a header block that ends within a header")
    return byte
  }

  private integer(bits: number): number {
    const most = 2 ** bits - 1
    let value = this.byte() & most
    if (value < most) return value
    for (let scale = 1; ; scale *= 0x80) {
      if (scale > 2 ** 28) throw new HpackError("an integer that is too long")
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }

  private string(): string {
    const huffman = (this.bytes[this.at] ?? 0) >= 0x80
    const length = this.integer(7)
    if (length > this.bytes.byteLength - this.at) throw new HpackError("a string that is longer than its block")
    const bytes = this.bytes.subarray(this.at, this.at + length)
    this.at += length
    return huffman ? huffmanDecode(bytes) : Buffer.from(bytes).toString("latin1")
  }
}
