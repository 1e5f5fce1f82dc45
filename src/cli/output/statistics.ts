/**
 * What a tensor's elements look like: least, greatest, mean, standard deviation, how many are no numbers, and how they
 * are spread. Two passes over the elements in blocks: a large tensor is never there twice, and one in a file never whole.
 *
 * **Details.** NaN and infinities are counted and kept out of everything else. Complex elements are looked at by their
 * absolute value. 64-bit integers are looked at as the nearest float64.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type DType, dtypeInfo } from "../../schema/DType.ts"
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

/** The first pass: everything but the histogram. */
class Moments {
  private count = 0
  private nanCount = 0
  private infCount = 0
  private finite = 0
  private mean = 0
  private squares = 0
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY

  add(tensor: Tensor): void {
    visit(tensor, (value) => {
      this.count++
      if (Number.isNaN(value)) this.nanCount++
      else if (!Number.isFinite(value)) this.infCount++
      else {
        this.finite++
        if (value < this.min) this.min = value
        if (value > this.max) this.max = value
        // Welford's: a plain sum of squares loses what is small beside a large mean.
        const delta = value - this.mean
        this.mean += delta / this.finite
        this.squares += delta * (value - this.mean)
      }
    })
  }
  get hasFinite(): boolean {
    return this.finite > 0
  }
  statistics(histogram: Histogram | undefined): Statistics {
    const { count, finite, infCount, max, mean, min, nanCount, squares } = this
    if (finite === 0) return { count, nanCount, infCount }
    const std = Math.sqrt(Math.max(0, squares) / finite)
    return {
      count,
      nanCount,
      infCount,
      min,
      max,
      // Elements near the largest float64 leave sums that none can hold.
      ...(Number.isFinite(mean) ? { mean: Math.min(max, Math.max(min, mean)) } : {}),
      ...(Number.isFinite(std) ? { std } : {}),
      histogram
    }
  }
}

/** The second pass: how many elements are in each bin. */
class Bins {
  private readonly counts: Array<number>
  private readonly low: number
  private readonly high: number
  private readonly size: number

  constructor(dtype: DType, min: number, max: number, wanted: number) {
    const isWhole = dtypeInfo(dtype).kind !== "float" && dtypeInfo(dtype).kind !== "complex"
    // A few whole numbers get a bin each.
    const distinct = isWhole ? max - min + 1 : Number.POSITIVE_INFINITY
    const bins = min === max ? 1 : Math.min(wanted, distinct)
    const [low, high] = distinct <= wanted ? [min - 0.5, max + 0.5] : [min, max]
    this.low = low
    this.high = high
    // Halves, since the range itself may be more than a float64 holds.
    this.size = high / bins - low / bins
    this.counts = new Array<number>(bins).fill(0)
  }
  add(tensor: Tensor): void {
    const { counts, low, size } = this
    const last = counts.length - 1
    visit(tensor, (value) => {
      if (!Number.isFinite(value)) return
      const bin = size > 0 ? Math.floor(value / size - low / size) : 0
      counts[Math.min(last, Math.max(0, bin))]!++
    })
  }
  get histogram(): Histogram {
    const { counts, high, low, size } = this
    const last = counts.length
    return {
      counts,
      edges: Array.from({ length: last + 1 }, (_, index) =>
        index === last ? high : Math.min(high, low + size * index)
      )
    }
  }
}

/** How many bins a histogram has. */
const defaultBins = 20

/** Looks at a tensor's elements. */
export const statisticsOf = (tensor: Tensor, wanted = defaultBins): Statistics => {
  const moments = new Moments()
  moments.add(tensor)
  if (!moments.hasFinite) return moments.statistics(undefined)
  const bins = new Bins(tensor.dtype, moments.min, moments.max, wanted)
  bins.add(tensor)
  return moments.statistics(bins.histogram)
}

/** Looks at the elements of a tensor that comes in blocks, twice. */
export const statisticsOfBlocks = <E, R>(
  dtype: DType,
  blocks: Stream.Stream<Tensor, E, R>
): Effect.Effect<Statistics, E, R> =>
  Effect.gen(function* () {
    const each = (pass: { add(tensor: Tensor): void }) =>
      Stream.runForEach(blocks, (block) => Effect.sync(() => pass.add(block)))
    const moments = new Moments()
    yield* each(moments)
    if (!moments.hasFinite) return moments.statistics(undefined)
    const bins = new Bins(dtype, moments.min, moments.max, defaultBins)
    yield* each(bins)
    return moments.statistics(bins.histogram)
  })

const bars = " ▁▂▃▄▅▆▇█"

/** A histogram in one line; the smallest bar is shown for whatever is not nothing. */
export const sparkline = ({ counts }: Histogram): string => {
  const most = Math.max(1, ...counts)
  return counts.map((n) => bars[n === 0 ? 0 : Math.max(1, Math.round((n / most) * 8))]).join("")
}
