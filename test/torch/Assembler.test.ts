import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { TensorDecodeError, TensorLimitError } from "../../src/schema/KpuError.ts"
import { equals, type Tensor } from "../../src/schema/Tensor.ts"
import { randn } from "../../src/schema/TensorRandom.ts"
import { Assembler, type AssemblerOptions, type Payload } from "../../src/torch/Assembler.ts"
import { type Chunk, chunkTensor, toMessage } from "../../src/torch/Chunker.ts"
import { decodePayload } from "../../src/torch/Payloads.ts"

const tensor = randn([100, 30], { seed: 7 })

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const messages = (id: string, of: Tensor = tensor, chunkSize = 1000) =>
  [...chunkTensor(of, { id, chunkSize })].map(toMessage)

const assemble = (chunks: Iterable<ReturnType<typeof toMessage>>, options?: AssemblerOptions) => {
  const assembler = new Assembler(options)
  const payloads: Array<Payload> = []
  for (const chunk of chunks) {
    const payload = assembler.push(chunk)
    if (payload !== undefined) payloads.push(payload)
  }
  assembler.finish()
  assert.strictEqual(assembler.openBytes, 0)
  return { payloads, copied: assembler.copiedBytes }
}

const shuffle = <A>(items: ReadonlyArray<A>, seed: number): Array<A> => {
  const out = items.slice()
  let state = seed | 1
  for (let index = out.length - 1; index > 0; index--) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    const other = state % (index + 1)
    ;[out[index], out[other]] = [out[other]!, out[index]!]
  }
  return out
}

const failure = (run: () => unknown): TensorDecodeError | TensorLimitError => {
  try {
    run()
  } catch (error) {
    if (error instanceof TensorDecodeError || error instanceof TensorLimitError) return error
    throw error
  }
  return assert.fail("nothing was refused")
}

