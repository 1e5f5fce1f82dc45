import { assert, describe, it } from "@effect/vitest"
import { encodeHeaders, HpackDecoder, HpackError } from "../../../../src/layers/internal/http2/hpack.ts"

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
const plain = (headers: object) => ({ ...headers })

describe("HPACK", () => {
  it("reads the examples of RFC 7541, appendix C.3 and C.4, with the table that they share", () => {
    for (const blocks of [
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"
      ],
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"
      ]
    ]) {
      const decoder = new HpackDecoder()
      const [first, second, third] = blocks.map((block) => plain(decoder.decode(hex(block))))
      const request = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "www.example.com" }
      assert.deepStrictEqual(first, request)
      assert.deepStrictEqual(second, { ...request, "cache-control": "no-cache" })
      assert.deepStrictEqual(third, {
        ":method": "GET",
        ":scheme": "https",
        ":path": "/index.html",
        ":authority": "www.example.com",
        "custom-key": "custom-value"
      })
    }
  })

  it("reads what it writes, of every length and byte", () => {
    const every = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte))
    for (const value of ["", "x", every, "y".repeat(127), "y".repeat(128), "z".repeat(20_000)]) {
      for (const sensitive of [true, false]) {
        const block = encodeHeaders([
          { name: "name", value, sensitive },
          { name: "other", value: "1" }
        ])
        assert.deepStrictEqual(plain(new HpackDecoder().decode(block)), { name: value, other: "1" })
      }
    }
  })

  it("joins values of one name, and keeps names that objects have", () => {
    const block = encodeHeaders([
      { name: "a", value: "1" },
      { name: "__proto__", value: "x" },
      { name: "a", value: "2" }
    ])
    const headers = new HpackDecoder().decode(block)
    assert.strictEqual(headers["a"], "1, 2")
    assert.deepStrictEqual(Object.entries(headers)[1], ["__proto__", "x"])
  })

  it("refuses what is no HPACK", () => {
    for (const block of [
      "80", // index 0
      "ff 80 80 80 80 80 01", // an integer without end
      "c0", // an index beyond the tables
      "40 05 61", // a string beyond the block
      "40 81 00", // padding of zeros
      "40 84 ff ff ff ff", // the end mark
      "3f e2 1f", // a table that is larger than allowed
      "82 20" // a change of the table's size after a header
    ]) {
      assert.throws(() => new HpackDecoder().decode(hex(block)), HpackError, undefined, block)
    }
  })

  it("refuses a few bytes that stand for many", () => {
    const decoder = new HpackDecoder()
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 0x78)])
    decoder.decode(entry)
    assert.throws(() => decoder.decode(Buffer.alloc(100, 0xbe)), HpackError)
  })

  it("throws nothing but its own error at mutated blocks", () => {
    const sample = hex("8286 84be 5886 a8eb 1064 9cbf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf")
    let state = 1
    const next = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    for (let i = 0; i < 20_000; i++) {
      const block = Buffer.from(sample.subarray(0, 1 + next(sample.byteLength)))
      for (let j = 0; j <= next(4); j++) block[next(block.byteLength)] = next(256)
      try {
        new HpackDecoder().decode(block)
      } catch (error) {
        if (!(error instanceof HpackError)) throw error
      }
    }
  })
})
