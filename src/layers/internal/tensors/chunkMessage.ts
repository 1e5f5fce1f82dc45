/**
 * The message `TensorChunk` on the wire, without joining or decoding it whole.
 *
 * Written, it is a few bytes before the data, the data's own views, and a few bytes after. Read, its small fields are
 * gathered and its data goes to its place as it arrives, fragment by fragment. `protoc`'s generated code would copy a
 * chunk twice on either way; a property test holds the two against each other.
 */
import { TensorChunk_MetadataEntry } from "../../../schema/generated/kpu/torch/service.ts"
import { TensorDecodeError, TensorLimitError } from "../../../schema/KpuError.ts"
import type { Assembler, ChunkSlot, Payload } from "../../../torch/Assembler.ts"
import type { Chunk } from "../../../torch/Chunker.ts"

const varintLength = (value: number): number => {
  let length = 1
  while (value >= 0x80) {
    value = Math.floor(value / 0x80)
    length++
  }
  return length
}

/** Writes a varint, and gives the offset behind it. */
const writeVarint = (target: Uint8Array, at: number, value: number): number => {
  while (value >= 0x80) {
    target[at++] = (value % 0x80) | 0x80
    value = Math.floor(value / 0x80)
  }
  target[at++] = value
  return at
}

/** A string field: its tag, its length, its UTF-8. An empty one is left out. */
const stringLength = (byteLength: number): number => (byteLength === 0 ? 0 : 1 + varintLength(byteLength) + byteLength)

const writeString = (target: Buffer, at: number, tag: number, value: string, byteLength: number): number => {
  if (byteLength === 0) return at
  target[at] = tag
  at = writeVarint(target, at + 1, byteLength)
  return at + target.write(value, at)
}

/** The entries of the map `metadata`: each a message of a key and a value, as every map of protobuf is. */
const metadataEntries = (metadata: Readonly<Record<string, string>>): Uint8Array => {
  let byteLength = 0
  for (const key in metadata) {
    const entry = stringLength(Buffer.byteLength(key)) + stringLength(Buffer.byteLength(metadata[key]!))
    byteLength += 1 + varintLength(entry) + entry
  }
  const target = Buffer.allocUnsafe(byteLength)
  let at = 0
  for (const key in metadata) {
    const value = metadata[key]!
    const keyLength = Buffer.byteLength(key)
    const valueLength = Buffer.byteLength(value)
    target[at] = 0x32
    at = writeVarint(target, at + 1, stringLength(keyLength) + stringLength(valueLength))
    at = writeString(target, at, 0x0a, key, keyLength)
    at = writeString(target, at, 0x12, value, valueLength)
  }
  return target
}

/** A message in parts. */
export interface MessageViews {
  readonly views: ReadonlyArray<Uint8Array>
  readonly byteLength: number
}

/** A chunk as the views of its message. */
export const chunkMessage = (chunk: Chunk): MessageViews => {
  const { chunkNumber, tensorId, totalChunks } = chunk
  const idLength = Buffer.byteLength(tensorId)
  const head = Buffer.allocUnsafe(
    1 +
      varintLength(idLength) +
      idLength +
      (chunkNumber > 0 ? 1 + varintLength(chunkNumber) : 0) +
      1 +
      varintLength(chunk.byteLength)
  )
  head[0] = 0x0a
  let at = writeVarint(head, 1, idLength)
  at += head.write(tensorId, at)
  if (chunkNumber > 0) {
    head[at] = 0x10
    at = writeVarint(head, at + 1, chunkNumber)
  }
  head[at] = 0x1a
  writeVarint(head, at + 1, chunk.byteLength)

  const metadata = chunkNumber === 0 ? metadataEntries(chunk.metadata) : undefined
  const tail = Buffer.allocUnsafe(1 + varintLength(totalChunks) + (chunk.isLast ? 2 : 0) + (metadata?.byteLength ?? 0))
  tail[0] = 0x20
  at = writeVarint(tail, 1, totalChunks)
  if (chunk.isLast) {
    tail[at++] = 0x28
    tail[at++] = 1
  }
  if (metadata !== undefined) tail.set(metadata, at)
  return { views: [head, ...chunk.views, tail], byteLength: head.byteLength + chunk.byteLength + tail.byteLength }
}

/** The most that all fields of a message but its data may take, in bytes. */
const maxSmallBytes = 128 * 1024

const reading = { tag: 0, varint: 1, length: 2, small: 3, data: 4, skip: 5 } as const
type State = (typeof reading)[keyof typeof reading]

const text = new TextDecoder("utf-8", { fatal: true })

const malformed = (problem: string): never => {
  throw new TensorDecodeError({ where: "a TensorChunk message", problem })
}

/** Reads the messages of one stream into its assembler. What is wrong with them is thrown. */
export class ChunkReader {
  private readonly assembler: Assembler
  private readonly done: (payload: Payload) => void

  /** Bytes of the message still to come. */
  private left = 0
  private state: State = reading.tag
  /** The varint under way. */
  private value = 0
  private scale = 1
  private tag = 0
  /** Bytes of the field still to come, and those gathered of a small one. */
  private fieldLeft = 0
  private smallLeft = 0
  private gathered: Array<Uint8Array> = []

