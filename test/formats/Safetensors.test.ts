import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Safetensors, Tensor } from "../../src/index.ts"
import { InvalidInput } from "../../src/schema/KpuError.ts"

const file = (header: unknown, data: Uint8Array = new Uint8Array(0), length?: bigint): Uint8Array => {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header))
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(length ?? BigInt(text.length))
  return new Uint8Array(Buffer.concat([head, text, data]))
}

const f32 = (shape: ReadonlyArray<number>, data_offsets: ReadonlyArray<number>) => ({
  dtype: "F32",
  shape,
  data_offsets
})

describe("Safetensors", () => {
  it.effect.prop("reads what it writes", [Schema.Record(Schema.String, Tensor.Schema)], ([tensors]) =>
    Effect.gen(function* () {
      const bytes = yield* Effect.result(Safetensors.toBytes(tensors))
      if (bytes._tag === "Failure") {
        assert.isTrue(
          Object.entries(tensors).some(
            ([name, { dtype }]) => /^complex(32|128)$/.test(dtype) || name === "__metadata__"
          )
        )
        return
      }
      const opened = yield* Safetensors.fromBytes(bytes.success)
      const read = new Map(yield* Stream.runCollect(opened.readAll))
      assert.strictEqual(read.size, Object.keys(tensors).length)
      for (const [name, tensor] of Object.entries(tensors)) assert.isTrue(Tensor.equals(read.get(name)!, tensor))
    })
  )

  it.effect("writes a file, and reads one tensor and the metadata of it", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "effect-kpu-safetensors-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const path = join(folder, "model.safetensors")
      const weight = Tensor.randn([20, 30], { dtype: "bfloat16" })
      const bias = Tensor.fromArray([1n, 2n])
      yield* Safetensors.write(path, { weight, bias }, { metadata: { format: "pt" } })
      const opened = yield* Safetensors.open(path)
      assert.deepStrictEqual([...opened.metadata], [["format", "pt"]])
      assert.deepStrictEqual([...opened.tensors.keys()].sort(), ["bias", "weight"])
      assert.isTrue(Tensor.equals(yield* opened.read("weight"), weight))
      assert.isTrue(Tensor.equals(yield* opened.read("bias"), bias))
      assert.instanceOf(yield* Effect.flip(opened.read("other")), InvalidInput)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect("reads an empty tensor wherever the header names it", () =>
    Effect.gen(function* () {
      const opened = yield* Safetensors.fromBytes(file({ a: f32([1], [0, 4]), b: f32([0], [0, 0]) }, new Uint8Array(4)))
      assert.strictEqual((yield* opened.read("b")).data.byteLength, 0)
    })
  )

  it.effect("reads the format's own example of a file", () =>
    Effect.gen(function* () {
      // An empty file of the reference implementation's tests.
      const opened = yield* Safetensors.fromBytes(file("{}      "))
      assert.strictEqual(opened.tensors.size, 0)
      const one = file({ test: { dtype: "I32", shape: [2, 2], data_offsets: [0, 16] } }, new Uint8Array(16))
      const tensor = yield* (yield* Safetensors.fromBytes(one)).read("test")
      assert.deepStrictEqual(Tensor.toNestedArray(tensor), [
        [0, 0],
        [0, 0]
      ])
    })
  )

  const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    ["an empty file", new Uint8Array(0), /are missing/],
    ["a header longer than the file", file("{}", undefined, 2n ** 63n), /9223372036854775808 bytes/],
    ["a header that is no JSON", file("{"), /is not JSON/],
    ["a header that is no object", file([]), /is not an object/],
    ["a header that is not UTF-8", file(Buffer.from([0x7b, 0xff, 0x7d]).toString("latin1")).with(9, 0xff), /not UTF-8/],
    [
      "a tensor that is there twice",
      file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'),
      /has "a" twice/
    ],
    [
      "a name that is there twice, once with escapes",
      file('{"__metadata__":{"a\\"b":"1","\\u0061\\"b":"2"}}'),
      /has "a\\"b" twice/
    ],
    [
      "two dtypes of one tensor",
      file('{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}'),
      /"dtype" twice/
    ],
    ["a dtype that is an object", file({ a: { ...f32([0], [0, 0]), dtype: { toString: 1, valueOf: 2 } } }), /no text/],
    [
      "a header of nothing but objects",
      file(`{"a":[${"{},".repeat(2 ** 21)}{}]}`),
      /more than 2097152 objects and lists/
    ],
    ["a header that nests without end", file("[".repeat(1000)), /nests deeper/],
    ["a fractional size", file({ a: f32([0.5], [0, 2]) }, new Uint8Array(2)), /no list of sizes/],
    ["offsets that go back", file({ a: f32([0], [4, 0]) }, new Uint8Array(4)), /has -4 bytes/],
    ["three offsets", file({ a: f32([1], [0, 4, 4]) }, new Uint8Array(4)), /no two numbers/],
    ["a tensor that is no object", file({ a: 1 }), /not described by an object/],
    ["metadata that is a list", file({ __metadata__: [] }), /not an object/],
    ["a file of seven bytes", new Uint8Array(7), /are missing/],
    [
      "a header above the limit",
      file("{}", new Uint8Array(100_000_010), 100_000_001n),
      /is said to have 100000001 bytes/
    ],
    [
      "a dtype that is not known",
      file({ a: { dtype: "F4", shape: [2], data_offsets: [0, 1] } }, new Uint8Array(1)),
      /has dtype "F4", which is not read/
    ],
    [
      "a gap between tensors",
      file({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, new Uint8Array(12)),
      /"b": begins at 8/
    ],
    [
      "tensors over one another",
      file({ a: f32([1], [0, 4]), b: f32([1], [2, 6]) }, new Uint8Array(6)),
      /"b": begins at 2/
    ],
    ["elements past the end", file({ a: f32([2], [0, 8]) }, new Uint8Array(4)), /tells of 8 bytes/],
    ["bytes after the elements", file({ a: f32([1], [0, 4]) }, new Uint8Array(8)), /tells of 4 bytes/],
    [
      "a size that its shape has not",
      file({ a: f32([3], [0, 4]) }, new Uint8Array(4)),
      /has 4 bytes; \[3\] of float32 is 12/
    ],
    ["sizes that overflow", file({ a: f32([2 ** 32, 2 ** 32, 0], [0, 0]) }), /overflow/],
    ["negative sizes", file({ a: f32([-1], [0, -4]) }), /no list of sizes/],
    [
      "offsets that are no numbers",
      file({ a: { ...f32([1], []), data_offsets: ["0", "4"] } }, new Uint8Array(4)),
      /no two numbers/
    ],
    ["metadata that is no text", file({ __metadata__: { a: 1 } }), /metadata "a"/]
  ]
  for (const [name, bytes, expected] of cases) {
    it.effect(`refuses ${name}`, () =>
      Effect.gen(function* () {
        assert.match((yield* Effect.flip(Safetensors.fromBytes(bytes))).message, expected)
      })
    )
  }

  it.effect("refuses to write what the format has not, naming it", () =>
    Effect.gen(function* () {
      const complex = Tensor.zeros([1], { dtype: "complex128" })
      assert.match((yield* Effect.flip(Safetensors.toBytes({ a: complex }))).message, /tensors\["a"\]: .*complex128/)
      assert.match(
        (yield* Effect.flip(Safetensors.toBytes({ __metadata__: Tensor.zeros([1]) }))).message,
        /keeps for itself/
      )
    })
  )
})
