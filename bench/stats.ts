/** Medians and their spread. */

/** quartiles tell the spread without being drawn away by one bad round. */
export interface Summary {
  readonly median: number
  readonly low: number
  readonly high: number
}

export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const below = sorted[Math.floor(at)]!
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at))
}

/** The median and the quartiles. */
export const summarize = (values: ReadonlyArray<number>): Summary => ({
  median: quantile(values, 0.5),
  low: quantile(values, 0.25),
  high: quantile(values, 0.75)
})

/**
 * How many times one is the other: the ratio of the medians, and the quartiles of the rounds' own ratios, in which both
 * met the same weather.
 */
export const ratioOf = (these: ReadonlyArray<number>, those: ReadonlyArray<number>): Summary => {
  const paired = these.slice(0, those.length).map((value, round) => value / those[round]!)
  return {
    median: quantile(these, 0.5) / quantile(those, 0.5),
    low: quantile(paired, 0.25),
    high: quantile(paired, 0.75)
  }
}
