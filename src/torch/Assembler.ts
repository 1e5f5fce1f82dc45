/**
 * Puts chunks together into payloads: several tensors at once, in any order, each byte copied to its final place once.
 *
 * **Details**
 *
 * A tensor's payload is allocated once, when chunk 0 has told its size. Chunk n goes behind chunk n − 1. When it comes
 * early, its place is still known if all chunks but the last are of one size: that of chunk 0, provided that this fits the
 * payload's size and the number of chunks. If a chunk then has another size, the chunks beyond the gap are moved aside and
 * wait for their turn, as do chunks that come before chunk 0. So every way of cutting is put together rightly, and the
 * usual one without a second copy.
 *
 * The data of a streamed chunk 0 comes before the size of its tensor. Where the last tensor's payload was of a few chunks
 * like this one, the same size is guessed and the data goes to its final place; a wrong guess costs a second copy.
 *
 * Two ways in: `push` takes whole messages; `begin` gives a slot for data that arrives in fragments.
 *
 * **Gotchas**
 *
 * Nothing is allocated on the word of a peer beyond the limits. Broken streams throw `TensorDecodeError` and
 * `TensorLimitError`; after that the assembler holds nothing and is not used again. `finish` throws if a tensor is not
 * whole. `is_last` says nothing that `total_chunks` does not, and is not looked at.
 */
import type { TensorChunk } from "../schema/generated/kpu/torch/service.ts"
import { TensorLimitError } from "../schema/KpuError.ts"
import { type Metadata, payloadSize } from "./TensorMetadata.ts"
import { quote, refuse } from "./Work.ts"

/** Limits on what a peer may make us hold. */
export interface AssemblerOptions {
  /** The largest payload of one tensor, in bytes. 4 GiB by default. */
  readonly maxTensorBytes?: number | undefined
  /** The most tensors that may be incomplete at once. 64 by default. */
  readonly maxOpenTensors?: number | undefined
  /** The most bytes that all incomplete tensors may hold. 8 GiB by default. */
  readonly maxOpenBytes?: number | undefined
  /** The most data in one chunk, in bytes. 64 MiB by default. */
  readonly maxChunkBytes?: number | undefined
  /** Makes the memory of a payload, which is written in full; fresh memory by default. */
  readonly allocate?: ((size: number) => Uint8Array) | undefined
}

/** The defaults of `AssemblerOptions`. */
export const assemblerDefaults = {
  maxTensorBytes: 4 * 2 ** 30,
  maxOpenTensors: 64,
  maxOpenBytes: 8 * 2 ** 30,
  maxChunkBytes: 64 * 2 ** 20
} as const

/** A payload that is whole. */
export interface Payload {
  readonly tensorId: string
  readonly metadata: Metadata
  readonly bytes: Uint8Array
}

/** A chunk without its data. */
export interface ChunkHeader {
  readonly tensorId: string
  readonly chunkNumber: number
  readonly totalChunks: number
  readonly metadata: Metadata
}

/** Where one chunk's data goes as it arrives. */
export interface ChunkSlot {
  /** Bytes still to come. */
  readonly remaining: number
  /** Copies a fragment to its place. */
  write(fragment: Uint8Array): void
  /** Ends the chunk, all of whose fields are known now; gives the payload if it is whole. */
  end(header: ChunkHeader): Payload | undefined
}

/** Ids of this many complete tensors are remembered, so that a chunk that comes again is seen as such. */
const rememberedIds = 1024
/** Senders' ids are shorter: an answer's id is theirs with something before it. */
const maxIdLength = 1024
/** What a chunk out of its turn costs besides its bytes: counted, so that many tiny ones are seen for what they are. */
const entryBytes = 256
/** The most chunks out of their turn: each is an object of the heap, which is smaller than memory. */
const maxEarlyChunks = 2 ** 18

/** A payload's size is guessed up to so many times the size of its chunk 0: beyond, the copy that it saves is a small part. */
const maxGuess = 8

/** Whose memory a chunk's data is: the caller's, ours, or the payload's own. */
type DataIs = "borrowed" | "owned" | "in place"

const chunkWhere = (tensorId: string, chunkNumber: number): string =>
  `chunk ${chunkNumber} of tensor ${quote(tensorId)}`

