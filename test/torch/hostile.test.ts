import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { InvalidInput, TensorDecodeError } from "../../src/schema/KpuError.ts"
import { toTypedArray } from "../../src/schema/Tensor.ts"
import { fromArray, toNestedArray } from "../../src/schema/TensorElements.ts"
import * as TorchFile from "../../src/TorchFile.ts"
import { type DecodeOptions, decodeTensor } from "../../src/torch/Decoder.ts"
import { encodeWhole } from "../../src/torch/Encoder.ts"
import { opcodeName } from "../../src/torch/PickleOpcodes.ts"
import { makeWork } from "../../src/torch/Work.ts"
import { pickle, tensorPickle, tensorRecords, wholePickle, zip } from "../kit/Archive.ts"

const elements = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer)
const plain = { numel: 6, shape: [2, 3], strides: [3, 1] }
const plainPickle = wholePickle(tensorPickle(plain))
const records = tensorRecords(plainPickle, elements)

const refusal = (bytes: Uint8Array, options?: DecodeOptions): TensorDecodeError => {
  try {
    decodeTensor(bytes, options)
  } catch (error) {
    if (error instanceof TensorDecodeError) return error
    throw error
  }
  return assert.fail("nothing was refused")
}

const refuses = (bytes: Uint8Array, words: RegExp, options?: DecodeOptions): void => {
  assert.match(refusal(bytes, options).message, words)
}

const withPickle = (pickled: Uint8Array, storage: Uint8Array = elements): Uint8Array =>
  zip(tensorRecords(pickled, storage))

const tensorFile = (tensor: Parameters<typeof tensorPickle>[0], storage?: Uint8Array): Uint8Array =>
  withPickle(wholePickle(tensorPickle(tensor)), storage)

