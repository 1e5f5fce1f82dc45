import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { dtypeInfo } from "../../src/schema/DType.ts"
import { extentOf, materialize } from "../../src/torch/Layout.ts"
import { StorageRef, TensorRef } from "../../src/torch/Unpickler.ts"
import { makeWork } from "../../src/torch/Work.ts"

const size = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
const stride = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
const dims = Schema.Array(Schema.Tuple([size, stride])).check(Schema.isMaxLength(4))
const dtypes = ["uint8", "int16", "float32", "float64", "complex128"] as const

const random = Uint8Array.from({ length: 1 << 20 }, (_, index) => Math.imul(index, 2654435761) >>> 13)

/** Element by element, from the definition of strides. */
const naive = (bytes: Uint8Array, ref: TensorRef, itemsize: number): Uint8Array => {
  const out: Array<number> = []
  const walk = (axis: number, element: number): void => {
    if (axis === ref.shape.length) {
      for (let byte = 0; byte < itemsize; byte++) out.push(bytes[element * itemsize + byte]!)
      return
    }
    for (let index = 0; index < ref.shape[axis]!; index++) walk(axis + 1, element + index * ref.strides[axis]!)
  }
  walk(0, ref.offset)
  return Uint8Array.from(out)
}

const check = (
  dims: ReadonlyArray<readonly [size: number, stride: number]>,
  dtype: (typeof dtypes)[number],
  offset: number,
  misaligned: number
): void => {
  const info = dtypeInfo(dtype)
  // What the views below reach at most, in a storage that begins anywhere.
  const numel = 16_000
  const storage = random.subarray(misaligned, misaligned + numel * info.itemsize)
  const [shape, strides] = [dims.map(([each]) => each), dims.map(([, each]) => each)]
  if (shape.reduce((product, each) => product * each, 1) > 20_000) return
  const ref = new TensorRef({
    storage: new StorageRef("0", info, numel),
    dtype,
    offset,
    shape,
    strides,
    requiresGrad: false,
    conj: false,
    neg: false
  })
  const extent = extentOf(ref, "here")
  const bytes = storage.subarray(extent.start, extent.end)
  const tensor = materialize(ref, extent, bytes, "here", {
    bigEndian: false,
    maxTensorBytes: 1 << 30,
    work: makeWork()
  })
  assert.isTrue(Buffer.from(tensor.data).equals(naive(storage, ref, info.itemsize)))
}

describe("strided elements", () => {
  it.prop(
    "are gathered as their strides say",
    [
      dims,
      Schema.Literals(dtypes),
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 })),
      Schema.Literals([0, 1, 2, 4])
    ],
    ([dims, dtype, offset, misaligned]) => check(dims, dtype, offset, misaligned),
    { arbitrary: { runs: 500 } }
  )

  it("are gathered where dimensions are transposed, expanded, of one element, or run together", () => {
    for (const dtype of dtypes) {
      for (const dims of [
        [
          [37, 1],
          [41, 37]
        ],
        [
          [3, 1000],
          [37, 1],
          [20, 37]
        ],
        [
          [20, 37],
          [3, 1000],
          [37, 1]
        ],
        [
          [5, 0],
          [17, 17],
          [17, 1]
        ],
        [
          [17, 1],
          [5, 0],
          [17, 17]
        ],
        [
          [1, 7],
          [16, 1],
          [1, 3],
          [100, 16]
        ],
        [
          [4, 200],
          [50, 4],
          [4, 1]
        ],
        [
          [4, 200],
          [50, 4],
          [3, 1]
        ],
        [
          [100, 100],
          [64, 1]
        ],
        [
          [100, 1],
          [1, 0]
        ]
      ] as const) {
        for (const misaligned of [0, 1, 2, 4]) check(dims, dtype, 3, misaligned)
      }
    }
  })
})