describe("Assembler", () => {
  it("puts chunks in order together, copying each byte once", () => {
    const chunks = messages("a")
    assert.isAbove(chunks.length, 10)
    const { copied, payloads } = assemble(chunks)
    assert.lengthOf(payloads, 1)
    assert.strictEqual(copied, payloads[0]!.bytes.byteLength)
    assert.isTrue(equals(decodePayload(payloads[0]!, { verifyCrc: true }), tensor))
  })

  it.prop(
    "gives the same tensor whatever the order of the chunks and their size",
    [Schema.Int, between(1, 5000)],
    ([seed, chunkSize]) => {
      const { payloads } = assemble(shuffle(messages("a", tensor, chunkSize), seed))
      assert.isTrue(equals(decodePayload(payloads[0]!, { verifyCrc: true }), tensor))
    },
    { arbitrary: { runs: 200 } }
  )

  it("copies nothing twice when chunks of one size come in reverse", () => {
    const { copied, payloads } = assemble(messages("a").reverse())
    assert.strictEqual(copied, payloads[0]!.bytes.byteLength)
  })

  it("puts tensors together that interleave", () => {
    const all = ["a", "b", "c"].flatMap((id, index) => messages(id, randn([50], { seed: index }), 100))
    const { payloads } = assemble(shuffle(all, 3))
    assert.lengthOf(payloads, 3)
    for (const payload of payloads) {
      const seed = "abc".indexOf(payload.tensorId)
      assert.isTrue(equals(decodePayload(payload), randn([50], { seed })))
    }
  })

  it.prop(
    "puts chunks of unequal sizes together in any order",
    [Schema.NonEmptyArray(between(1, 3000)), Schema.Int],
    ([sizes, seed]) => {
      const whole = toMessage(chunkTensor(tensor, { id: "a", chunkSize: 1 << 20 }).next().value as Chunk)
      const parts: Array<Uint8Array> = []
      let at = 0
      for (const size of sizes) {
        if (at >= whole.data.byteLength) break
        parts.push(whole.data.subarray(at, at + size))
        at += size
      }
      if (at < whole.data.byteLength) parts.push(whole.data.subarray(at))
      const chunks = parts.map((data, chunkNumber) => ({
        ...whole,
        data,
        chunkNumber,
        totalChunks: parts.length,
        metadata: chunkNumber === 0 ? whole.metadata : {}
      }))
      const { payloads } = assemble(shuffle(chunks, seed))
      assert.isTrue(equals(decodePayload(payloads[0]!, { verifyCrc: true }), tensor))
    },
    { arbitrary: { runs: 300 } }
  )

  it.prop(
    "takes data in fragments, whatever their sizes, and copies only chunk 0 twice",
    [between(1, 2000), between(1, 5000), Schema.NullOr(Schema.Int)],
    ([fragment, chunkSize, seed]) => {
      const chunks = messages("a", tensor, chunkSize)
      const assembler = new Assembler()
      let payload: Payload | undefined
      for (const chunk of seed === null ? chunks : shuffle(chunks, seed)) {
        const slot = assembler.begin({ tensorId: chunk.tensorId, chunkNumber: chunk.chunkNumber }, chunk.data.length)
        for (let at = 0; at < chunk.data.length; at += fragment) slot.write(chunk.data.subarray(at, at + fragment))
        assert.strictEqual(slot.remaining, 0)
        payload = slot.end(chunk) ?? payload
      }
      assembler.finish()
      assert.isTrue(equals(decodePayload(payload!, { verifyCrc: true }), tensor))
      if (seed === null) {
        const twice = chunks.length === 1 ? 0 : chunkSize
        assert.strictEqual(assembler.copiedBytes, payload!.bytes.byteLength + twice)
      }
    },
    { arbitrary: { runs: 200 } }
  )

  /** Takes chunks as a stream hands them over: each in a slot, before anything but its id and number is known. */
  const throughSlots = (assembler: Assembler, chunks: Iterable<ReturnType<typeof toMessage>>): Array<Payload> => {
    const payloads: Array<Payload> = []
    for (const chunk of chunks) {
      const slot = assembler.begin({ tensorId: chunk.tensorId, chunkNumber: chunk.chunkNumber }, chunk.data.length)
      slot.write(chunk.data)
      const payload = slot.end(chunk)
      if (payload !== undefined) payloads.push(payload)
    }
    return payloads
  }

  it("copies each byte once where tensors of a few chunks are of one size", () => {
    const sizes: Array<number> = []
    const assembler = new Assembler({
      allocate: (size) => {
        sizes.push(size)
        return new Uint8Array(size)
      }
    })
    const [first] = throughSlots(assembler, messages("a", tensor, 8000))
    const { byteLength } = first!.bytes
    assert.strictEqual(assembler.copiedBytes, byteLength + 8000)
    const [second] = throughSlots(assembler, messages("b", tensor, 8000))
    assert.strictEqual(assembler.copiedBytes, 2 * byteLength + 8000)
    assert.deepStrictEqual(sizes, [byteLength, byteLength])
    assert.isTrue(equals(decodePayload(second!, { verifyCrc: true }), tensor))
  })

  it("does not guess a size that is large beside chunk 0: nothing is allocated for it", () => {
    const sizes: Array<number> = []
    const assembler = new Assembler({
      allocate: (size) => {
        sizes.push(size)
        return new Uint8Array(size)
      }
    })
    throughSlots(assembler, messages("a", tensor, 8000))
    const chunk = messages("b", tensor, 100)[0]!
    assembler.begin({ tensorId: "b", chunkNumber: 0 }, chunk.data.length)
    assert.lengthOf(sizes, 1)
  })

  it.prop(
    "gives tensors of any sizes one after the other, however they are cut and in whatever order",
    [Schema.NonEmptyArray(Schema.Struct({ rows: between(0, 40), chunkSize: between(300, 4000), seed: Schema.Int }))],
    ([each]) => {
      const assembler = new Assembler()
      each.forEach(({ chunkSize, rows, seed }, index) => {
        const sent = randn([rows, 30], { seed: index })
        const chunks = messages(`t${index}`, sent, chunkSize)
        const [payload] = throughSlots(assembler, seed % 2 === 0 ? chunks : shuffle(chunks, seed))
        assert.isTrue(equals(decodePayload(payload!, { verifyCrc: true }), sent))
      })
      assembler.finish()
      assert.strictEqual(assembler.openBytes, 0)
    },
    { arbitrary: { runs: 200 } }
  )

  it("puts a chunk right whose id or number turns out after its data", () => {
    const chunks = messages("a")
    const assembler = new Assembler()
    let payload: Payload | undefined
    chunks.forEach((chunk, index) => {
      // Every chunk is first taken for the one after it.
      const slot = assembler.begin({ tensorId: "a", chunkNumber: index + 1 }, chunk.data.length)
      slot.write(chunk.data)
      payload = slot.end(chunk) ?? payload
    })
    assert.isTrue(equals(decodePayload(payload!, { verifyCrc: true }), tensor))
  })

  describe("refuses", () => {
    const at = (index: number, change: object) => {
      const chunks = messages("a")
      chunks[index] = { ...chunks[index]!, ...change }
      return chunks
    }
    const cases: ReadonlyArray<
      readonly [string, () => Iterable<ReturnType<typeof toMessage>>, RegExp, AssemblerOptions?]
    > = [
      [
        "a chunk that comes twice",
        () => [...messages("a").slice(0, 3), messages("a")[1]!],
        /chunk 1 of tensor "a".*came twice/
      ],
      ["a chunk out of order that comes twice", () => [messages("a")[2]!, messages("a")[2]!], /came twice/],
      ["a tensor that comes twice", () => [...messages("a"), messages("a")[0]!], /came again/],
      ["a gap", () => messages("a").filter((_, index) => index !== 4), /tensor "a".*13 of its 14 chunks/],
      ["a tensor without chunk 0", () => messages("a").slice(1), /chunk 0 is missing/],
      ["a changing total_chunks", () => at(3, { totalChunks: 99 }), /says that there are 99 chunks; others said 14/],
      ["a total of 0", () => at(0, { totalChunks: 0 }), /0 chunks/],
      ["a chunk number beyond the total", () => at(0, { chunkNumber: 14 }), /beyond the 14 chunks/],
      ["a huge total", () => at(0, { totalChunks: 0xffffffff }), /bytes are in 4294967295 chunks/],
      ["a chunk without data", () => at(2, { data: new Uint8Array(0) }), /has no data/],
      ["more data than size_bytes", () => at(5, { data: new Uint8Array(9000) }), /size_bytes is/],
      ["less data than size_bytes", () => at(13, { data: new Uint8Array(1) }), /size_bytes is/],
      ["no metadata", () => at(0, { metadata: {} }), /no size_bytes/],
      ["an unreadable size", () => at(0, { metadata: { size_bytes: "1e3" } }), /size_bytes "1e3"/],
      ["an unreadable shape", () => at(0, { metadata: { size_bytes: "12696", shape: "(2, 3)" } }), /shape/],
      ["an unknown dtype", () => at(0, { metadata: { size_bytes: "12696", dtype: "torch.object" } }), /dtype/],
      ["an empty id", () => at(0, { tensorId: "" }), /id of 0 characters/],
      ["a tensor above the limit", () => messages("a"), /^maxTensorBytes: /, { maxTensorBytes: 10_000 }],
      ["a late tensor above the limit", () => messages("a").slice(1), /^maxTensorBytes: /, { maxTensorBytes: 10_000 }],
      [
        "too many open tensors",
        () => ["a", "b", "c"].map((id) => messages(id)[0]!),
        /^maxOpenTensors: /,
        { maxOpenTensors: 2 }
      ],
      [
        "too many bytes in open tensors",
        () => ["a", "b"].map((id) => messages(id)[0]!),
        /^maxOpenBytes: /,
        { maxOpenBytes: 20_000 }
      ],
      ["a chunk above the limit", () => messages("a"), /^maxChunkBytes: /, { maxChunkBytes: 999 }]
    ]
    for (const [name, chunks, expected, options] of cases) {
      it(name, () => {
        assert.match(failure(() => assemble(chunks(), options)).message, expected)
      })
    }
    it("a size that its chunks cannot hold, before anything is allocated", () => {
      const metadata = { size_bytes: String(2 ** 32) }
      assert.match(failure(() => assemble(at(0, { metadata }))).message, /says that 4294967296 bytes are in 14 chunks/)
    })
    it("more chunks out of their turn than the heap should hold", () => {
      function* backwards(totalChunks: number) {
        const data = Uint8Array.of(7)
        for (let chunkNumber = totalChunks - 1; chunkNumber > 0; chunkNumber--) {
          yield { tensorId: "a", chunkNumber, totalChunks, isLast: false, data, metadata: {} }
        }
      }
      const words = /^maxEarlyChunks: more than 262144 chunks/
      assert.match(failure(() => assemble(backwards(300_000))).message, words)
      // The same with their places known: one byte a chunk.
      const first = {
        tensorId: "a",
        chunkNumber: 0,
        totalChunks: 300_000,
        isLast: false,
        data: Uint8Array.of(7),
        metadata: { size_bytes: "300000" }
      }
      assert.match(failure(() => assemble([first, ...backwards(300_000)])).message, words)
      assert.doesNotThrow(() =>
        assemble([...backwards(262_145), { ...first, totalChunks: 262_145, metadata: { size_bytes: "262145" } }])
      )
    })
    it("a payload that is not what its metadata says", () => {
      const { payloads } = assemble(at(0, { metadata: { ...messages("a")[0]!.metadata, dtype: "torch.int32" } }))
      assert.match(failure(() => decodePayload(payloads[0]!)).message, /is float32; its metadata says "torch.int32"/)
    })
  })
})
