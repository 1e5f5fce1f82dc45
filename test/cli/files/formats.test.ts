import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Content, Format } from "../../../src/cli/files/Format.ts"
import { formats, openTensors } from "../../../src/cli/files/formats.ts"
import { npy } from "../../../src/cli/files/npy.ts"
import { safetensors } from "../../../src/cli/files/safetensors.ts"
import { fromBytes } from "../../../src/formats/ByteSource.ts"
import { type DType, dtypeInfo, dtypes } from "../../../src/schema/DType.ts"
import { Tensor } from "../../../src/Tensor.ts"
import { temporaryFolder } from "../../kit/folder.ts"
import { describeWith, need } from "../../kit/peers.ts"
import { run } from "../../kit/process.ts"

const encode = (format: Format, content: Content) =>
  Effect.map(format.encode(content), (pieces) => new Uint8Array(Buffer.concat([...pieces])))

const decode = (format: Format, bytes: Uint8Array) =>
  Effect.flatMap(format.open(fromBytes(bytes)), (file) => Stream.runCollect(file.readAll))

const random = (dtype: DType, shape: ReadonlyArray<number>): Tensor => {
  const length = shape.reduce((product, size) => product * size, dtypeInfo(dtype).itemsize)
  const data = Uint8Array.from({ length }, (_, index) => (dtype === "bool" ? index % 2 : (index * 37 + 11) % 251))
  return Tensor.make({ dtype, shape, data }) as Tensor
}

const inNumpy: ReadonlyArray<DType> = dtypes.filter(
  (dtype) => !dtype.startsWith("float8") && dtype !== "bfloat16" && dtype !== "complex32"
)
const inSafetensors: ReadonlyArray<DType> = dtypes.filter((dtype) => dtype !== "complex32" && dtype !== "complex128")

const Shape = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))).check(Schema.isMaxLength(4))

