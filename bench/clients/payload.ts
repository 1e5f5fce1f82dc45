/**
 * Tensors, files and chunks for the JavaScript peers. They are handed a tensor's file ready made and give one back as it
 * came: zip, pickle and CRC-32 are work that only the tensor clients (ours, Python's, Go's) do.
 */
import { randomFillSync, randomUUID } from "node:crypto"
import type { TensorChunk } from "../../src/schema/generated/kpu/torch/service.ts"
import { Tensor } from "../../src/Tensor.ts"

/** A float32 tensor of so many elements; its bytes are noise that repeats each MiB. */
export const makeTensor = (elements: number): Tensor => {
  const data = new Uint8Array(4 * elements)
  const block = Math.min(data.byteLength, 2 ** 20)
  randomFillSync(data, 0, block)
  for (let filled = block; filled < data.byteLength; filled += block) {
    data.copyWithin(filled, 0, Math.min(block, data.byteLength - filled))
  }
  return Tensor.make({ dtype: "float32", shape: [elements], data })
}

/** A tensor's file, once for all jobs of the same size. */
export class Payload {
  private elements = -1
  bytes: Uint8Array = new Uint8Array(0)

  prepare(elements: number): void {
    if (this.elements === elements) return
    this.bytes = new Uint8Array(0)
    this.bytes = Tensor.toTorch(makeTensor(elements))
    this.elements = elements
  }

  clear(): void {
    this.bytes = new Uint8Array(0)
    this.elements = -1
  }
}

/** The chunks of one file, as messages. */
export function* chunksOf(payload: Uint8Array, elements: number, chunkSize: number): Generator<TensorChunk> {
  const tensorId = randomUUID()
  const totalChunks = Math.max(1, Math.ceil(payload.byteLength / chunkSize))
  for (let chunkNumber = 0; chunkNumber < totalChunks; chunkNumber++) {
    yield {
      tensorId,
      chunkNumber,
      data: payload.subarray(chunkNumber * chunkSize, (chunkNumber + 1) * chunkSize) as never,
      totalChunks,
      isLast: chunkNumber === totalChunks - 1,
      metadata:
        chunkNumber === 0
          ? {
              shape: `[${elements}]`,
              dtype: "torch.float32",
              device: "cpu",
              size_bytes: String(payload.byteLength)
            }
          : {}
    }
  }
}

/** The chunks of several files. */
export function* chunksOfAll(
  payload: Uint8Array,
  elements: number,
  chunkSize: number,
  count: number
): Generator<TensorChunk> {
  for (let index = 0; index < count; index++) yield* chunksOf(payload, elements, chunkSize)
}

/** Puts the chunks of tensors together that come one after the other: room from `size_bytes`, one copy. */
export class Files {
  private file = new Uint8Array(0)
  private filled = 0
  private readonly elements: number
  count = 0

  constructor(elements: number) {
    this.elements = elements
  }

  add(chunk: {
    readonly chunkNumber: number
    readonly data: Uint8Array
    readonly isLast: boolean
    readonly metadata: { readonly [key: string]: string }
  }): void {
    if (chunk.chunkNumber === 0) {
      this.file = new Uint8Array(Number(chunk.metadata["size_bytes"]))
      this.filled = 0
    }
    this.file.set(chunk.data, this.filled)
    this.filled += chunk.data.byteLength
    if (!chunk.isLast) return
    if (this.filled !== this.file.byteLength || this.filled < 4 * this.elements) throw new Error("a file is not whole")
    this.count++
  }

  get bytes(): number {
    return 4 * this.elements * this.count
  }
}
