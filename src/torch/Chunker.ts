/**
 * Cuts a tensor's file into chunks for the wire, without copying: each chunk is made of one to three views, of the header,
 * the tensor's own memory and the trailer, which a transport can write one after the other.
 *
 * The CRC-32 of the elements is taken chunk by chunk, so that the first one leaves at once.
 */
import type { TensorChunk } from "../schema/generated/kpu/torch/service.ts"
import { InvalidInput } from "../schema/KpuError.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { crc32 } from "./Crc32.ts"
import { encodeTensor } from "./Encoder.ts"
import { type Metadata, metadataOf } from "./TensorMetadata.ts"

/** 1 MiB: the servers' own default. */
export const defaultChunkSize = 1024 * 1024

/** One chunk of a tensor, its data not yet joined. */
export interface Chunk {
  readonly tensorId: string
  readonly chunkNumber: number
  readonly totalChunks: number
  readonly isLast: boolean
  /** On chunk 0 only; otherwise empty. */
  readonly metadata: Record<string, string>
  /** The data, in order. */
  readonly views: ReadonlyArray<Uint8Array>
  /** The size of the data. */
  readonly byteLength: number
}

/** How a tensor is cut. */
export interface ChunkOptions {
  /** The tensor's id on the stream. */
  readonly id: string
  /** Bytes of data in a chunk; 1 MiB by default. */
  readonly chunkSize?: number | undefined
  /** More entries for the metadata of chunk 0. */
  readonly metadata?: Metadata | undefined
}

const noMetadata: Record<string, string> = Object.freeze({})

/** The chunks of a tensor, made as they are asked for. */
export function* chunkTensor(tensor: Tensor, options: ChunkOptions): Generator<Chunk, void, undefined> {
  const { id, metadata } = options
  const chunkSize = options.chunkSize ?? defaultChunkSize
  if (!Number.isSafeInteger(chunkSize) || chunkSize < 1) {
    throw new InvalidInput({ field: "chunkSize", problem: "must be a whole number of bytes from 1" })
  }
  const { byteLength, data, header, trailer } = encodeTensor(tensor)
  const totalChunks = Math.ceil(byteLength / chunkSize)
  if (totalChunks > 0xffffffff) {
    throw new InvalidInput({ field: "chunkSize", problem: `would make ${totalChunks} chunks; raise it` })
  }
  const dataStart = header.byteLength
  const dataEnd = dataStart + data.byteLength
  let crc = 0
  let rest: Uint8Array | undefined
  for (let chunkNumber = 0; chunkNumber < totalChunks; chunkNumber++) {
    const start = chunkNumber * chunkSize
    const end = Math.min(start + chunkSize, byteLength)
    const views: Array<Uint8Array> = []
    if (start < dataStart) views.push(header.subarray(start, Math.min(end, dataStart)))
    if (start < dataEnd && end > dataStart) {
      const part = data.subarray(Math.max(start - dataStart, 0), Math.min(end, dataEnd) - dataStart)
      if (part.byteLength > 0) {
        crc = crc32(part, crc)
        views.push(part)
      }
    }
    if (end > dataEnd) {
      rest ??= trailer(crc)
      views.push(rest.subarray(Math.max(start - dataEnd, 0), end - dataEnd))
    }
    yield {
      tensorId: id,
      chunkNumber,
      totalChunks,
      isLast: chunkNumber === totalChunks - 1,
      metadata: chunkNumber === 0 ? metadataOf(tensor, byteLength, metadata) : noMetadata,
      views,
      byteLength: end - start
    }
  }
}

/** A chunk as the message that gRPC libraries take: its data is copied together unless it is one view already. */
export const toMessage = (chunk: Chunk): TensorChunk => ({
  tensorId: chunk.tensorId,
  chunkNumber: chunk.chunkNumber,
  totalChunks: chunk.totalChunks,
  isLast: chunk.isLast,
  metadata: chunk.metadata,
  data: chunk.views.length === 1 ? chunk.views[0]! : Buffer.concat(chunk.views, chunk.byteLength)
})