describe("file formats", () => {
  for (const [format, able] of [
    [npy, inNumpy],
    [safetensors, inSafetensors]
  ] as const) {
    it.effect.prop(`${format.name} gives back what it was given`, [Shape, Schema.Literals(able)], ([shape, dtype]) =>
      Effect.gen(function* () {
        const tensor = random(dtype, shape)
        const bytes = yield* encode(format, { _tag: "One", tensor })
        assert.isTrue(format.matches(bytes.subarray(0, 16)))
        const [found] = yield* decode(format, bytes)
        assert.isTrue(Tensor.equals(found![1], tensor))
      })
    )

    it.effect(`${format.name} refuses the dtypes that it does not have, by name`, () =>
      Effect.gen(function* () {
        for (const dtype of dtypes.filter((dtype) => !able.includes(dtype))) {
          const error = yield* Effect.flip(format.encode({ _tag: "One", tensor: random(dtype, [2]) }))
          assert.include(error.message, dtype)
        }
      })
    )

    it.effect.prop(`${format.name} refuses a file that was cut, wherever`, [Schema.Int], ([n]) =>
      Effect.gen(function* () {
        const bytes = yield* encode(format, { _tag: "One", tensor: random("float32", [3, 5]) })
        const cut = bytes.subarray(0, Math.abs(n) % bytes.byteLength)
        const error = yield* Effect.flip(decode(format, cut))
        assert.strictEqual(error._tag, "TensorDecodeError")
      })
    )
  }

  it.effect("safetensors keeps names, and aligns each tensor to its elements", () =>
    Effect.gen(function* () {
      const tensors = [
        ["flags", random("bool", [3])],
        ["__proto__", random("float64", [2])],
        ["layer.weight", random("bfloat16", [2, 2])]
      ] as const
      const bytes = yield* encode(safetensors, { _tag: "Named", tensors })
      const found = new Map(yield* decode(safetensors, bytes))
      assert.deepStrictEqual(new Set(found.keys()), new Set(tensors.map(([name]) => name)))
      for (const [name, tensor] of tensors) {
        assert.isTrue(Tensor.equals(found.get(name)!, tensor))
        assert.strictEqual(found.get(name)!.data.byteOffset % dtypeInfo(tensor.dtype).unit, 0)
      }
    })
  )

  const withHeader = (header: unknown, data = new Uint8Array(0)): Uint8Array => {
    const json = typeof header === "string" ? header : JSON.stringify(header)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(Buffer.byteLength(json)))
    return new Uint8Array(Buffer.concat([length, Buffer.from(json), data]))
  }
  const entry = (dtype: string, shape: ReadonlyArray<number>, begin: number, end: number) => ({
    dtype,
    shape,
    data_offsets: [begin, end]
  })

  it.effect.each([
    ["no JSON", withHeader("{no"), /is not JSON/],
    ["a dtype that is unknown", withHeader({ a: entry("F4", [2], 0, 1) }, new Uint8Array(1)), /has dtype "F4"/],
    [
      "sizes that disagree",
      withHeader({ a: entry("F32", [2], 0, 4) }, new Uint8Array(4)),
      /has 4 bytes; \[2\] of float32 is 8/
    ],
    [
      "an overlap",
      withHeader({ a: entry("U8", [2], 0, 2), b: entry("U8", [2], 1, 3) }, new Uint8Array(3)),
      /"b": begins at 1; what is before it ends at 2/
    ],
    [
      "a hole",
      withHeader({ a: entry("U8", [1], 1, 2) }, new Uint8Array(2)),
      /"a": begins at 1; what is before it ends at 0/
    ],
    [
      "too few bytes",
      withHeader({ a: entry("U8", [9], 0, 9) }, new Uint8Array(3)),
      /tells of 9 bytes of elements; the file has 3/
    ],
    ["a negative offset", withHeader({ a: entry("U8", [1], -1, 0) }), /has data_offsets that are no two numbers/],
    ["a header beyond the end", new Uint8Array([255, 255, 0, 0, 0, 0, 0, 0, 0x7b]), /is said to have 65535 bytes/]
  ] as const)("safetensors refuses %s", ([, bytes, expected]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(decode(safetensors, bytes))
      assert.match(error.message, expected)
    })
  )

  it.effect("npy refuses objects, structured arrays and shapes that are not there", () =>
    Effect.gen(function* () {
      const header = (dict: string, data = "") => {
        const text = Buffer.from(`${dict}\n`)
        const head = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, text.byteLength & 255, text.byteLength >> 8])
        return new Uint8Array(Buffer.concat([head, text, Buffer.from(data)]))
      }
      const problem = (bytes: Uint8Array) => Effect.map(Effect.flip(decode(npy, bytes)), (error) => error.message)
      assert.match(yield* problem(header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")), /Python objects/)
      assert.match(
        yield* problem(header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }")),
        /array of records/
      )
      assert.match(
        yield* problem(header("{'descr': '<f4', 'fortran_order': False, 'shape': (9000000000,), }", "abc")),
        /are 3 bytes; \[9000000000\] of float32 is 36000000000/
      )
      assert.match(
        yield* problem(header("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (), }")),
        /no tensor has/
      )
    })
  )

  it.live("are recognised by what is in a file, not by its name", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const tensor = random("float32", [4])
      for (const format of formats) {
        const file = join(path, "wrong.ending")
        writeFileSync(file, yield* encode(format, { _tag: "One", tensor }))
        const [found] = yield* Effect.scoped(
          Effect.flatMap(openTensors(file), (open) => Stream.runCollect(open.readAll))
        )
        assert.isTrue(Tensor.equals(found![1], tensor))
      }
      writeFileSync(join(path, "text"), "hello")
      const error = yield* Effect.flip(Effect.scoped(openTensors(join(path, "text"))))
      assert.match(error.message, /text: its first bytes are of no format/)
      const absent = yield* Effect.flip(Effect.scoped(openTensors(join(path, "absent.pt"))))
      assert.match(absent.message, /cannot read .*absent\.pt: there is no such file/)
    })
  )
})

