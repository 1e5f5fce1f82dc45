/**
 * What a tensor's elements look like: least, greatest, mean, standard deviation, how many are no numbers, and how they
 * are spread. Two passes over the elements in blocks, so that a large tensor is never there twice.
 *
 * **Details.** NaN and infinities are counted and kept out of everything else. Complex elements are looked at by their
 * absolute value. 64-bit integers are looked at as the nearest float64.
 */
import { dtypeInfo } from "../../schema/DType.ts"
import { make, numel, type Tensor } from "../../schema/Tensor.ts"
import { toFloat64Array } from "../../schema/TensorElements.ts"

export interface Histogram {
  /** The edges of the bins: one more than there are bins. */
  readonly edges: ReadonlyArray<number>
  readonly counts: ReadonlyArray<number>
}

export interface Statistics {
  readonly count: number
  readonly nanCount: number
  readonly infCount: number
  /** Of the finite elements; absent where there are none. */
  readonly min?: number | undefined
  readonly max?: number | undefined
  readonly mean?: number | undefined
  readonly std?: number | undefined
  readonly histogram?: Histogram | undefined
}

/** Elements that are converted at once. */
const block = 65536

const visit = (tensor: Tensor, each: (value: number) => void): void => {
  const { itemsize, kind } = dtypeInfo(tensor.dtype)
  const total = numel(tensor)
  for (let start = 0; start < total; start += block) {
    const length = Math.min(block, total - start)
    const part = make({
      dtype: tensor.dtype,
      shape: [length],
      data: tensor.data.subarray(start * itemsize, (start + length) * itemsize)
    })
    const values = toFloat64Array(part)
    if (kind === "complex") {
      for (let index = 0; index < length; index++) each(Math.hypot(values[index * 2]!, values[index * 2 + 1]!))
    } else {
      for (let index = 0; index < length; index++) each(values[index]!)
    }
  }
}

/** Looks at a tensor's elements. */
export const statisticsOf = (tensor: Tensor, bins = 20): Statistics => {
  const count = numel(tensor)
  let nanCount = 0
  let infCount = 0
  let finite = 0
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  let mean = 0
  let squares = 0
  visit(tensor, (value) => {
    if (Number.isNaN(value)) nanCount++
    else if (!Number.isFinite(value)) infCount++
    else {
      finite++
      if (value < min) min = value
      if (value > max) max = value
      // Welford's: a plain sum of squares loses what is small beside a large mean.
      const delta = value - mean
      mean += delta / finite
      squares += delta * (value - mean)
    }
  })
  if (finite === 0) return { count, nanCount, infCount }
  return {
    count,
    nanCount,
    infCount,
    min,
    max,
    mean: Math.min(max, Math.max(min, mean)),
    std: Math.sqrt(Math.max(0, squares) / finite),
    histogram: histogramOf(tensor, min, max, bins)
  }
}

const histogramOf = (tensor: Tensor, min: number, max: number, wanted: number): Histogram => {
  const isWhole = dtypeInfo(tensor.dtype).kind !== "float" && dtypeInfo(tensor.dtype).kind !== "complex"
  // A few whole numbers get a bin each.
  const distinct = isWhole ? max - min + 1 : Number.POSITIVE_INFINITY
  const bins = min === max ? 1 : Math.min(wanted, distinct)
  const [low, high] = distinct <= wanted ? [min - 0.5, max + 0.5] : [min, max]
  // Halves, since the range itself may be more than a float64 holds.
  const size = high / bins - low / bins
  const counts = new Array<number>(bins).fill(0)
  visit(tensor, (value) => {
    if (!Number.isFinite(value)) return
    const bin = size > 0 ? Math.floor(value / size - low / size) : 0
    counts[Math.min(bins - 1, Math.max(0, bin))]!++
  })
  return {
    counts,
    edges: Array.from({ length: bins + 1 }, (_, index) => (index === bins ? high : Math.min(high, low + size * index)))
  }
}

const bars = " ▁▂▃▄▅▆▇█"

/** A histogram in one line; the smallest bar is shown for whatever is not nothing. */
export const sparkline = ({ counts }: Histogram): string => {
  const most = Math.max(1, ...counts)
  return counts.map((n) => bars[n === 0 ? 0 : Math.max(1, Math.round((n / most) * 8))]).join("")
}
