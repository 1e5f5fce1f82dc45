/**
 * TensorChunk by hand, for the peers that are tuned or bare: written around the data, read without a copy, and read from
 * bytes as they arrive.
 */
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"

const varint = (out: Array<number>, value: number): void => {
  while (value > 127) {
    out.push((value % 128) | 128)
    value = Math.floor(value / 128)
  }
  out.push(value)
}

const text = (out: Array<number>, tag: number, value: string): void => {
  const bytes = Buffer.from(value)
  out.push(tag)
  varint(out, bytes.byteLength)
  for (const byte of bytes) out.push(byte)
}

/** What stands before the data, and after it. */
export const frameOf = (chunk: TensorChunk): { readonly head: Array<number>; readonly tail: Array<number> } => {
  const head: Array<number> = []
  text(head, 0x0a, chunk.tensorId)
  if (chunk.chunkNumber > 0) {
    head.push(0x10)
    varint(head, chunk.chunkNumber)
  }
  head.push(0x1a)
  varint(head, chunk.data.byteLength)
  const tail: Array<number> = [0x20]
  varint(tail, chunk.totalChunks)
  if (chunk.isLast) tail.push(0x28, 1)
  for (const key in chunk.metadata) {
    const entry: Array<number> = []
    text(entry, 0x0a, key)
    text(entry, 0x12, chunk.metadata[key]!)
    tail.push(0x32)
    varint(tail, entry.length)
    tail.push(...entry)
  }
  return { head, tail }
}

/** A message in one allocation, each byte of data copied once. */
export const encodeChunk = (chunk: TensorChunk): Buffer => {
  const { head, tail } = frameOf(chunk)
  const out = Buffer.allocUnsafe(head.length + chunk.data.byteLength + tail.length)
  out.set(head, 0)
  out.set(chunk.data, head.length)
  out.set(tail, head.length + chunk.data.byteLength)
  return out
}

/** Reads a message whose data stays where it is. */
export const decodeChunk = (bytes: Buffer): TensorChunk => {
  let tensorId = ""
  let chunkNumber = 0
  let data: Buffer = bytes.subarray(0, 0)
  let totalChunks = 0
  let isLast = false
  const metadata: Record<string, string> = {}
  let at = 0
  const read = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  const string = (): string => {
    const length = read()
    at += length
    return bytes.toString("utf8", at - length, at)
  }
  while (at < bytes.byteLength) {
    switch (bytes[at++]) {
      case 0x0a:
        tensorId = string()
        break
      case 0x10:
        chunkNumber = read()
        break
      case 0x1a: {
        const length = read()
        data = bytes.subarray(at, at + length)
        at += length
        break
      }
      case 0x20:
        totalChunks = read()
        break
      case 0x28:
        isLast = read() === 1
        break
      case 0x32: {
        const end = read() + at
        at++
        const key = string()
        at++
        metadata[key] = string()
        at = end
        break
      }
      default:
        throw new Error(`field ${bytes[at - 1]} of a TensorChunk`)
    }
  }
  return { tensorId, chunkNumber, data: data as never, totalChunks, isLast, metadata }
}

/** The largest head of a message: id, number and the data's length. */
const headRoom = 96

/**
 * Reads gRPC messages from bytes as they arrive: `data` gets each fragment of a chunk's data, `last` is told at the end
 * of a tensor's last chunk. Made for what tensor servers send, and for nothing else.
 */
export class FragmentReader {
  private readonly data: (bytes: Uint8Array) => void
  private readonly last: () => void
  private readonly scratch = Buffer.alloc(headRoom)
  private held = 0
  private messageLeft = 0
  private dataLeft = 0
  private phase: "prefix" | "head" | "data" | "tail" = "prefix"
  private tail: Array<Uint8Array> = []

  constructor(data: (bytes: Uint8Array) => void, last: () => void) {
    this.data = data
    this.last = last
  }

  feed(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.byteLength) {
      switch (this.phase) {
        case "prefix": {
          at += this.take(bytes, at, 5)
          if (this.held < 5) return
          this.messageLeft = this.scratch.readUInt32BE(1)
          this.held = 0
          this.phase = "head"
          break
        }
        case "head": {
          const before = this.held
          const room = Math.min(headRoom, this.messageLeft)
          this.take(bytes, at, room)
          const head = this.headLength()
          if (head === 0) {
            if (this.held === room) throw new Error("the head of a TensorChunk is too long")
            return
          }
          at += head - before
          this.held = 0
          this.messageLeft -= head + this.dataLeft
          this.phase = "data"
          break
        }
        case "data": {
          const some = Math.min(this.dataLeft, bytes.byteLength - at)
          this.data(some === bytes.byteLength ? bytes : bytes.subarray(at, at + some))
          at += some
          this.dataLeft -= some
          if (this.dataLeft === 0) this.phase = "tail"
          break
        }
        case "tail": {
          const some = Math.min(this.messageLeft, bytes.byteLength - at)
          this.tail.push(bytes.slice(at, at + some))
          at += some
          this.messageLeft -= some
          if (this.messageLeft > 0) break
          if (this.isLast(Buffer.concat(this.tail))) this.last()
          this.tail = []
          this.phase = "prefix"
        }
      }
    }
  }

  /** Copies into the scratch until it holds `upTo` bytes; gives how many. */
  private take(bytes: Uint8Array, at: number, upTo: number): number {
    const some = Math.min(upTo - this.held, bytes.byteLength - at)
    this.scratch.set(bytes.subarray(at, at + some), this.held)
    this.held += some
    return some
  }

  /** The length of the head once its end is here, which sets `dataLeft`; 0 before. */
  private headLength(): number {
    const { held, scratch } = this
    let at = 0
    while (at < held) {
      const tag = scratch[at++]!
      let value = 0
      for (let scale = 1; ; scale *= 128) {
        if (at >= held) return 0
        const byte = scratch[at++]!
        value += (byte & 127) * scale
        if (byte < 128) break
      }
      if (tag === 0x1a) {
        this.dataLeft = value
        return at
      }
      if (tag === 0x0a) at += value
      else if (tag !== 0x10) throw new Error(`field ${tag} before the data of a TensorChunk`)
    }
    return 0
  }

  /** Field 5 stands behind field 4, before any metadata. */
  private isLast(tail: Buffer): boolean {
    let at = 1
    while (tail[at]! > 127) at++
    return tail[at + 1] === 0x28 && tail[at + 2] === 1
  }
}
