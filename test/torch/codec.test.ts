import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Tensor } from "../../src/index.ts"
import { dtypes } from "../../src/schema/DType.ts"
import { InvalidInput, TensorDecodeError } from "../../src/schema/KpuError.ts"
import { Assembler, type Payload } from "../../src/torch/Assembler.ts"
import { chunkTensor, toMessage } from "../../src/torch/Chunker.ts"
import { decodeTensor } from "../../src/torch/Decoder.ts"
import { encodeTensor } from "../../src/torch/Encoder.ts"
import { decodePayload } from "../../src/torch/Payloads.ts"
import { makeWork } from "../../src/torch/Work.ts"
import { findEnd, readDirectory } from "../../src/torch/ZipReader.ts"
import { tensorPickle, tensorRecords, wholePickle, zip } from "../kit/Archive.ts"

describe("files of tensors", () => {
  it.effect.prop(
    "give back the tensor that they were made of",
    [Tensor.Schema],
    ([tensor]) =>
      Effect.gen(function* () {
        assert.isTrue(Tensor.equals(yield* Tensor.fromTorch(Tensor.toTorch(tensor)), tensor))
      }),
    { arbitrary: { runs: 500 } }
  )

  it.prop(
    "give it back through chunks of any size",
    [Tensor.Schema, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4000 }))],
    ([tensor, chunkSize]) => {
      const assembler = new Assembler()
      let payload: Payload | undefined
      for (const chunk of chunkTensor(tensor, { id: "a", chunkSize, metadata: { step: "7", shape: "not this" } })) {
        assert.isAtMost(chunk.views.length, 3)
        payload = assembler.push(toMessage(chunk)) ?? payload
      }
      assembler.finish()
      assert.strictEqual(payload!.metadata["step"], "7")
      assert.isTrue(Tensor.equals(decodePayload(payload!, { verifyCrc: true }), tensor))
    },
    { arbitrary: { runs: 300 } }
  )

  it("hold the tensor's own memory, between a header and a trailer", () => {
    const tensor = Tensor.randn([300])
    const { byteLength, data, header, trailer } = encodeTensor(tensor)
    assert.strictEqual(data, tensor.data)
    assert.strictEqual(header.length % 64, 0)
    assert.strictEqual(header.length + data.length + trailer(0).length, byteLength)
    const views = [...chunkTensor(tensor, { id: "a", chunkSize: 500 })].flatMap((chunk) => chunk.views)
    assert.isTrue(views.some((view) => view.buffer === tensor.data.buffer))
  })

  it("are laid out as PyTorch 2.9 lays them out", () => {
    const bytes = Tensor.toTorch(
      Tensor.fromArray([
        [1, 2, 3],
        [4, 5, 6]
      ])
    )
    const work = makeWork()
    const end = findEnd(bytes, bytes.length, work)
    const entries = [...readDirectory(bytes.subarray(end.offset), end, work).values()]
    const view = new DataView(bytes.buffer)
    const starts = entries.map(({ headerOffset }) => {
      assert.strictEqual(view.getUint16(headerOffset + 6, true), 0x0808)
      return headerOffset + 30 + view.getUint16(headerOffset + 26, true) + view.getUint16(headerOffset + 28, true)
    })
    assert.deepStrictEqual(
      entries.map(({ name }, index) => [name, starts[index]]),
      [
        ["archive/data.pkl", 64],
        ["archive/.format_version", 320],
        ["archive/.storage_alignment", 448],
        ["archive/byteorder", 576],
        ["archive/data/0", 704],
        ["archive/version", 832],
        ["archive/.data/serialization_id", 960]
      ]
    )
    const pickled = Buffer.from(bytes.subarray(64, 64 + entries[0]!.size)).toString("latin1")
    assert.strictEqual(
      pickled,
      "\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storageq\x01ctorch\nFloatStorage\nq\x02" +
        "X\x01\x00\x00\x000q\x03X\x03\x00\x00\x00cpuq\x04K\x06tq\x05QK\x00K\x02K\x03\x86q\x06K\x03K\x01\x86q\x07\x89" +
        "ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b."
    )
  })

  it("of contiguous tensors are read without copying, in every dtype, and aligned to it", () => {
    for (const dtype of dtypes) {
      const bytes = Tensor.toTorch(Tensor.zeros([5], { dtype }))
      const work = makeWork()
      const tensor = decodeTensor(bytes, undefined, work)
      assert.strictEqual(tensor.data.buffer, bytes.buffer)
      assert.strictEqual(tensor.data.byteOffset % 64, 0)
      assert.strictEqual(work.allocated, 0)
      assert.strictEqual(Tensor.toTypedArray(tensor).buffer, bytes.buffer)
    }
  })

  it("received on a stream are views of their payload, unless that is mostly something else", () => {
    const receive = (shape: ReadonlyArray<number>) => {
      const numel = 100_000
      const pickled = wholePickle(tensorPickle({ numel, shape, strides: [1] }))
      const bytes = zip(tensorRecords(pickled, new Uint8Array(numel * 4)))
      const tensor = decodePayload({ tensorId: "a", metadata: {}, bytes })
      assert.strictEqual(tensor.data.byteLength, shape[0]! * 4)
      return tensor.data.buffer === bytes.buffer
    }
    assert.isTrue(receive([100_000]))
    assert.isTrue(receive([50_000]))
    assert.isFalse(receive([10]))
  })

  it.effect("tell of a bit that has flipped, unless they are not asked to", () =>
    Effect.gen(function* () {
      const tensor = Tensor.randn([100])
      const bytes = Tensor.toTorch(tensor)
      bytes[704 + 7]! ^= 4
      const error = yield* Effect.flip(Tensor.fromTorch(bytes))
      assert.instanceOf(error, TensorDecodeError)
      assert.match(error.message, /data\/0.*damaged/)
      assert.isFalse(Tensor.equals(yield* Tensor.fromTorch(bytes, { verifyCrc: false }), tensor))
    })
  )

  it("are made of tensors only", () => {
    assert.throws(() => Tensor.toTorch([1, 2] as any), InvalidInput, /is not a Tensor/)
    assert.throws(() => [...chunkTensor(Tensor.zeros([1]), { id: "a", chunkSize: 0 })], InvalidInput, /chunkSize/)
  })
})