/** Memory that will be written in full: it is not zeroed first. */
const allocate = (size: number): Uint8Array => {
  try {
    return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer, 0, size)
  } catch {
    throw new TensorLimitError({ limit: "memory", problem: `this process cannot allocate ${size} bytes` })
  }
}

/** One incomplete tensor. */
class OpenTensor {
  readonly totalChunks: number
  metadata: Metadata | undefined
  size = 0
  payload: Uint8Array | undefined
  /** Chunks below this one are in place, and end here. */
  prefix = 0
  prefixEnd = 0
  /** The size of all chunks but the last, while nothing speaks against it; 0 when it is not known. */
  uniform = 0
  /** Sizes of chunks in place beyond the prefix. */
  readonly placed = new Map<number, number>()
  /** Chunks whose place is not known yet. */
  readonly waiting = new Map<number, Uint8Array>()
  received = 0
  receivedBytes = 0
  /** Bytes held: the payload and what waits. */
  held = 0

  constructor(totalChunks: number) {
    this.totalChunks = totalChunks
  }

  has(chunkNumber: number): boolean {
    return chunkNumber < this.prefix || this.placed.has(chunkNumber) || this.waiting.has(chunkNumber)
  }

  /** Whether a chunk of this size agrees with all chunks but the last being of one size. */
  fits(chunkNumber: number, length: number): boolean {
    const last = this.totalChunks - 1
    return length === (chunkNumber < last ? this.uniform : this.size - last * this.uniform)
  }

  /** Where a chunk goes, or −1 while that is not known, or taken. */
  placeOf(chunkNumber: number, length: number): number {
    if (this.payload === undefined || chunkNumber >= this.totalChunks) return -1
    if (this.uniform > 0) return this.fits(chunkNumber, length) ? chunkNumber * this.uniform : -1
    return chunkNumber === this.prefix && this.prefixEnd + length <= this.size ? this.prefixEnd : -1
  }
}

/** Assembles the tensors of one stream. */
export class Assembler {
  private readonly maxTensorBytes: number
  private readonly maxOpenTensors: number
  private readonly maxOpenBytes: number
  private readonly maxChunkBytes: number
  private readonly allocatePayload: (size: number) => Uint8Array
  private readonly open = new Map<string, OpenTensor>()
  private readonly complete = new Set<string>()
  private held = 0
  private early = 0
  private copied = 0
  /** The size of the payload that was whole last. */
  private lastSize = 0

  constructor(options?: AssemblerOptions) {
    this.maxTensorBytes = options?.maxTensorBytes ?? assemblerDefaults.maxTensorBytes
    this.maxOpenTensors = options?.maxOpenTensors ?? assemblerDefaults.maxOpenTensors
    this.maxOpenBytes = options?.maxOpenBytes ?? assemblerDefaults.maxOpenBytes
    this.maxChunkBytes = options?.maxChunkBytes ?? assemblerDefaults.maxChunkBytes
    this.allocatePayload = options?.allocate ?? allocate
  }

  /** Tensors that are not whole yet. */
  get openTensors(): number {
    return this.open.size
  }
  /** Bytes that they hold. */
  get openBytes(): number {
    return this.held
  }
  /** Bytes copied so far. */
  get copiedBytes(): number {
    return this.copied
  }

  /**
   * Takes one message; gives the payload that it makes whole. Its data is copied, or kept as it is until its place is known:
   * it is not to be written to.
   */
  push(chunk: TensorChunk): Payload | undefined {
    return this.guard(() => {
      const { byteLength } = chunk.data
      this.checkLength(byteLength, chunk)
      const tensor = this.check(chunk, byteLength)
      return this.accept(tensor, chunk, chunk.data, "borrowed")
    })
  }

