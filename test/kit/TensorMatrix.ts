/**
 * Every dtype in every layout and size that the interop suites send, save and read: one matrix for PyTorch's files and for
 * tensors on the wire.
 */
import { type DType, dtypeInfo, dtypes } from "../../src/schema/DType.ts"
import type { Tensor } from "../../src/schema/Tensor.ts"
import { toFloat64Array } from "../../src/schema/TensorElements.ts"
import type { Case, Layout } from "./TorchTool.ts"

const someMiB = [700, 750] as const
const mostDimensions: ReadonlyArray<number> = Array.from({ length: 64 }, (_, axis) => (axis % 20 === 0 ? 2 : 1))

/** A scalar, nothing, one element, few, ranks to 8 and the highest, more than a small chunk, and some MiB. */
const shapes: ReadonlyArray<ReadonlyArray<number>> = [
  [],
  [0, 3],
  [1],
  [7],
  [2, 3],
  [2, 3, 4],
  [2, 3, 4, 5],
  [1, 2, 1, 3, 2, 2, 1, 2],
  [129, 257],
  someMiB,
  mostDimensions
]

const layoutsOf = (dtype: DType, shape: ReadonlyArray<number>): ReadonlyArray<Layout> => {
  const { itemsize, kind } = dtypeInfo(dtype)
  const rank = shape.length
  // Megabytes are about size: one layout that is as it lies, and one that is not.
  if (shape === someMiB || shape === mostDimensions) return ["contiguous", "transposed"]
  return [
    "contiguous",
    ...(rank >= 2 ? (["transposed"] as const) : []),
    ...(rank >= 1 ? (["slice", "step", "expanded"] as const) : []),
    ...(rank === 4 ? (["channels_last"] as const) : []),
    ...(kind === "complex" ? (["conj", "conj_neg"] as const) : []),
    ...(dtype === "float32" || dtype === "float64" || dtype === "float16" ? (["neg"] as const) : []),
    ...(kind === "float" && itemsize > 1 ? (["neg_view"] as const) : []),
    ...(kind === "float" && rank === 2 ? (["parameter", "requires_grad"] as const) : [])
  ]
}

/** The matrix. Some of it a PyTorch cannot make or save; the tool says which. */
export const matrix: ReadonlyArray<Case> = dtypes.flatMap((dtype) =>
  shapes.flatMap((shape) =>
    layoutsOf(dtype, shape).map((layout) => ({
      name: `${dtype}-${shape === mostDimensions ? "64-dimensions" : shape.join("x")}-${layout}`,
      dtype,
      shape,
      layout,
      seed: shape.length + 1,
      // PyTorch's own negation, and its arithmetic on halves, do not always keep a NaN's payload.
      fill: /neg/.test(layout) || (layout === "conj" && dtype === "complex32") ? ("values" as const) : ("bits" as const)
    }))
  )
)

/** What PyTorch 1.13 does not have, or cannot save. */
export const isNewer = (dtype: DType): boolean => dtypeInfo(dtype).storage === undefined

/** Whether the elements are the same numbers, whatever the signs of zeros. */
export const sameNumbers = (a: Tensor, b: Tensor): boolean => {
  const bytes = (tensor: Tensor) => Buffer.from(toFloat64Array(tensor).map((value) => value + 0).buffer)
  return bytes(a).equals(bytes(b))
}

/**
 * PyTorch 2.9 gives −0 or 0 for the negation of a conjugated zero, depending on how many elements it does at a time: there
 * zeros are compared without their signs.
 */
export const losesZeroSigns = ({ name }: { readonly name: string }): boolean => name.endsWith("conj_neg")