describe("archives", () => {
  it("of other writers are read: any name, any order, with a comment, with ZIP64", () => {
    const expected = [
      [1, 2, 3],
      [4, 5, 6]
    ]
    for (const bytes of [
      zip(records),
      zip(tensorRecords(plainPickle, elements, "any name")),
      zip(records.toReversed()),
      zip(records, { comment: "made by hand" }),
      zip(records, { zip64: {} }),
      zip([...records, { name: "archive/more", data: elements }])
    ]) {
      assert.deepStrictEqual(toNestedArray(decodeTensor(bytes)), expected)
    }
  })

  it("of big-endian machines are read", () => {
    const swapped = Buffer.from(elements).swap32()
    const bytes = zip([...tensorRecords(plainPickle, swapped), { name: "archive/byteorder", data: Buffer.from("big") }])
    assert.deepStrictEqual(toNestedArray(decodeTensor(bytes)), [
      [1, 2, 3],
      [4, 5, 6]
    ])
    const complex = wholePickle(tensorPickle({ storage: "ComplexFloatStorage", numel: 3, shape: [3], strides: [1] }))
    const pairs = zip([...tensorRecords(complex, swapped), { name: "archive/byteorder", data: Buffer.from("big") }])
    assert.deepStrictEqual(toNestedArray(decodeTensor(pairs)), [
      [1, 2],
      [3, 4],
      [5, 6]
    ])
    refuses(zip([...records, { name: "archive/byteorder", data: Buffer.from("middle") }]), /neither "little" nor "big"/)
  })

  const cut = encodeWhole(fromArray([1, 2, 3]))
  it("that are cut off anywhere are refused", () => {
    for (let length = 0; length < cut.length; length++) refusal(cut.subarray(0, length))
  })

  const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    [
      "compressed records",
      zip([{ ...records[0]!, method: 8 }, ...records.slice(1)]),
      /data\.pkl" is compressed|data\.pkl": is compressed/
    ],
    [
      "compressed elements",
      zip([records[0]!, { ...records[1]!, method: 8, size: 1 << 30, compressedSize: 24 }]),
      /1073741824 bytes|is compressed/
    ],
    ["encrypted records", zip([{ ...records[0]!, flags: 1 }, ...records.slice(1)]), /is encrypted/],
    ["records over one another", zip([records[0]!, { ...records[1]!, offset: 0 }, records[2]!]), /overlaps another/],
    [
      "records that run into the next",
      zip([{ ...records[0]!, size: plainPickle.length + 20 }, ...records.slice(1)]),
      /runs into what follows|two sizes|in its local header/
    ],
    [
      "records past the end",
      zip([records[0]!, { ...records[1]!, offset: 1_000_000 }]),
      /overlaps another, or the directory/
    ],
    ["a record that is there twice", zip([...records, records[1]!]), /data\/0": is there twice/],
    [
      "two names for one record",
      zip([{ ...records[0]!, localName: "archive/data.pkx" }, ...records.slice(1)]),
      /another name in its local header/
    ],
    ["two sizes for one record", zip([{ ...records[0]!, localSize: 3 }, ...records.slice(1)]), /in its local header/],
    ["a directory past the end", zip(records, { directoryOffset: 1_000_000 }), /puts the directory at 1000000/],
    ["a directory larger than the file", zip(records, { directorySize: 0x7fffffff }), /puts the directory at/],
    ["more records than there is room for", zip(records, { count: 60_000 }), /60000 records in/],
    ["a ZIP64 count that is not true", zip(records, { zip64: { count: 2n ** 40n } }), /1099511627776 records/],
    ["a ZIP64 offset beyond all numbers", zip(records, { zip64: { offset: 2n ** 63n } }), /9223372036854775808/],
    ["no data.pkl", zip(records.slice(1)), /no record data\.pkl/],
    ["two data.pkl", zip([...records, { name: "other/data.pkl", data: plainPickle }]), /two records data\.pkl/],
    ["TorchScript programs", zip([...records, { name: "archive/constants.pkl", data: plainPickle }]), /TorchScript/],
    ["elements that are not there", zip(records.slice(0, 1)), /"archive\/data\/0", which is not there/],
    ["damaged elements", zip([records[0]!, { ...records[1]!, crc: 1 }]), /data\/0": is damaged/],
    ["a damaged pickle", zip([{ ...records[0]!, crc: 1 }, records[1]!]), /data\.pkl": is damaged/],
    ["a NumPy file", Buffer.from("\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", "latin1"), /NumPy \.npy file/],
    ["a bare pickle", Buffer.from([0x80, 2, 0x4b, 1, 0x2e]), /bare pickle/]
  ]
  for (const [name, bytes, words] of cases) it(`with ${name} are refused`, () => refuses(bytes, words))

  it("are read without their CRCs where that is asked for", () => {
    const damaged = zip([records[0]!, { ...records[1]!, crc: 1 }])
    assert.deepStrictEqual(toNestedArray(decodeTensor(damaged, { verifyCrc: false })), [
      [1, 2, 3],
      [4, 5, 6]
    ])
  })
})

describe("pickles", () => {
  const known = new Set([
    "PROTO",
    "MARK",
    "STOP",
    "NONE",
    "NEWTRUE",
    "NEWFALSE",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "EMPTY_TUPLE",
    "TUPLE",
    "TUPLE1",
    "TUPLE2",
    "TUPLE3",
    "EMPTY_LIST",
    "EMPTY_DICT",
    "APPEND",
    "APPENDS",
    "SETITEM",
    "SETITEMS",
    "BINPUT",
    "LONG_BINPUT",
    "BINGET",
    "LONG_BINGET",
    "GLOBAL",
    "BINPERSID",
    "REDUCE",
    "BUILD"
  ])

  it("with any other opcode are refused by its name", () => {
    let refused = 0
    for (let opcode = 0; opcode < 256; opcode++) {
      const name = opcodeName(opcode)
      if (known.has(name)) continue
      refused++
      refuses(
        withPickle(wholePickle(pickle.emptyTuple, Buffer.from([opcode]))),
        new RegExp(`data\\.pkl at byte 3: has opcode ${name},`)
      )
    }
    assert.strictEqual(refused, 256 - known.size)
  })

  const globals: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["os", "system", /"os system": a Python object/],
    ["builtins", "eval", /"builtins eval"/],
    ["__builtin__", "getattr", /getattr/],
    ["torch", "load", /"torch load"/],
    ["torch._utils", "_rebuild_qtensor", /a quantized tensor/],
    ["torch._utils", "_rebuild_sparse_tensor", /a sparse tensor/],
    ["torch._utils", "_rebuild_meta_tensor_no_storage", /a meta tensor/],
    ["torch._tensor", "_rebuild_from_type_v2", /Python attributes/],
    ["torch", "float4_e2m1fn_x2", /a packed dtype/],
    ["torch", "bits8", /a packed dtype/],
    ["torch", "uint4", /a packed dtype/],
    ["torch", "int1", /a packed dtype/],
    ["torch", "QUInt8Storage", /a quantized tensor/],
    ["torch", "QUInt4x2Storage", /a quantized tensor/],
    ["torch", "quint4x2", /a quantized tensor/],
    ["torch", "qint8", /a quantized tensor/],
    ["torch._utils", "_rebuild_nested_tensor", /a nested tensor/],
    ["torch._utils", "_rebuild_parameter_with_state", /a Parameter with Python attributes/],
    ["torch", "Size", /a torch.Size; save tuple\(size\)/],
    ["torch", "device", /a torch.device; save str\(device\)/],
    ["pathlib", "PosixPath", /"pathlib PosixPath": a Python object/],
    ["numpy.core.multiarray", "_reconstruct", /a NumPy object/],
    ["torch.jit._pickle", "build_intlist", /build_intlist/],
    ["collections", "Counter", /Counter/],
    ["torch", "__dict__", /__dict__/]
  ]
  for (const [module, name, words] of globals) {
    it(`with the global ${module} ${name} are refused by its name, before it could be called`, () => {
      refuses(withPickle(wholePickle(pickle.global(module, name), pickle.emptyTuple, pickle.reduce)), words)
    })
  }

  const repeated = (piece: Uint8Array, count: number) => Buffer.concat(new Array<Uint8Array>(count).fill(piece))
  const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    ["nothing in them", new Uint8Array(0), /does not begin/],
    ["another protocol", Buffer.concat([Buffer.from([0x80, 4]), plainPickle.subarray(2)]), /pickle protocol 4/],
    ["no end", plainPickle.subarray(0, -1), /ends in the middle/],
    ["values left over", wholePickle(pickle.none, tensorPickle(plain)), /values left over/],
    ["an empty stack", wholePickle(), /takes more values than there are/],
    ["a tuple of what is not there", wholePickle(Buffer.from([0x87])), /takes more values/],
    ["no mark", wholePickle(pickle.tuple), /a mark that is not there/],
    ["sixty thousand marks", wholePickle(repeated(pickle.mark, 60_000)), /nests deeper than 256/],
    ["a text longer than the file", wholePickle(Buffer.from([0x58, 255, 255, 255, 255])), /ends in the middle/],
    ["a text that is not UTF-8", wholePickle(Buffer.from([0x58, 1, 0, 0, 0, 0xff])), /not UTF-8/],
    ["a global without an end", wholePickle(Buffer.from(`c${"a".repeat(2000)}`)), /does not end/],
    ["a memo entry that is not there", wholePickle(pickle.get(7)), /recalls value 7/],
    [
      "a call of a dtype",
      wholePickle(pickle.global("torch", "float32"), pickle.emptyTuple, pickle.reduce),
      /not a function/
    ],
    ["a call of a tensor", wholePickle(tensorPickle(plain), pickle.emptyTuple, pickle.reduce), /not a function/],
    ["a state for a list", wholePickle(pickle.emptyList, pickle.emptyDict, Buffer.from("b")), /sets the state/],
    [
      "a key that is a list",
      wholePickle(pickle.emptyDict, pickle.emptyList, pickle.none, pickle.setItem),
      /neither text nor a number/
    ],
    ["a persistent id of another form", wholePickle(pickle.emptyTuple, pickle.persid), /persistent id/],
    ["something else than a tensor", wholePickle(pickle.int(3)), /holds a number, not one tensor/],
    ["a dict", wholePickle(pickle.emptyDict), /TorchFile reads several/]
  ]
  for (const [name, pickled, words] of cases) {
    it(`with ${name} are refused`, () => refuses(withPickle(pickled), words))
  }

  const many: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    ["opcodes", repeated(pickle.none, 2 ** 23), /more than 8388608 opcodes/],
    ["lists", repeated(pickle.emptyList, 2 ** 20 + 1), /more than 1048576 lists, dicts and tuples/],
    ["dicts", repeated(pickle.emptyDict, 2 ** 20 + 1), /more than 1048576 lists, dicts and tuples/],
    [
      "tuples",
      Buffer.concat([pickle.none, repeated(Buffer.from([0x85]), 2 ** 20 + 1)]),
      /more than 1048576 lists, dicts and tuples/
    ]
  ]
  for (const [name, piece, words] of many) {
    it.effect(`with more ${name} than memory should hold are refused`, () =>
      Effect.gen(function* () {
        const bytes = withPickle(wholePickle(piece))
        assert.match((yield* Effect.flip(TorchFile.fromBytes(bytes))).message, words)
        // One tensor needs far less, and is what a stream brings.
        refuses(bytes, /data\.pkl": is \d+ bytes; of one tensor it is at most 65536\. TorchFile reads several/)
      })
    )
  }

  it.effect("whose names repeat a long key at every level are refused before they fill the memory", () =>
    Effect.gen(function* () {
      const nested = (key: string, depth: number, leaves: number) =>
        wholePickle(
          pickle.emptyDict,
          pickle.text(key),
          pickle.put(0),
          pickle.emptyDict,
          ...Array.from({ length: depth }, () => Buffer.concat([pickle.get(0), pickle.emptyDict])),
          ...Array.from({ length: leaves }, (_, leaf) =>
            Buffer.concat([pickle.int(leaf), pickle.none, pickle.setItem])
          ),
          ...Array.from({ length: depth + 1 }, () => pickle.setItem)
        )
      const read = (key: string, depth: number, leaves: number) =>
        TorchFile.fromBytes(withPickle(nested(key, depth, leaves)))
      const long = yield* Effect.flip(read("k".repeat(2 ** 20), 90, 200))
      assert.match(long.message, /a name of more than 4096 characters/)
      const wide = yield* Effect.flip(read("k".repeat(40), 90, 30_000))
      assert.match(wide.message, /names of more than 67108864 characters together/)
      const file = yield* read("k".repeat(40), 90, 10)
      assert.strictEqual(file.values.get(`${"k".repeat(40)}.`.repeat(91).concat("7")), null)
    })
  )

  it("do no more work than their size", () => {
    const pickled = wholePickle(
      pickle.emptyList,
      pickle.put(0),
      repeated(Buffer.concat([pickle.get(0), pickle.append]), 10_000)
    )
    const bytes = withPickle(pickled)
    const work = makeWork()
    assert.throws(() => decodeTensor(bytes, undefined, work), TensorDecodeError, /a list of 10000/)
    assert.isAbove(work.opcodes, 20_000)
    assert.isBelow(work.opcodes, bytes.length)
    assert.isBelow(work.bytes, 4 * bytes.length)
  })

  const walks: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    [
      "that contains itself",
      wholePickle(pickle.emptyList, pickle.put(0), pickle.get(0), pickle.append),
      /over and over/
    ],
    [
      "whose lists double",
      wholePickle(
        pickle.emptyList,
        ...Array.from({ length: 60 }, (_, index) =>
          Buffer.concat([
            pickle.put(index),
            pickle.emptyList,
            pickle.get(index),
            pickle.append,
            pickle.get(index),
            pickle.append
          ])
        )
      ),
      /values left over|over and over/
    ],
    [
      "that nests deep",
      wholePickle(repeated(pickle.emptyList, 5000), repeated(pickle.append, 4999)),
      /nests deeper than 100/
    ],
    [
      "with two tensors of one name",
      wholePickle(
        pickle.emptyDict,
        pickle.text("a.b"),
        tensorPickle(plain),
        pickle.setItem,
        pickle.text("a"),
        pickle.emptyDict,
        pickle.text("b"),
        tensorPickle(plain),
        pickle.setItem,
        pickle.setItem
      ),
      /two tensors of the name "a.b"/
    ]
  ]
  for (const [name, pickled, words] of walks) {
    it.effect(`of a list or dict ${name} is refused`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(TorchFile.fromBytes(withPickle(pickled)))
        assert.match(error.message, words)
      })
    )
  }

  it.effect("of dicts give their tensors by names that no object has", () =>
    Effect.gen(function* () {
      const pickled = wholePickle(pickle.emptyDict, pickle.text("__proto__"), tensorPickle(plain), pickle.setItem)
      const file = yield* TorchFile.fromBytes(withPickle(pickled))
      assert.deepStrictEqual([...file.tensors.keys()], ["__proto__"])
      assert.instanceOf(yield* Effect.flip(file.read("toString")), InvalidInput)
      const [[name, tensor] = assert.fail()] = yield* Stream.runCollect(file.readAll)
      assert.strictEqual(name, "__proto__")
      assert.deepStrictEqual([...toTypedArray(tensor)], [1, 2, 3, 4, 5, 6])
    })
  )
})