  /**
   * A slot for `length` bytes of data that come in fragments. What is known of the chunk so far tells where they probably go;
   * the header given to `end` decides. One slot is open at a time.
   */
  begin(known: { readonly tensorId: string; readonly chunkNumber: number }, length: number): ChunkSlot {
    return this.guard(() => {
      this.checkLength(length, known)
      const tensor = this.open.get(known.tensorId)
      const place =
        tensor === undefined || tensor.has(known.chunkNumber) ? -1 : tensor.placeOf(known.chunkNumber, length)
      // The place is written to before the chunk is known to be right. Nothing else is there: a chunk that turns out to be
      // another one is taken out again, and the right one will be written over it.
      if (place >= 0) return this.slot(known, tensor!.payload!.subarray(place, place + length), "placed")
      const guess = this.lastSize
      if (tensor === undefined && known.chunkNumber === 0 && guess > length && guess <= maxGuess * length) {
        return this.slot(known, this.allocatePayload(guess), "guessed", length)
      }
      return this.slot(known, allocate(length), "apart")
    })
  }

  /** Throws `TensorDecodeError` naming the tensor, if one is not whole. To be called at the end of the stream. */
  finish(): void {
    for (const [tensorId, tensor] of this.open) {
      const others = this.open.size > 1 ? `, and ${this.open.size - 1} other tensors are not whole either` : ""
      const missing = tensor.metadata === undefined ? " (chunk 0 is missing)" : ""
      this.clear()
      refuse(
        `tensor ${quote(tensorId)}`,
        `the stream ended with ${tensor.received} of its ${tensor.totalChunks} chunks here${missing}${others}`
      )
    }
  }

  /** Lets go of everything. */
  clear(): void {
    this.open.clear()
    this.held = 0
    this.early = 0
  }

  private slot(
    known: { readonly tensorId: string; readonly chunkNumber: number },
    target: Uint8Array,
    kind: "placed" | "guessed" | "apart",
    length = target.byteLength
  ): ChunkSlot {
    let at = 0
    const slot = {
      remaining: length,
      write: (fragment: Uint8Array): void => {
        if (fragment.byteLength > slot.remaining) {
          throw new RangeError("more data than the chunk was said to have")
        }
        target.set(fragment, at)
        at += fragment.byteLength
        slot.remaining -= fragment.byteLength
        this.copied += fragment.byteLength
      },
      end: (header: ChunkHeader): Payload | undefined =>
        this.guard(() => {
          if (slot.remaining > 0) refuse(chunkWhere(header.tensorId, header.chunkNumber), "ends before its data does")
          const tensor = this.check(header, length)
          if (kind === "apart") return this.accept(tensor, header, target, "owned")
          const isKnown = header.tensorId === known.tensorId && header.chunkNumber === known.chunkNumber
          if (kind === "placed" && isKnown) return this.accept(tensor, header, target, "in place")
          if (kind === "guessed" && isKnown && tensor.size === target.byteLength) {
            tensor.payload = target
            return this.accept(tensor, header, target.subarray(0, length), "in place")
          }
          this.copied += length
          return this.accept(tensor, header, target.slice(0, length), "owned")
        })
    }
    return slot
  }

  private guard<A>(step: () => A): A {
    try {
      return step()
    } catch (error) {
      this.clear()
      throw error
    }
  }

  private checkLength(length: number, { chunkNumber, tensorId }: { tensorId: string; chunkNumber: number }): void {
    if (length === 0) refuse(chunkWhere(tensorId, chunkNumber), "has no data")
    if (length > this.maxChunkBytes) {
      throw new TensorLimitError({
        limit: "maxChunkBytes",
        problem: `${chunkWhere(tensorId, chunkNumber)} has ${length} bytes; the limit is ${this.maxChunkBytes}`
      })
    }
  }

