/**
 * A histogram of each tensor as one SVG file: no fonts, scripts or files from elsewhere.
 */
import { formatNumber } from "./quantities.ts"
import type { Statistics } from "./statistics.ts"

export interface PlotItem {
  readonly name: string
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly statistics: Statistics
}

const escape = (text: string): string =>
  text
    .replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 has no way to hold them
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")

const size = { width: 640, panel: 220, left: 56, right: 16, top: 44, bottom: 36 } as const

const panel = (item: PlotItem, index: number): string => {
  const { statistics } = item
  const top = index * size.panel
  const title = `${item.name}   ${item.dtype} [${item.shape.join(", ")}]`
  const facts = [
    statistics.min === undefined
      ? `${statistics.count} elements, none finite`
      : `min ${formatNumber(statistics.min)}  max ${formatNumber(statistics.max!)}${statistics.mean === undefined ? "" : `  mean ${formatNumber(statistics.mean)}`}`,
    `NaN ${statistics.nanCount}`,
    ...(statistics.infCount > 0 ? [`inf ${statistics.infCount}`] : [])
  ].join("  ")
  const head = `<text x="${size.left}" y="${top + 20}" class="title">${escape(title)}</text>
<text x="${size.left}" y="${top + 36}" class="facts">${escape(facts)}</text>`
  const histogram = statistics.histogram
  if (histogram === undefined) return head
  const [plotWidth, plotHeight] = [size.width - size.left - size.right, size.panel - size.top - size.bottom]
  const most = Math.max(1, ...histogram.counts)
  const step = plotWidth / histogram.counts.length
  const base = top + size.top + plotHeight
  const bars = histogram.counts.map((n, bin) => {
    const height = (n / most) * plotHeight
    const [from, to] = [histogram.edges[bin]!, histogram.edges[bin + 1]!]
    const tip = `${formatNumber(from)} to ${formatNumber(to)}: ${n}`
    return `<rect x="${(size.left + bin * step + 0.5).toFixed(2)}" y="${(base - height).toFixed(2)}" width="${Math.max(1, step - 1).toFixed(2)}" height="${height.toFixed(2)}" class="bar"><title>${escape(tip)}</title></rect>`
  })
  const label = (x: number, anchor: string, text: string) =>
    `<text x="${x}" y="${base + 16}" text-anchor="${anchor}" class="axis">${escape(text)}</text>`
  return `${head}
${bars.join("\n")}
<line x1="${size.left}" y1="${base}" x2="${size.width - size.right}" y2="${base}" class="line"/>
<text x="${size.left - 6}" y="${top + size.top + 10}" text-anchor="end" class="axis">${most}</text>
<text x="${size.left - 6}" y="${base}" text-anchor="end" class="axis">0</text>
${label(size.left, "start", formatNumber(histogram.edges[0]!))}
${label(size.width - size.right, "end", formatNumber(histogram.edges[histogram.edges.length - 1]!))}`
}

/** The SVG document. */
export const plotSvg = (items: ReadonlyArray<PlotItem>): string => {
  const height = Math.max(1, items.length) * size.panel
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${height}" viewBox="0 0 ${size.width} ${height}">
<style>
text { font-family: system-ui, sans-serif; fill: #1f2933 }
.title { font-size: 14px; font-weight: 600 } .facts { font-size: 12px; fill: #52606d } .axis { font-size: 11px; fill: #52606d }
.bar { fill: #3b6ea5 } .line { stroke: #9aa5b1; stroke-width: 1 }
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
${items.map(panel).join("\n")}
</svg>
`
}
