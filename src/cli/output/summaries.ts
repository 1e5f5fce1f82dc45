/** Tensors as people look at them: what they are, how their elements are spread. */
import type { Tensor } from "../../schema/Tensor.ts"
import type { TensorSummary } from "./json.ts"
import { type PlotItem, plotSvg } from "./plot.ts"
import { formatBytes, formatNumber } from "./quantities.ts"
import type { Style } from "./Style.ts"
import { type Statistics, sparkline, statisticsOf } from "./statistics.ts"
import { visible } from "./visible.ts"

/** A tensor with a name, and where it comes from or goes to. */
export interface Shown {
  readonly name: string
  readonly file?: string | undefined
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly bytes: number
  readonly statistics?: Statistics | undefined
}

export const look = (
  name: string,
  tensor: Tensor,
  options: { readonly file?: string | undefined; readonly statistics: boolean }
): Shown => ({
  name,
  file: options.file,
  dtype: tensor.dtype,
  shape: tensor.shape,
  bytes: tensor.data.byteLength,
  statistics: options.statistics ? statisticsOf(tensor) : undefined
})

/** For `--output json`. */
export const summaryOf = ({ bytes, dtype, file, name, shape, statistics }: Shown): TensorSummary => ({
  name,
  ...(file === undefined ? {} : { file }),
  dtype,
  shape,
  bytes,
  ...(statistics === undefined
    ? {}
    : {
        nanCount: statistics.nanCount,
        infCount: statistics.infCount,
        min: statistics.min,
        max: statistics.max,
        mean: statistics.mean,
        std: statistics.std,
        histogram: statistics.histogram
      })
})

/** For a terminal. */
export const formatShown = (shown: Shown, style: Style): string => {
  const { statistics } = shown
  const lines = [
    `${style.bold(shown.name === "" ? "(unnamed)" : visible(shown.name))}  ${shown.dtype} [${shown.shape.join(", ")}]  ${formatBytes(shown.bytes)}`
  ]
  if (statistics !== undefined) {
    const { histogram, infCount, max, mean, min, nanCount, std } = statistics
    const none = `NaN ${nanCount}${infCount > 0 ? `  inf ${infCount}` : ""}`
    lines.push(
      min === undefined
        ? statistics.count === 0
          ? "  no elements"
          : `  no finite elements  ${style.yellow(none)}`
        : `  min ${formatNumber(min)}  max ${formatNumber(max!)}  ${mean === undefined ? "" : `mean ${formatNumber(mean)}  `}${std === undefined ? "" : `std ${formatNumber(std)}  `}${nanCount + infCount > 0 ? style.yellow(none) : none}`
    )
    if (histogram !== undefined && min !== max) {
      lines.push(`  ${style.cyan(sparkline(histogram))}  ${formatNumber(min!)} to ${formatNumber(max!)}`)
    }
  }
  return lines.join("\n")
}

/** The tensors' histograms as an SVG document. */
export const plotOf = (shown: ReadonlyArray<Shown>): string =>
  plotSvg(
    shown.map(
      (item): PlotItem => ({
        name: item.name === "" ? "(unnamed)" : item.name,
        dtype: item.dtype,
        shape: item.shape,
        statistics: item.statistics!
      })
    )
  )