  /** Checks a chunk against what is known of its tensor, which is made known if it is new. */
  private check(header: ChunkHeader, length: number): OpenTensor {
    const { chunkNumber, tensorId, totalChunks } = header
    // Words for a message that is hardly ever needed: made when it is.
    const where = () => chunkWhere(tensorId, chunkNumber)
    if (tensorId.length === 0 || tensorId.length > maxIdLength) {
      return refuse(where(), `has an id of ${tensorId.length} characters`)
    }
    if (totalChunks === 0) return refuse(where(), "says that there are 0 chunks")
    if (chunkNumber >= totalChunks) return refuse(where(), `is beyond the ${totalChunks} chunks that it says there are`)
    if (this.complete.has(tensorId)) return refuse(where(), "came again after the tensor was whole")
    let tensor = this.open.get(tensorId)
    if (tensor === undefined) {
      if (this.open.size >= this.maxOpenTensors) {
        throw new TensorLimitError({
          limit: "maxOpenTensors",
          problem: `tensor ${quote(tensorId)} began while ${this.open.size} others are not whole`
        })
      }
      if (totalChunks > this.maxTensorBytes) {
        throw new TensorLimitError({
          limit: "maxTensorBytes",
          problem: `tensor ${quote(tensorId)} has ${totalChunks} chunks; the limit is ${this.maxTensorBytes} bytes`
        })
      }
      tensor = new OpenTensor(totalChunks)
      this.open.set(tensorId, tensor)
    }
    if (totalChunks !== tensor.totalChunks) {
      return refuse(where(), `says that there are ${totalChunks} chunks; others said ${tensor.totalChunks}`)
    }
    if (tensor.has(chunkNumber)) return refuse(where(), "came twice")
    if (chunkNumber === 0) this.describe(tensor, header, where)
    const bytes = tensor.receivedBytes + length
    const missing = totalChunks - tensor.received - 1
    if (tensor.size > 0) {
      // Every chunk that is missing has at least one byte.
      if (bytes + missing > tensor.size || (missing === 0 && bytes !== tensor.size)) {
        return refuse(
          where(),
          `makes ${bytes} bytes of ${totalChunks - missing} chunks of ${totalChunks}; size_bytes is ${tensor.size}`
        )
      }
    } else if (bytes + missing > this.maxTensorBytes) {
      return this.tooLarge(tensorId, bytes + missing)
    }
    return tensor
  }

  /** Reads the metadata of chunk 0 and makes room for the payload. */
  private describe(tensor: OpenTensor, { metadata, tensorId }: ChunkHeader, where: () => string): void {
    const size = payloadSize(metadata, where)
    if (size > this.maxTensorBytes) this.tooLarge(tensorId, size)
    if (size < tensor.totalChunks || size > tensor.totalChunks * this.maxChunkBytes) {
      refuse(where(), `says that ${size} bytes are in ${tensor.totalChunks} chunks`)
    }
    this.hold(tensor, size)
    tensor.metadata = { ...metadata }
    tensor.size = size
  }

  private tooLarge(tensorId: string, size: number): never {
    throw new TensorLimitError({
      limit: "maxTensorBytes",
      problem: `tensor ${quote(tensorId)} has ${size} bytes or more; the limit is ${this.maxTensorBytes}`
    })
  }

  private hold(tensor: OpenTensor, bytes: number): void {
    if (this.held + bytes > this.maxOpenBytes) {
      throw new TensorLimitError({
        limit: "maxOpenBytes",
        problem: `the ${this.open.size} tensors that are not whole take ${this.held + bytes} bytes; the limit is ${this.maxOpenBytes}`
      })
    }
    tensor.held += bytes
    this.held += bytes
  }

  /** Puts a checked chunk where it belongs; gives the payload if that was the last one missing. */
  private accept(tensor: OpenTensor, header: ChunkHeader, data: Uint8Array, dataIs: DataIs): Payload | undefined {
    const { chunkNumber, tensorId, totalChunks } = header
    tensor.received++
    tensor.receivedBytes += data.byteLength
    if (tensor.size === 0) this.wait(tensor, chunkNumber, data)
    else if (chunkNumber === 0) this.start(tensor, data, dataIs)
    else this.place(tensor, chunkNumber, data, dataIs)
    this.advance(tensor)
    if (tensor.prefix < totalChunks) return undefined
    this.open.delete(tensorId)
    this.held -= tensor.held
    this.lastSize = tensor.size
    this.complete.add(tensorId)
    if (this.complete.size > rememberedIds) this.complete.delete(this.complete.values().next().value!)
    return { tensorId, metadata: tensor.metadata!, bytes: tensor.payload! }
  }