describe("tensors", () => {
  it("that are views are read: offset, stride, transposed, expanded", () => {
    const read = (view: object) => toNestedArray(decodeTensor(tensorFile({ ...plain, ...view })))
    assert.deepStrictEqual(read({ shape: [3, 2], strides: [1, 3] }), [
      [1, 4],
      [2, 5],
      [3, 6]
    ])
    assert.deepStrictEqual(read({ offset: 1, shape: [2], strides: [2] }), [2, 4])
    assert.deepStrictEqual(read({ offset: 5, shape: [], strides: [] }), 6)
    assert.deepStrictEqual(read({ shape: [2, 3], strides: [0, 1] }), [
      [1, 2, 3],
      [1, 2, 3]
    ])
    assert.deepStrictEqual(read({ offset: 2, shape: [2, 2], strides: [0, 0] }), [
      [3, 3],
      [3, 3]
    ])
    assert.deepStrictEqual(read({ shape: [2, 0], strides: [100, 100] }), [[], []])
    assert.deepStrictEqual(read({ offset: 3, shape: [1, 3, 1], strides: [99, 1, 99] }), [[[4], [5], [6]]])
  })

  it("that are contiguous are views of the file, and others are copied once", () => {
    const file = tensorFile({ ...plain, offset: 3, shape: [3], strides: [1] })
    assert.strictEqual(decodeTensor(file).data.buffer, file.buffer)
    const work = makeWork()
    decodeTensor(tensorFile({ ...plain, shape: [3, 2], strides: [1, 3] }), { verifyCrc: false }, work)
    assert.strictEqual(work.allocated, elements.length)
  })

  const huge = 2 ** 53
  const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    ["past their storage", tensorFile({ ...plain, offset: 1 }), /reaches element 6 of storage "0", which has 6/],
    ["that step past it", tensorFile({ ...plain, strides: [4, 1] }), /reaches element 6/],
    ["of negative strides", tensorFile({ ...plain, strides: [-3, 1] }), /has -3 as a stride/],
    ["of negative sizes", tensorFile({ ...plain, shape: [-2, 3] }), /has -2 as a size/],
    ["of negative offsets", tensorFile({ ...plain, offset: -1 }), /has -1 as a storage offset/],
    ["whose sizes overflow", tensorFile({ ...plain, shape: [2 ** 30, 2 ** 30], strides: [0, 0] }), /overflow/],
    [
      "whose sizes overflow beside a zero",
      tensorFile({ ...plain, shape: [2 ** 30, 2 ** 30, 0], strides: [0, 0, 0] }),
      /overflow/
    ],
    ["whose strides overflow", tensorFile({ ...plain, strides: [huge - 1, huge - 1] }), /overflow|reaches/],
    ["of sizes that are no numbers here", tensorFile({ ...plain, shape: [huge, 1] }), /has 9007199254740992 as a size/],
    [
      "of a storage larger than its record",
      tensorFile({ ...plain, numel: 7 }),
      /is 24 bytes; the pickle says 7 elements/
    ],
    [
      "of a storage smaller than its record",
      tensorFile({ numel: 5, shape: [5], strides: [1] }),
      /is 24 bytes; the pickle says 5 elements/
    ],
    [
      "of a storage beyond all numbers",
      tensorFile({ ...plain, numel: 2n ** 62n }),
      /4611686018427387904 as the storage's numel/
    ],
    ["of more strides than sizes", tensorFile({ ...plain, strides: [3, 1, 1] }), /2 sizes and 3 strides/],
    [
      "of 65 dimensions",
      tensorFile({ ...plain, shape: new Array(65).fill(1), strides: new Array(65).fill(1) }),
      /65 dimensions/
    ],
    [
      "expanded to a tebibyte",
      tensorFile({ ...plain, shape: [2 ** 38], strides: [0] }),
      /1099511627776 bytes .* limit maxTensorBytes is 4294967296/
    ],
    [
      "of a dtype without storage class in one",
      tensorFile({ ...plain, storage: "UntypedStorage" }),
      /has global "torch UntypedStorage"/
    ],
    [
      "of a dtype that its storage has not",
      tensorFile({ numel: 24, shape: [24], strides: [1], dtype: "FloatStorage" }),
      /without a dtype/
    ],
    [
      "conjugated and real",
      tensorFile({
        ...plain,
        metadata: Buffer.concat([pickle.emptyDict, pickle.text("conj"), pickle.true, pickle.setItem])
      }),
      /a conjugated tensor of float32/
    ],
    [
      "with other metadata",
      tensorFile({
        ...plain,
        metadata: Buffer.concat([pickle.emptyDict, pickle.text("x"), pickle.true, pickle.setItem])
      }),
      /metadata "x"/
    ]
  ]
  for (const [name, bytes, words] of cases) it(`${name} are refused`, () => refuses(bytes, words))

  it("of untyped storages are read", () => {
    const bytes = tensorFile({ numel: 24, shape: [12], strides: [1], dtype: "uint16" })
    assert.deepStrictEqual([...toTypedArray(decodeTensor(bytes))], [...new Uint16Array(elements.buffer)])
    refuses(tensorFile({ numel: 24, shape: [13], strides: [1], dtype: "uint16" }), /reaches element 12 .* which has 12/)
  })

  it("that are expanded stay within the limit", () => {
    const file = tensorFile({ ...plain, shape: [1000], strides: [0] })
    assert.strictEqual(decodeTensor(file, { maxTensorBytes: 4000 }).data.length, 4000)
    refuses(file, /limit maxTensorBytes is 3999/, { maxTensorBytes: 3999 })
  })
})