describeWith(["pytorch"], "file formats beside NumPy", () => {
  const python = (script: string, ...args: ReadonlyArray<string>) =>
    run(need("pytorch").python, ["-c", script, ...args])

  it.live("npy: NumPy reads what is written here, bit for bit", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      for (const dtype of inNumpy) {
        for (const shape of [[], [0, 3], [7], [2, 3, 4]]) {
          const tensor = random(dtype, shape)
          const name = `${dtype}-${shape.join("x")}`
          writeFileSync(join(path, `${name}.npy`), yield* encode(npy, { _tag: "One", tensor }))
          writeFileSync(join(path, `${name}.bin`), tensor.data)
          writeFileSync(join(path, `${name}.txt`), `${dtype} ${JSON.stringify(shape)}`)
        }
      }
      const { stdout } = yield* python(
        `import sys, glob, json, numpy
files = sorted(glob.glob(sys.argv[1] + "/*.npy"))
for file in files:
    array = numpy.load(file)
    dtype, shape = open(file[:-4] + ".txt").read().split(" ", 1)
    assert str(array.dtype) == dtype, (file, array.dtype)
    assert list(array.shape) == json.loads(shape), (file, array.shape)
    assert array.tobytes() == open(file[:-4] + ".bin", "rb").read(), file
print(len(files))`,
        path
      )
      assert.strictEqual(Number(stdout), inNumpy.length * 4)
    })
  )

  it.live("npy: what NumPy writes is read here: Fortran order, big-endian, scalars, long headers", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      yield* python(
        `import sys, numpy
folder = sys.argv[1]
cases = {
    "c": numpy.arange(24, dtype="<f4").reshape(2, 3, 4),
    "fortran": numpy.asfortranarray(numpy.arange(24, dtype="<f4").reshape(2, 3, 4)),
    "big": numpy.arange(24, dtype=">i8").reshape(4, 6),
    "big_complex": (numpy.arange(6) + 1j).astype(">c16"),
    "both": numpy.asfortranarray(numpy.arange(6, dtype=">u2").reshape(2, 3)),
    "scalar": numpy.array(2.5, dtype="<f8"),
    "empty": numpy.zeros((0, 5), dtype="<f2"),
    "flags": numpy.array([True, False]),
}
for name, array in cases.items():
    numpy.save(f"{folder}/{name}.npy", array)
    native = numpy.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    open(f"{folder}/{name}.bin", "wb").write(native.tobytes())
for version in [(2, 0), (3, 0)]:
    with open(f"{folder}/v{version[0]}.npy", "wb") as file:
        numpy.lib.format.write_array(file, cases["c"], version)
    open(f"{folder}/v{version[0]}.bin", "wb").write(cases["c"].tobytes())`,
        path
      )
      for (const name of ["c", "fortran", "big", "big_complex", "both", "scalar", "empty", "flags", "v2", "v3"]) {
        const [found] = yield* decode(npy, new Uint8Array(readFileSync(join(path, `${name}.npy`))))
        assert.deepStrictEqual(Buffer.from(found![1].data), readFileSync(join(path, `${name}.bin`)), name)
      }
    })
  )

  it.live("safetensors: a reader written from the format's description finds every tensor", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const tensors = [
        ["a", random("float32", [2, 3])],
        ["b.ü", random("int64", [4])],
        ["c", random("bool", [])]
      ] as const
      writeFileSync(join(path, "x.safetensors"), yield* encode(safetensors, { _tag: "Named", tensors }))
      for (const [index, [, tensor]] of tensors.entries()) writeFileSync(join(path, `${index}.bin`), tensor.data)
      yield* python(
        `import sys, json, struct
data = open(sys.argv[1] + "/x.safetensors", "rb").read()
(length,) = struct.unpack("<Q", data[:8])
assert length % 8 == 0
header = json.loads(data[8:8 + length])
expected = {"a": ("F32", [2, 3]), "b.ü": ("I64", [4]), "c": ("BOOL", [])}
assert set(header) == set(expected)
for index, name in enumerate(expected):
    begin, end = header[name]["data_offsets"]
    assert (header[name]["dtype"], header[name]["shape"]) == expected[name]
    assert data[8 + length + begin:8 + length + end] == open(f"{sys.argv[1]}/{index}.bin", "rb").read()
`,
        path
      )
    })
  )
})
