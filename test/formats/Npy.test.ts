import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Npy, Tensor } from "../../src/index.ts"
import { describeWith, need } from "../kit/peers.ts"

const numpyDTypes = [
  "float64",
  "float32",
  "float16",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "bool",
  "complex64",
  "complex128"
] as const

const file = (header: string, data: Uint8Array = new Uint8Array(0), version = 1): Uint8Array => {
  const text = Buffer.from(header, "latin1")
  const length = Buffer.alloc(version === 1 ? 2 : 4)
  length.writeUIntLE(text.length, 0, length.length)
  return new Uint8Array(
    Buffer.concat([Buffer.from("\x93NUMPY", "latin1"), Buffer.from([version, 0]), length, text, data])
  )
}

const words = (...numbers: ReadonlyArray<number>) => new Uint8Array(new Uint32Array(numbers).buffer)

describe("Npy", () => {
  it.effect.prop("reads what it writes", [Tensor.Schema], ([tensor]) =>
    Effect.gen(function* () {
      const bytes = yield* Effect.result(Npy.encode(tensor))
      if (bytes._tag === "Failure") {
        assert.isFalse((numpyDTypes as ReadonlyArray<string>).includes(tensor.dtype))
        assert.strictEqual(bytes.failure.field, "dtype")
        return
      }
      const again = yield* Npy.decode(bytes.success)
      assert.isTrue(Tensor.equals(again, tensor))
      if (tensor.data.length > 0) {
        assert.strictEqual(again.data.buffer, bytes.success.buffer)
        assert.strictEqual(again.data.byteOffset % 64, 0)
      }
    })
  )

  it.effect("reads Fortran order, big-endian numbers, and the later versions", () =>
    Effect.gen(function* () {
      const fortran = file("{'descr': '<u4', 'fortran_order': True, 'shape': (2, 3), }\n", words(1, 4, 2, 5, 3, 6))
      assert.deepStrictEqual(Tensor.toNestedArray(yield* Npy.decode(fortran)), [
        [1, 2, 3],
        [4, 5, 6]
      ])
      const big = Buffer.from(words(1, 2)).swap32()
      const bigEndian = file("{'shape': (2L,), 'fortran_order': False, 'descr': '>u4'}", big, 2)
      assert.deepStrictEqual(Tensor.toNestedArray(yield* Npy.decode(bigEndian)), [1, 2])
      const cube = Buffer.from(words(0, 4, 2, 6, 1, 5, 3, 7)).swap32()
      const both = file("{'descr': '>i4', 'fortran_order': True, 'shape': (2, 2, 2), }", cube, 3)
      assert.deepStrictEqual(Tensor.toNestedArray(yield* Npy.decode(both)), [
        [
          [0, 1],
          [2, 3]
        ],
        [
          [4, 5],
          [6, 7]
        ]
      ])
      const pairs = file(
        "{'descr': '>c8', 'fortran_order': False, 'shape': (1,), }",
        Buffer.from([0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0])
      )
      assert.deepStrictEqual(Tensor.toNestedArray(yield* Npy.decode(pairs)), [[1, -2]])
      const none = file("{'descr': '<u4', 'fortran_order': True, 'shape': (3, 0), }")
      assert.deepStrictEqual((yield* Npy.decode(none)).shape, [3, 0])
      const scalar = file("{'descr': '<u4', 'fortran_order': False, 'shape': ()}", words(7), 3)
      assert.deepStrictEqual(Tensor.toNestedArray(yield* Npy.decode(scalar)), 7)
    })
  )

  const header = (descr: string, shape = "(2,)") => `{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}}`
  const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    ["what is no such file", new Uint8Array(100), /not those of a NumPy/],
    ["a file that is cut off", file(header("'<u4'"), words(1)), /are 4 bytes; \[2\] of uint32 is 8|reaches element/],
    ["a file with bytes after its end", file(header("'<u4'"), words(1, 2, 3)), /are 12 bytes/],
    ["a header longer than the file", file(header("'<u4'")).subarray(0, 30), /is said to have/],
    ["another version", file(header("'<u4'"), words(1, 2), 9), /version 9/],
    ["arrays of objects", file(header("'|O'"), words(1, 2)), /Python objects/],
    ["arrays of records", file(header("[('a', '<u4')]"), words(1, 2)), /array of records/],
    ["arrays of text", file(header("'<U4'"), words(1, 2)), /dtype "<U4"/],
    ["sizes that overflow", file(header("'<u4'", "(4294967296, 4294967296, 0)")), /overflow/],
    ["negative sizes", file(header("'<u4'", "(-1,)")), /is not understood/],
    ["arrays of dates", file(header("'<M8[ns]'"), words(1, 2)), /dtype "<M8\[ns\]"/],
    ["arrays of bytes", file(header("'|S4'"), words(1, 2)), /dtype "\|S4"/],
    ["arrays of long doubles", file(header("'<f16'"), new Uint8Array(32)), /dtype "<f16"/],
    ["arrays of complex long doubles", file(header("'<c32'"), new Uint8Array(64)), /dtype "<c32"/],
    ["nested records", file(header("[('a', [('b', '<u4')])]"), words(1, 2)), /array of records/],
    [
      "an entry that is there twice",
      file("{'descr': '<u4', 'descr': '<u4', 'fortran_order': False, 'shape': (0,)}"),
      /"descr" twice/
    ],
    ["a header without a shape", file("{'descr': '<u4', 'fortran_order': False}"), /is not understood/],
    ["an order that is no truth", file("{'descr': '<u4', 'fortran_order': 1, 'shape': (0,)}"), /is not understood/],
    ["65 dimensions", file(header("'<u4'", `(${"1, ".repeat(65)})`), words(1)), /has shape/],
    ["sizes beyond all numbers", file(header("'<u4'", "(9007199254740993,)")), /has shape/],
    ["a header above the limit", file(header("'<u4'") + " ".repeat(70_000), words(1, 2), 2), /said to have 70/],
    [
      "a version 2 header that is cut off",
      file(header("'<u4'"), new Uint8Array(0), 2).subarray(0, 11),
      /not those of a NumPy/
    ],
    ["a header that is an expression", file("__import__('os').system('true')"), /is not a dict/]
  ]
  for (const [name, bytes, expected] of cases) {
    it.effect(`refuses ${name}`, () =>
      Effect.gen(function* () {
        assert.match((yield* Effect.flip(Npy.decode(bytes))).message, expected)
      })
    )
  }

  describeWith(["pytorch"], "and NumPy", () => {
    it.effect("read each other's files, in every dtype", () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "effect-kpu-npy-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
        const sent = yield* Effect.forEach(numpyDTypes, (dtype) =>
          Effect.gen(function* () {
            const tensor = Tensor.fromNumbers(
              [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1].slice(0, dtype.startsWith("c") ? 12 : 6),
              {
                dtype,
                shape: [2, 3]
              }
            )
            writeFileSync(join(folder, `${dtype}.npy`), yield* Npy.encode(tensor))
            return tensor
          })
        )
        // NumPy reads each, checks its dtype, and writes it in both orders of elements and of bytes.
        const program = `
import numpy, sys
for name in sys.argv[2:]:
    array = numpy.load(f"{sys.argv[1]}/{name}.npy")
    assert array.dtype == name and array.shape == (2, 3), (name, array.dtype)
    numpy.save(f"{sys.argv[1]}/{name}.c.npy", array)
    numpy.save(f"{sys.argv[1]}/{name}.f.npy", numpy.asfortranarray(array))
    numpy.save(f"{sys.argv[1]}/{name}.b.npy", array.astype(array.dtype.newbyteorder(">")))
`
        execFileSync(need("pytorch").python, ["-c", program, folder, ...numpyDTypes])
        for (const [index, dtype] of numpyDTypes.entries()) {
          for (const order of ["c", "f", "b"]) {
            const read = yield* Npy.decode(new Uint8Array(readFileSync(join(folder, `${dtype}.${order}.npy`))))
            assert.isTrue(Tensor.equals(read, sent[index]!), `${dtype} ${order}`)
          }
        }
      })
    )
  })
})