  private tensorId = ""
  private chunkNumber = 0
  private totalChunks = 0
  private metadata: Record<string, string> = {}
  private slot: ChunkSlot | undefined

  constructor(assembler: Assembler, done: (payload: Payload) => void) {
    this.assembler = assembler
    this.done = done
  }

  message(byteLength: number): void {
    this.left = byteLength
    this.state = reading.tag
    this.value = 0
    this.scale = 1
    this.smallLeft = maxSmallBytes
    this.tensorId = ""
    this.chunkNumber = 0
    this.totalChunks = 0
    this.metadata = {}
    this.slot = undefined
    if (byteLength === 0) this.finish()
  }

  fragment(bytes: Uint8Array): void {
    this.left -= bytes.byteLength
    let at = 0
    while (at < bytes.byteLength) {
      switch (this.state) {
        case reading.data: {
          const end = Math.min(at + this.fieldLeft, bytes.byteLength)
          this.slot!.write(at === 0 && end === bytes.byteLength ? bytes : bytes.subarray(at, end))
          this.fieldLeft -= end - at
          at = end
          if (this.fieldLeft === 0) this.state = reading.tag
          break
        }
        case reading.small:
        case reading.skip: {
          const end = Math.min(at + this.fieldLeft, bytes.byteLength)
          // Copied: the fragment is the transport's again when this returns. (The slice of a Buffer would be a view.)
          if (this.state === reading.small) this.gathered.push(Buffer.from(bytes.subarray(at, end)))
          this.fieldLeft -= end - at
          at = end
          if (this.fieldLeft === 0) this.endField()
          break
        }
        default: {
          const byte = bytes[at++]!
          this.value += (byte & 0x7f) * this.scale
          if (byte >= 0x80) {
            this.scale *= 0x80
            // Ten bytes, as a negative int32 would take, are read and given up as a number.
            if (this.scale > 2 ** 63) malformed("a number has more than ten bytes")
          } else {
            const { value } = this
            this.value = 0
            this.scale = 1
            this.number(value, this.left + bytes.byteLength - at)
          }
        }
      }
    }
    if (this.left === 0) this.finish()
  }

  /** A tag, a number or a length is whole; `rest` bytes of the message follow it. */
  private number(value: number, rest: number): void {
    if (this.state === reading.tag) {
      this.startField(value, rest)
      return
    }
    if (this.state === reading.varint) {
      this.state = reading.tag
      // uint32 on the wire: higher bits are cut off, as every protobuf library does.
      if (this.tag === 0x10) this.chunkNumber = value % 2 ** 32
      else if (this.tag === 0x20) this.totalChunks = value % 2 ** 32
      return
    }
    if (value > rest) malformed(`a field of ${value} bytes is longer than the rest of its message`)
    this.fieldLeft = value
    if (this.tag === 0x1a) {
      if (this.slot !== undefined) malformed("has its data twice")
      this.slot = this.assembler.begin({ tensorId: this.tensorId, chunkNumber: this.chunkNumber }, value)
      this.state = value === 0 ? reading.tag : reading.data
    } else if (this.tag === 0x0a || this.tag === 0x32) {
      this.smallLeft -= value
      if (this.smallLeft < 0) {
        throw new TensorLimitError({
          limit: "maxMetadataBytes",
          problem: `a chunk's id and metadata take more than ${maxSmallBytes} bytes`
        })
      }
      this.gathered = []
      this.state = reading.small
      if (value === 0) this.endField()
    } else {
      this.state = value === 0 ? reading.tag : reading.skip
    }
  }

  private startField(tag: number, rest: number): void {
    this.tag = tag
    if (tag < 8 || tag >= 2 ** 32) malformed("has a field of number 0 or above the largest")
    switch (tag % 8) {
      case 0:
        this.state = reading.varint
        return
      case 1:
      case 5:
        this.fieldLeft = tag % 8 === 1 ? 8 : 4
        if (this.fieldLeft > rest) malformed("ends within a field")
        this.state = reading.skip
        return
      case 2:
        this.state = reading.length
        return
      default:
        malformed(`has a field of wire type ${tag % 8}`)
    }
  }

  /** A field of bytes is whole. */
  private endField(): void {
    if (this.state === reading.small) {
      const bytes = this.gathered.length === 1 ? this.gathered[0]! : Buffer.concat(this.gathered)
      this.gathered = []
      try {
        if (this.tag === 0x0a) this.tensorId = text.decode(bytes)
        else {
          const { key, value } = TensorChunk_MetadataEntry.decode(bytes)
          this.metadata[key] = value
        }
      } catch {
        malformed(this.tag === 0x0a ? "has an id that is not UTF-8" : "has metadata that cannot be read")
      }
    }
    this.state = reading.tag
  }

  private finish(): void {
    if (this.state !== reading.tag || this.scale !== 1) malformed("ends within a field")
    const { chunkNumber, metadata, tensorId, totalChunks } = this
    const slot = this.slot ?? this.assembler.begin({ tensorId, chunkNumber }, 0)
    const payload = slot.end({ tensorId, chunkNumber, totalChunks, metadata })
    this.slot = undefined
    if (payload !== undefined) this.done(payload)
  }
}