  /** Chunk 0: allocates the payload, and places what waited for it. */
  private start(tensor: OpenTensor, data: Uint8Array, dataIs: DataIs): void {
    const length = data.byteLength
    tensor.prefix = 1
    tensor.prefixEnd = length
    if (tensor.totalChunks === 1 && dataIs === "owned") {
      tensor.payload = data
      return
    }
    if (dataIs !== "in place") {
      tensor.payload = this.allocatePayload(tensor.size)
      this.copy(tensor, data, 0)
    }
    const lastLength = tensor.size - (tensor.totalChunks - 1) * length
    if (lastLength < 1 || lastLength > length) return
    tensor.uniform = length
    for (const [chunkNumber, chunk] of tensor.waiting) {
      if (!tensor.fits(chunkNumber, chunk.byteLength)) {
        tensor.uniform = 0
        return
      }
    }
    for (const [chunkNumber, chunk] of tensor.waiting) {
      this.copy(tensor, chunk, chunkNumber * length)
      tensor.waiting.delete(chunkNumber)
      this.dropEarly(tensor, chunk.byteLength)
      this.putEarly(tensor, chunkNumber, chunk.byteLength)
    }
  }

  private place(tensor: OpenTensor, chunkNumber: number, data: Uint8Array, dataIs: DataIs): void {
    if (tensor.uniform > 0 && !tensor.fits(chunkNumber, data.byteLength)) this.setAside(tensor)
    if (tensor.uniform > 0) {
      if (dataIs !== "in place") this.copy(tensor, data, chunkNumber * tensor.uniform)
      if (chunkNumber === tensor.prefix) {
        tensor.prefix++
        tensor.prefixEnd += data.byteLength
      } else this.putEarly(tensor, chunkNumber, data.byteLength)
    } else if (chunkNumber === tensor.prefix) {
      if (dataIs !== "in place") this.copy(tensor, data, tensor.prefixEnd)
      tensor.prefix++
      tensor.prefixEnd += data.byteLength
    } else this.wait(tensor, chunkNumber, data)
  }

  /** The chunks are not of one size: what was placed beyond the prefix has to wait for what lies between. */
  private setAside(tensor: OpenTensor): void {
    for (const [chunkNumber, length] of tensor.placed) {
      const start = chunkNumber * tensor.uniform
      this.copied += length
      this.dropEarly(tensor, 0)
      this.wait(tensor, chunkNumber, tensor.payload!.slice(start, start + length))
    }
    tensor.placed.clear()
    tensor.uniform = 0
  }

  /** Moves the prefix over the chunks that are in place already, or can be put there now. */
  private advance(tensor: OpenTensor): void {
    while (tensor.placed.size > 0) {
      const length = tensor.placed.get(tensor.prefix)
      if (length === undefined) break
      tensor.placed.delete(tensor.prefix)
      this.dropEarly(tensor, 0)
      tensor.prefix++
      tensor.prefixEnd += length
    }
    if (tensor.payload === undefined) return
    while (tensor.waiting.size > 0) {
      const chunk = tensor.waiting.get(tensor.prefix)
      if (chunk === undefined) break
      this.copy(tensor, chunk, tensor.prefixEnd)
      tensor.waiting.delete(tensor.prefix)
      this.dropEarly(tensor, chunk.byteLength)
      tensor.prefix++
      tensor.prefixEnd += chunk.byteLength
    }
  }

  private wait(tensor: OpenTensor, chunkNumber: number, data: Uint8Array): void {
    // A view of a few bytes must not keep a large message in memory.
    const small = data.buffer.byteLength > 2 * data.byteLength + entryBytes
    this.holdEarly(tensor, data.byteLength)
    tensor.waiting.set(chunkNumber, small ? data.slice() : data)
  }

  private putEarly(tensor: OpenTensor, chunkNumber: number, length: number): void {
    this.holdEarly(tensor, 0)
    tensor.placed.set(chunkNumber, length)
  }

  /** Holds a chunk out of its turn, and `bytes` of it beside the payload. */
  private holdEarly(tensor: OpenTensor, bytes: number): void {
    if (this.early === maxEarlyChunks) {
      throw new TensorLimitError({
        limit: "maxEarlyChunks",
        problem: `more than ${maxEarlyChunks} chunks are there before the ones that they follow`
      })
    }
    this.early++
    this.hold(tensor, bytes + entryBytes)
  }

  private dropEarly(tensor: OpenTensor, bytes: number): void {
    this.early--
    tensor.held -= bytes + entryBytes
    this.held -= bytes + entryBytes
  }

  private copy(tensor: OpenTensor, data: Uint8Array, at: number): void {
    tensor.payload!.set(data, at)
    this.copied += data.byteLength
  }
}
