/** Messages in views and fragments, held against the code that protoc's plugin generates. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { ChunkReader, chunkMessage } from "../../../../src/layers/internal/tensors/chunkMessage.ts"
import { TensorChunk } from "../../../../src/schema/generated/kpu/torch/service.ts"
import { TensorDecodeError, TensorLimitError } from "../../../../src/schema/KpuError.ts"
import { Tensor } from "../../../../src/Tensor.ts"
import { Assembler, type Payload } from "../../../../src/torch/Assembler.ts"
import { chunkTensor, toMessage } from "../../../../src/torch/Chunker.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Reads messages cut into fragments by the sizes that `cut` gives. */
const read = (messages: Iterable<Uint8Array>, cut: () => number): Array<Payload> => {
  const payloads: Array<Payload> = []
  const assembler = new Assembler()
  const reader = new ChunkReader(assembler, (payload) => payloads.push(payload))
  for (const message of messages) {
    reader.message(message.byteLength)
    for (let at = 0; at < message.byteLength; ) {
      const end = Math.min(at + cut(), message.byteLength)
      const fragment = Buffer.from(message.subarray(at, end))
      reader.fragment(fragment)
      // The transport's memory is used again.
      fragment.fill(0xee)
      at = end
    }
  }
  assembler.finish()
  return payloads
}

/** A small generator of numbers, the same for the same seed. */
const random = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const varint = (value: number): Array<number> => {
  const out: Array<number> = []
  while (value >= 0x80) {
    out.push((value % 0x80) | 0x80)
    value = Math.floor(value / 0x80)
  }
  return [...out, value]
}

const settings = { tensor: between(0, 3000), chunkSize: between(1, 5000), id: Schema.NonEmptyString, seed: Schema.Int }

const tensorOf = (length: number, seed: number) => Tensor.randn([length], { seed: seed >>> 0 })

const properId = (id: string): boolean => id.length <= 200 && id.isWellFormed()

describe("the message TensorChunk in views", () => {
  it.prop("is the message that generated code writes", settings, ({ chunkSize, id, seed, tensor }) => {
    if (!properId(id)) return
    const metadata = { "": "x", note: id }
    for (const chunk of chunkTensor(tensorOf(tensor, seed), { id, chunkSize, metadata })) {
      const { byteLength, views } = chunkMessage(chunk)
      const written = Buffer.concat(views)
      assert.strictEqual(written.byteLength, byteLength)
      assert.isTrue(written.equals(TensorChunk.encode(toMessage(chunk)).finish()))
    }
  })

  it("is right for numbers of every length", () => {
    for (const number of [1, 127, 128, 16_383, 16_384, 2 ** 21, 2 ** 28, 2 ** 31, 2 ** 32 - 1]) {
      const chunk = {
        tensorId: "t",
        chunkNumber: number - 1,
        totalChunks: number,
        isLast: false,
        metadata: {},
        views: [new Uint8Array(3)],
        byteLength: 3
      }
      const decoded = TensorChunk.decode(Buffer.concat(chunkMessage(chunk).views))
      assert.strictEqual(decoded.chunkNumber, number - 1)
      assert.strictEqual(decoded.totalChunks, number)
    }
  })
})

describe("the reader of TensorChunk messages", () => {
  it.prop("reads what generated code writes, however it is cut", settings, ({ chunkSize, id, seed, tensor }) => {
    if (!properId(id)) return
    const of = tensorOf(tensor, seed)
    const next = random(seed)
    const most = 1 + next(3000)
    const messages = [...chunkTensor(of, { id, chunkSize: Math.max(chunkSize, 50) })].map((chunk) =>
      TensorChunk.encode(toMessage(chunk)).finish()
    )
    const payloads = read(messages, () => 1 + next(most))
    assert.strictEqual(payloads.length, 1)
    assert.strictEqual(payloads[0]!.tensorId, id)
    assert.strictEqual(payloads[0]!.metadata["shape"], `[${tensor}]`)
    const [whole] = [...chunkTensor(of, { id, chunkSize: 2 ** 30 })].map(toMessage)
    assert.isTrue(Buffer.from(payloads[0]!.bytes).equals(whole!.data))
  })

  it("reads fields in any order, and passes over those that it does not know", () => {
    const [chunk] = [...chunkTensor(tensorOf(10, 1), { id: "x", chunkSize: 2 ** 20 })].map(toMessage)
    const data = Buffer.from([0x1a, ...varint(chunk!.data.byteLength), ...chunk!.data])
    const rest = TensorChunk.encode({ ...chunk!, data: new Uint8Array() }).finish()
    const unknown = Buffer.from([
      // 15: a varint of ten bytes; 16: 8 bytes; 17: 4 bytes; 18: 3 bytes
      ...[0x78, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
      ...[...varint(16 * 8 + 1), 1, 2, 3, 4, 5, 6, 7, 8],
      ...[...varint(17 * 8 + 5), 1, 2, 3, 4],
      ...[...varint(18 * 8 + 2), 3, 1, 2, 3]
    ])
    for (const order of [
      [data, rest, unknown],
      [unknown, data, rest],
      [rest, unknown, data]
    ]) {
      for (const size of [1, 3, 10_000]) {
        const [payload] = read([Buffer.concat(order)], () => size)
        assert.isTrue(Buffer.from(payload!.bytes).equals(chunk!.data))
      }
    }
  })

  it("refuses broken messages with typed errors, and no others", () => {
    const messages = [...chunkTensor(tensorOf(300, 1), { id: "x", chunkSize: 400 })].map((chunk) =>
      TensorChunk.encode(toMessage(chunk)).finish()
    )
    let refused = 0
    for (let seed = 0; seed < 3000; seed++) {
      const next = random(seed)
      const mutated = messages.map((message) => message.slice())
      for (let i = 0; i <= next(3); i++) {
        const index = next(mutated.length)
        const message = mutated[index]!
        switch (next(3)) {
          case 0:
            message[next(Math.min(message.byteLength, 60))] = next(256)
            break
          case 1:
            mutated[index] = message.slice(0, next(message.byteLength))
            break
          default:
            mutated.splice(index, 0, mutated[next(mutated.length)]!)
        }
      }
      try {
        read(mutated, () => 1 + next(200))
      } catch (error) {
        if (!(error instanceof TensorDecodeError || error instanceof TensorLimitError)) throw error
        refused++
      }
    }
    assert.isAbove(refused, 2000)
  })
})
