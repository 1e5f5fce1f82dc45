import { assert, describe, it } from "@effect/vitest"
import { ByteWriter } from "../../src/torch/ByteWriter.ts"

describe("ByteWriter", () => {
  it("writes numbers little-endian and text as UTF-8, every byte of them", () => {
    const out = new ByteWriter()
    out.u8(0xfe)
    out.u16(0x1234)
    out.u32(0xfedcba98)
    out.u64(Number.MAX_SAFE_INTEGER)
    out.text("aé漢😀")
    out.repeat(0x5a, 3)
    out.append(Uint8Array.of(1, 2))
    const expected = Buffer.alloc(15)
    expected.writeUInt8(0xfe, 0)
    expected.writeUInt16LE(0x1234, 1)
    expected.writeUInt32LE(0xfedcba98, 3)
    expected.writeBigUInt64LE(BigInt(Number.MAX_SAFE_INTEGER), 7)
    const text = Buffer.from("aé漢😀ZZZ")
    assert.deepStrictEqual([...out.take()], [...expected, ...text, 1, 2])
    assert.strictEqual(out.take().byteLength, 0)
  })

  it("leaves what was taken as it is, however much comes after", () => {
    const out = new ByteWriter()
    const pieces: Array<Uint8Array> = []
    const expected: Array<number> = []
    for (let index = 0; index < 200; index++) {
      for (let count = 0; count < index * 3; count++) {
        out.u8(index)
        expected.push(index)
      }
      assert.strictEqual(out.length, index * 3)
      pieces.push(out.take())
    }
    out.repeat(7, 10_000)
    assert.isTrue(out.take().every((byte) => byte === 7))
    assert.deepStrictEqual([...Buffer.concat(pieces)], expected)
  })
})
