import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Schema from "effect/Schema"
import { Tensor } from "../../src/index.ts"
import { type DType, dtypeInfo, dtypes, hasFloat16Array } from "../../src/schema/DType.ts"
import { InvalidInput } from "../../src/schema/KpuError.ts"
import { fromFloat16Bits, toFloat16Bits } from "../../src/schema/TensorFloats.ts"

const refused = (run: () => unknown): InvalidInput => {
  try {
    run()
  } catch (error) {
    if (error instanceof InvalidInput) return error
    throw error
  }
  return assert.fail("nothing was refused")
}

describe("Tensor", () => {
  describe("make", () => {
    it("takes the memory that it is given, without copying it", () => {
      const array = new Float32Array([1, 2, 3, 4, 5, 6])
      const tensor = Tensor.make({ dtype: "float32", shape: [2, 2], data: array.subarray(1, 5) })
      assert.strictEqual(tensor.data.buffer, array.buffer)
      assert.strictEqual(tensor.data.byteOffset, 4)
      assert.deepStrictEqual([...Tensor.toTypedArray(tensor)], [2, 3, 4, 5])
      assert.strictEqual(Tensor.toTypedArray(tensor).buffer, array.buffer)
    })

    it("takes a Buffer, and keeps it as a plain Uint8Array", () => {
      const tensor = Tensor.make({ dtype: "uint8", shape: [3], data: Buffer.from([1, 2, 3]) })
      assert.strictEqual(tensor.data.constructor, Uint8Array)
    })

    it("gives a copy as a typed array where the memory is not aligned", () => {
      const bytes = new Uint8Array(13)
      new DataView(bytes.buffer).setFloat32(5, 1.5, true)
      const tensor = Tensor.make({ dtype: "float32", shape: [3], data: bytes.subarray(1) })
      assert.strictEqual(Tensor.toTypedArray(tensor)[1], 1.5)
      assert.notStrictEqual(Tensor.toTypedArray(tensor).buffer, bytes.buffer)
    })

    it("is frozen, and does not change with the shape that it was given", () => {
      const shape = [2]
      const tensor = Tensor.make({ dtype: "uint8", shape, data: new Uint8Array(2) })
      shape[0] = 7
      assert.deepStrictEqual(tensor.shape, [2])
      assert.isTrue(Object.isFrozen(tensor) && Object.isFrozen(tensor.shape))
    })

    const data = new Uint8Array(4)
    const cases: ReadonlyArray<readonly [string, string, any]> = [
      ["a dtype that is none", "dtype", { dtype: "float", shape: [1], data }],
      ["a dtype that every object has", "dtype", { dtype: "toString", shape: [1], data }],
      ["a shape that is no array", "shape", { dtype: "int32", shape: 1, data }],
      ["a negative size", "shape", { dtype: "int32", shape: [-1], data }],
      ["a fractional size", "shape", { dtype: "int32", shape: [0.5], data }],
      ["sizes that overflow", "shape", { dtype: "int8", shape: [2 ** 40, 2 ** 40, 0], data: new Uint8Array(0) }],
      ["memory of another kind", "data", { dtype: "int32", shape: [1], data: new DataView(new ArrayBuffer(4)) }],
      ["too few bytes", "data", { dtype: "int32", shape: [2], data }],
      ["too many bytes", "data", { dtype: "int32", shape: [], data: new Uint8Array(8) }],
      ["a typed array of another kind", "data", { dtype: "int32", shape: [1], data: new Float32Array(1) }],
      ["a nested array", "data", { dtype: "int32", shape: [1], data: [1] }]
    ]
    for (const [name, field, input] of cases) {
      it.effect(`refuses ${name}, naming ${field}`, () =>
        Effect.gen(function* () {
          assert.strictEqual(refused(() => Tensor.make(input)).field, field)
          const error = yield* Effect.flip(Tensor.makeEffect(input))
          assert.strictEqual(error.field, field)
        })
      )
    }
  })

  describe("elements", () => {
    it("of numbers, bigints, booleans and pairs come from nested arrays and go back", () => {
      const cases: ReadonlyArray<readonly [DType, any]> = [
        [
          "float32",
          [
            [1, 2.5],
            [-0, Infinity]
          ]
        ],
        ["int64", [1n, -(2n ** 63n)]],
        ["uint64", [[2n ** 64n - 1n]]],
        ["bool", [true, false]],
        ["int8", [-128, 127]],
        ["bfloat16", [1, -2.5, 0.0078125]],
        ["float8_e4m3fn", [448, -0.5]],
        [
          "complex64",
          [
            [1, -2],
            [0.5, 0]
          ]
        ],
        ["complex32", [[[1, 2]]]],
        ["float64", 3.25]
      ]
      for (const [dtype, array] of cases) {
        const tensor = Tensor.fromArray(array, { dtype })
        assert.strictEqual(tensor.dtype, dtype)
        assert.deepStrictEqual(Tensor.toNestedArray(tensor), array)
      }
    })

    it("tell their dtype where none is given", () => {
      assert.strictEqual(Tensor.fromArray([1]).dtype, "float32")
      assert.strictEqual(Tensor.fromArray([1n]).dtype, "int64")
      assert.strictEqual(Tensor.fromArray([[true]]).dtype, "bool")
      assert.deepStrictEqual(Tensor.fromArray([[1, 2, 3]]).shape, [1, 3])
      assert.deepStrictEqual(Tensor.fromArray([[], []]).shape, [2, 0])
    })

    it("that are none nest as their shape says, unless that would fill the memory", () => {
      const empty = (shape: ReadonlyArray<number>) => Tensor.make({ dtype: "uint8", shape, data: new Uint8Array(0) })
      assert.deepStrictEqual(Tensor.toNestedArray(empty([2, 0, 7])), [[], []])
      assert.deepStrictEqual(Tensor.toNestedArray(empty([0, 2 ** 40])), [])
      const error = refused(() => Tensor.toNestedArray(empty([3, 2 ** 40, 0])))
      assert.match(error.message, /^shape: \[3, 1099511627776, 0\] has no elements, and would be 3298534883332 arrays/)
      refused(() => Tensor.toNestedArray(empty([2 ** 19, ...new Array(60).fill(1), 0])))
    })

    it("that there is no memory for are refused", () => {
      assert.strictEqual(refused(() => Tensor.zeros([2 ** 50])).field, "shape")
      assert.strictEqual(refused(() => Tensor.zeros([1], { dtype: "text" as DType })).field, "dtype")
    })

    it("that do not fit are refused", () => {
      const cases: ReadonlyArray<readonly [any, DType, RegExp]> = [
        [[[1, 2], [3]], "float32", /ragged/],
        [[1, [2]], "float32", /not an element/],
        [[256], "uint8", /256 is not/],
        [[1.5], "int32", /1.5 is not/],
        [[2n ** 63n], "int64", /is not/],
        [[2], "bool", /2 is not/],
        [["1"], "float32", /a string is not/],
        [[new Float32Array(2)], "float32", /an object is not/],
        [[1], "text" as DType, /no dtype/],
        [[1, 2, 3], "complex64", /pairs/]
      ]
      for (const [array, dtype, words] of cases) {
        const error = refused(() => Tensor.fromArray(array, { dtype }))
        assert.strictEqual(error.field, dtype === ("text" as DType) ? "dtype" : "data")
        assert.match(error.problem, words)
      }
    })

    it("of every floating-point code become numbers and the same code again", () => {
      for (const dtype of dtypes.filter((name) => name.startsWith("float8"))) {
        const codes = Tensor.make({ dtype, shape: [256], data: Uint8Array.from({ length: 256 }, (_, code) => code) })
        const numbers = Tensor.toFloat32Array(codes)
        const again = Tensor.fromNumbers(numbers, { dtype, shape: [256] })
        numbers.forEach((number, code) => {
          if (!Number.isNaN(number)) assert.strictEqual(again.data[code], code, `${dtype} ${number}`)
        })
      }
    })

    it("round to the nearest, ties to even, and overflow as PyTorch's casts do", () => {
      const codes = (dtype: DType, numbers: ReadonlyArray<number>) => [
        ...Tensor.fromNumbers(numbers, { dtype, shape: [numbers.length] }).data
      ]
      assert.deepStrictEqual(
        codes("float8_e4m3fn", [448, 464, 464.1, -0, 2 ** -10, 3 * 2 ** -10]),
        [0x7e, 0x7e, 0x7f, 0x80, 0, 2]
      )
      assert.deepStrictEqual(codes("float8_e5m2", [57344, 61439, 61440, Infinity]), [0x7b, 0x7b, 0x7c, 0x7c])
      assert.deepStrictEqual(codes("float8_e4m3fnuz", [240, 248, -0, Number.NaN]), [0x7f, 0x80, 0, 0x80])
      assert.deepStrictEqual(codes("float8_e8m0fnu", [1, 1.5, 3, -2]), [127, 128, 129, 128])
      assert.deepStrictEqual(codes("bfloat16", [1.00390625, 1.01171875]), [0x80, 0x3f, 0x82, 0x3f])
    })

    it.prop("of float16 are the same with and without the runtime's Float16Array", [Schema.Number], ([number]) => {
      const bits = Number.isNaN(number) ? 0x7e00 : toFloat16Bits(number)
      const tensor = Tensor.fromNumbers([number], { dtype: "float16", shape: [1] })
      assert.strictEqual(tensor.data[0]! | (tensor.data[1]! << 8), bits)
      assert.deepStrictEqual(Tensor.toFloat64Array(tensor)[0], fromFloat16Bits(bits))
    })
  })

  describe("randn", () => {
    it("has mean 0 and variance 1, and the tails of the normal distribution", () => {
      const numbers = Tensor.toTypedArray(Tensor.randn([1000, 1000], { seed: 1 }))
      let sum = 0
      let squares = 0
      const beyond = [0, 0, 0, 0]
      for (const number of numbers) {
        sum += number
        squares += number * number
        for (let limit = 1; limit <= 4; limit++) if (Math.abs(number) > limit) beyond[limit - 1]!++
      }
      const count = numbers.length
      assert.isBelow(Math.abs(sum / count), 0.005)
      assert.isBelow(Math.abs(squares / count - 1), 0.01)
      for (const [index, expected] of [0.31731, 0.0455, 0.0027, 0.0000633].entries()) {
        assert.isBelow(Math.abs(beyond[index]! / count - expected), 6 * Math.sqrt(expected / count))
      }
    })

    it("gives the same tensor for the same seed, and another for another", () => {
      const tensor = Tensor.randn([10], { seed: 42 })
      assert.isTrue(Tensor.equals(tensor, Tensor.randn([10], { seed: 42 })))
      assert.isFalse(Tensor.equals(tensor, Tensor.randn([10], { seed: 43 })))
      assert.isFalse(Tensor.equals(Tensor.randn([10]), Tensor.randn([10])))
    })

    it("comes in the floating-point and complex dtypes, and in no other", () => {
      const complex = Tensor.toFloat64Array(Tensor.randn([10_000], { seed: 3, dtype: "complex128" }))
      assert.isBelow(Math.abs(complex.reduce((sum, part) => sum + part * part, 0) / 10_000 - 1), 0.05)
      assert.strictEqual(Tensor.randn([2], { dtype: "bfloat16" }).data.byteLength, 4)
      assert.strictEqual(refused(() => Tensor.randn([2], { dtype: "int32" })).field, "dtype")
      assert.strictEqual(refused(() => Tensor.randn([2], { seed: Number.NaN })).field, "seed")
      assert.strictEqual(refused(() => Tensor.randn([-2])).field, "shape")
    })
  })

  describe("equality", () => {
    it("is of dtype, shape and bits: NaN equals itself, −0 is not 0", () => {
      const nan = Tensor.fromArray([Number.NaN])
      assert.isTrue(Equal.equals(nan, Tensor.fromArray([Number.NaN])))
      assert.strictEqual(Hash.hash(nan), Hash.hash(Tensor.fromArray([Number.NaN])))
      assert.isFalse(Equal.equals(Tensor.fromArray([0]), Tensor.fromArray([-0])))
      assert.isFalse(Equal.equals(Tensor.zeros([2, 3]), Tensor.zeros([3, 2])))
      assert.isFalse(Equal.equals(Tensor.zeros([2]), Tensor.zeros([2], { dtype: "int32" })))
    })

    it.prop("and hash do not depend on where the bytes lie", [Tensor.Schema], ([tensor]) => {
      const moved = new Uint8Array(tensor.data.length + 3)
      moved.set(tensor.data, 3)
      const same = Tensor.make({ ...tensor, data: moved.subarray(3) })
      assert.isTrue(Equal.equals(tensor, same))
      assert.strictEqual(Hash.hash(tensor), Hash.hash(same))
      if (tensor.data.length > 0) {
        const data = tensor.data.slice()
        data[data.length - 1]! ^= 1
        assert.isFalse(Equal.equals(tensor, Tensor.make({ ...tensor, data })))
      }
    })
  })

  describe("printing", () => {
    it("shows dtype, shape and elements", () => {
      assert.strictEqual(
        String(
          Tensor.fromArray([
            [1, 2.5],
            [-0, 4]
          ])
        ),
        "Tensor float32 [2, 2] [[1, 2.5], [-0, 4]]"
      )
      assert.strictEqual(inspect(Tensor.fromArray([[1, -2]], { dtype: "complex64" })), "Tensor complex64 [1] [1-2i]")
      assert.strictEqual(String(Tensor.zeros([0, 3])), "Tensor float32 [0, 3] []")
      assert.strictEqual(String(Tensor.fromArray(7n)), "Tensor int64 [] 7")
    })

    it("shows tensors within other values, and as text in templates", () => {
      const tensor = Tensor.fromArray([1n, 2n])
      assert.strictEqual(inspect({ weight: [tensor] }), "{ weight: [ Tensor int64 [2] [1, 2] ] }")
      assert.strictEqual(`${tensor}`, "Tensor int64 [2] [1, 2]")
      for (const dtype of dtypes)
        assert.match(String(Tensor.zeros([2], { dtype })), new RegExp(`^Tensor ${dtype} \\[2\\]`))
      const huge = Tensor.make({ dtype: "uint8", shape: [1, 0, 2 ** 40], data: new Uint8Array(0) })
      assert.strictEqual(String(huge), "Tensor uint8 [1, 0, 1099511627776] []")
    })

    it("shortens large tensors", () => {
      const text = String(Tensor.zeros([100, 100]))
      assert.isBelow(text.length, 400)
      assert.match(text, /\[0, 0, 0, …, 0, 0, 0\]/)
    })

    it("keeps elements out of JSON", () => {
      assert.deepStrictEqual(JSON.parse(JSON.stringify(Tensor.fromArray([1, 2]))), {
        _id: "Tensor",
        dtype: "float32",
        shape: [2],
        byteLength: 8
      })
    })
  })

  describe("Schema", () => {
    const codec = Schema.toCodecJson(Tensor.Schema)

    it.effect.prop("goes to JSON and back", [Tensor.Schema], ([tensor]) =>
      Effect.gen(function* () {
        const json = JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(tensor)))
        assert.isTrue(Tensor.equals(yield* Schema.decodeEffect(codec)(json), tensor))
      })
    )

    it.effect("refuses what is no tensor, saying why", () =>
      Effect.gen(function* () {
        for (const [json, words] of [
          [{ dtype: "float", shape: [1], data: "AAAAAA==" }, /dtype/],
          [{ dtype: "uint8", shape: [-1], data: "" }, /shape/],
          [{ dtype: "uint8", shape: [2 ** 30, 2 ** 30], data: "" }, /more elements than can be counted/],
          [{ dtype: "uint8", shape: [1], data: "?" }, /data/],
          ["a tensor", /object/],
          [null, /object/]
        ] as const) {
          assert.match(String(yield* Effect.flip(Schema.decodeUnknownEffect(codec)(json))), words)
        }
        const lookalike = { dtype: "uint8", shape: [1], data: new Uint8Array(1) }
        assert.match(
          String(yield* Effect.flip(Schema.decodeUnknownEffect(Tensor.Schema)(lookalike))),
          /Expected Tensor/
        )
      })
    )

    it.effect("refuses JSON whose bytes do not fit", () =>
      Effect.gen(function* () {
        const json = { dtype: "float32", shape: [2], data: "AAAA" }
        const error = yield* Effect.flip(Schema.decodeUnknownEffect(codec)(json))
        assert.match(String(error), /is 8 bytes; the data has 3/)
      })
    )

    const seen = new Set<DType>()
    it.prop(
      "generates tensors",
      [Tensor.Schema],
      ([tensor]) => {
        seen.add(tensor.dtype)
        assert.strictEqual(
          tensor.data.byteLength,
          tensor.shape.reduce((product, size) => product * size, dtypeInfo(tensor.dtype).itemsize)
        )
      },
      { arbitrary: { runs: 400, seed: 1 } }
    )
    it("of every dtype", () => {
      assert.strictEqual(seen.size, dtypes.length)
    })
  })

  describe("of other libraries", () => {
    it("come from and go to what ONNX Runtime holds", () => {
      const data = new BigInt64Array([1n, 2n])
      const tensor = Tensor.fromOnnx({ type: "int64", dims: [2, 1], data })
      assert.strictEqual(tensor.data.buffer, data.buffer)
      assert.deepStrictEqual(Tensor.toOnnx(tensor), { type: "int64", dims: [2, 1], data })
      const half = Tensor.fromOnnx({ type: "float16", dims: [1], data: new Uint16Array([0x3c00]) })
      assert.deepStrictEqual(Tensor.toNestedArray(half), [1])
      // As bits, on every Node: not every version of ONNX Runtime knows Float16Array.
      assert.deepStrictEqual(Tensor.toOnnx(half).data, new Uint16Array([0x3c00]))
      const types = new Set<string>()
      for (const dtype of dtypes) {
        const numbers = Tensor.fromNumbers([0, 1, 1, 0].slice(0, dtypeInfo(dtype).kind === "complex" ? 4 : 2), {
          dtype,
          shape: [1, 2]
        })
        if (/^(bfloat|float8|complex)/.test(dtype)) {
          assert.strictEqual(refused(() => Tensor.toOnnx(numbers)).field, "dtype")
          continue
        }
        const there = Tensor.toOnnx(numbers)
        types.add(there.type)
        assert.isTrue(Tensor.equals(Tensor.fromOnnx(there), numbers), dtype)
      }
      assert.strictEqual(types.size, 12)
      for (const type of ["string", "uint4", "int4", "complex64", "toString"]) {
        assert.strictEqual(refused(() => Tensor.fromOnnx({ type, dims: [1], data })).field, "type")
      }
      assert.strictEqual(refused(() => Tensor.fromOnnx({ type: "int64", dims: [3], data })).field, "data")
      assert.strictEqual(refused(() => Tensor.fromOnnx({ type: "int32", dims: [2], data })).field, "data")
      assert.strictEqual(refused(() => Tensor.fromOnnx({ type: "int64", dims: [-2], data })).field, "shape")
    })

    it("come from and go to what TensorFlow.js holds", () => {
      const held = [
        { dtype: "float32", shape: [2], data: new Float32Array([1, -0]) },
        { dtype: "int32", shape: [], data: new Int32Array([-7]) },
        { dtype: "bool", shape: [1, 3], data: new Uint8Array([1, 0, 1]) },
        { dtype: "complex64", shape: [1], data: new Float32Array([1, 2]) }
      ] as const
      for (const { data, dtype, shape } of held) {
        const tensor = Tensor.fromTfjs({ dtype, shape, dataSync: () => data })
        assert.strictEqual(tensor.data.buffer, data.buffer)
        const there = Tensor.toTfjs(tensor)
        assert.deepStrictEqual([there.dtype, there.shape, there.dataSync()], [dtype, shape, data])
      }
      for (const dtype of dtypes) {
        if (held.some((each) => each.dtype === dtype)) continue
        assert.strictEqual(refused(() => Tensor.toTfjs(Tensor.zeros([1], { dtype }))).field, "dtype")
      }
      const text = { dtype: "string", shape: [1], dataSync: () => ["a"] }
      assert.strictEqual(refused(() => Tensor.fromTfjs(text)).field, "dtype")
      const wrong = { dtype: "int32", shape: [1], dataSync: () => [1] }
      assert.strictEqual(refused(() => Tensor.fromTfjs(wrong)).field, "data")
    })

    it("come from typed arrays of every class", () => {
      for (const array of [
        new Float64Array(2),
        new Float32Array(2),
        new Int8Array(2),
        new Int16Array(2),
        new Int32Array(2),
        new BigInt64Array(2),
        new Uint8Array(2),
        new Uint16Array(2),
        new Uint32Array(2),
        new BigUint64Array(2)
      ]) {
        const tensor = Tensor.fromTypedArray(array)
        const dtype = array.constructor.name
          .replace("Array", "")
          .replace(/^Big(.*)64/, "$164")
          .toLowerCase()
        assert.deepStrictEqual([tensor.dtype, tensor.shape], [dtype, [2]])
        assert.strictEqual(Tensor.toTypedArray(tensor).constructor, array.constructor)
        assert.strictEqual(Tensor.toTypedArray(tensor).buffer, array.buffer)
      }
      if (hasFloat16Array) {
        const Half = (globalThis as unknown as { Float16Array: new (of: ReadonlyArray<number>) => Float32Array })
          .Float16Array
        const tensor = Tensor.fromTypedArray(new Half([1.5, -0, Number.NaN]) as never)
        assert.strictEqual(tensor.dtype, "float16")
        assert.deepStrictEqual([...tensor.data], [0, 0x3e, 0, 0x80, 0, 0x7e])
        assert.strictEqual(Tensor.toTypedArray(tensor).constructor.name, "Float16Array")
        assert.deepStrictEqual(Tensor.toNestedArray(tensor), [1.5, -0, Number.NaN])
      }
      assert.strictEqual(Tensor.fromTypedArray(new Uint8ClampedArray(4), [2, 2]).dtype, "uint8")
      assert.deepStrictEqual(Tensor.fromTypedArray(new Float64Array(6), [2, 3]).shape, [2, 3])
      assert.strictEqual(refused(() => Tensor.fromTypedArray(new DataView(new ArrayBuffer(1)) as any)).field, "data")
    })
  })
})
