/** Plots as SVG, small and without scripts: bars with the quartiles of the rounds, and lines over a scale. */

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

const colours: Record<string, string> = {
  ours: "#d9480f",
  JavaScript: "#5c7cfa",
  Python: "#2b8a3e",
  Go: "#1098ad",
  bare: "#868e96"
}

export const colourOf = (kind: string): string => colours[kind] ?? "#495057"

const text = (x: number, y: number, content: string, more = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${more}>${escape(content)}</text>`

const line = (x1: number, y1: number, x2: number, y2: number, stroke: string, more = ""): string =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}"${more}/>`

/** Grey that can be read on white: 8 to 1. */
const grey = "#495057"

const page = (width: number, height: number, title: string, units: string, body: ReadonlyArray<string>): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#212529" role="img" aria-label="${escape(title)}">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(16, 24, title, ' font-size="15" font-weight="600"'),
    text(16, 42, units, ` fill="${grey}"`),
    ...body,
    "</svg>",
    ""
  ].join("\n")

/** A scale's end and step, in round numbers. */
const scale = (most: number): { readonly end: number; readonly step: number } => {
  const rough = most / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough)!
  return { end: Math.ceil(most / step) * step, step }
}

export interface BarEntry {
  readonly label: string
  readonly kind: string
  readonly value: number
  readonly low: number
  readonly high: number
  /** Written behind the value. */
  readonly note?: string | undefined
}

export interface BarPanel {
  readonly title: string
  readonly entries: ReadonlyArray<BarEntry>
}

/** Horizontal bars, a panel under the other, on one scale. */
export const bars = (title: string, unit: string, panels: ReadonlyArray<BarPanel>): string => {
  const left = 280
  const width = 900
  const right = 130
  const row = 20
  const { end, step } = scale(
    Math.max(...panels.flatMap(({ entries }) => entries.map(({ high, value }) => Math.max(high, value))))
  )
  const x = (value: number) => left + ((width - left - right) * value) / end
  const body: Array<string> = []
  let y = 54
  for (const panel of panels) {
    body.push(text(16, y + 14, panel.title, ' font-weight="600"'))
    y += 24
    const top = y
    const bottom = y + row * panel.entries.length
    for (let tick = 0; tick <= end; tick += step) {
      body.push(line(x(tick), top, x(tick), bottom, "#dee2e6"))
      body.push(text(x(tick), bottom + 13, String(tick), ` text-anchor="middle" fill="${grey}" font-size="11"`))
    }
    for (const { high, kind, label, low, note, value } of panel.entries) {
      const middle = y + row / 2
      body.push(text(left - 8, middle + 4, label, ' text-anchor="end"'))
      body.push(
        `<rect x="${left}" y="${y + 4}" width="${(x(value) - left).toFixed(1)}" height="${row - 8}" fill="${colourOf(kind)}"/>`
      )
      body.push(line(x(low), middle, x(high), middle, "#212529"))
      for (const edge of [low, high]) body.push(line(x(edge), middle - 4, x(edge), middle + 4, "#212529"))
      body.push(
        text(
          Math.max(x(high), x(value)) + 6,
          middle + 4,
          `${value.toFixed(0)}${note === undefined ? "" : ` · ${note}`}`
        )
      )
      y += row
    }
    y += 26
  }
  return page(width, y, title, unit, body)
}

export interface LineEntry {
  readonly label: string
  readonly kind: string
  readonly dashed?: boolean | undefined
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

export interface LinePanel {
  readonly title: string
  readonly lines: ReadonlyArray<LineEntry>
}

export interface LineOptions {
  readonly xUnit: string
  readonly yUnit: string
  /** Where the marks of the horizontal scale stand, and what they say. */
  readonly xTicks: ReadonlyArray<readonly [x: number, label: string]>
  readonly logX?: boolean | undefined
  readonly logY?: boolean | undefined
}

/** Lines over a scale, panels side by side. */
export const lines = (title: string, panels: ReadonlyArray<LinePanel>, options: LineOptions): string => {
  const panelWidth = panels.length === 1 ? 720 : 360
  const height = 350
  const body: Array<string> = []
  const toX = options.logX === true ? Math.log10 : (value: number) => value
  const toY = options.logY === true ? Math.log10 : (value: number) => value
  const points = panels.flatMap((panel) => panel.lines.flatMap((entry) => entry.points))
  const xs = [...points.map(([x]) => x), ...options.xTicks.map(([x]) => x)].map(toX)
  const xLow = Math.min(...xs)
  const xHigh = Math.max(...xs)
  const ys = points.map(([, y]) => y)
  const linear = scale(Math.max(...ys))
  const yTicks: Array<number> = []
  if (options.logY === true) {
    const from = Math.floor(Math.log10(Math.min(...ys)))
    for (let power = from; power <= Math.ceil(Math.log10(Math.max(...ys))); power++) yTicks.push(10 ** power)
  } else for (let tick = 0; tick <= linear.end; tick += linear.step) yTicks.push(tick)
  const yLow = toY(yTicks[0]!)
  const yHigh = toY(yTicks[yTicks.length - 1]!)
  panels.forEach((panel, index) => {
    const left = 16 + 50 + index * panelWidth
    const right = left + panelWidth - 74
    const top = 80
    const bottom = height - 50
    const x = (value: number) => left + ((right - left) * (toX(value) - xLow)) / (xHigh - xLow)
    const y = (value: number) => bottom - ((bottom - top) * (toY(value) - yLow)) / (yHigh - yLow)
    body.push(text(left, 68, panel.title, ' font-weight="600"'))
    for (const tick of yTicks) {
      body.push(line(left, y(tick), right, y(tick), "#dee2e6"))
      body.push(text(left - 6, y(tick) + 4, String(tick), ` text-anchor="end" fill="${grey}" font-size="11"`))
    }
    for (const [tick, label] of options.xTicks) {
      body.push(text(x(tick), bottom + 16, label, ` text-anchor="middle" fill="${grey}" font-size="11"`))
    }
    for (const { dashed, kind, points } of panel.lines) {
      const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ")
      const dash = dashed === true ? ' stroke-dasharray="5 3"' : ""
      body.push(`<polyline points="${path}" fill="none" stroke="${colourOf(kind)}" stroke-width="2"${dash}/>`)
    }
  })
  // One legend for all panels, and the units.
  let at = 66
  for (const { dashed, kind, label } of panels[0]!.lines) {
    const dash = dashed === true ? ' stroke-dasharray="5 3"' : ""
    body.push(line(at, height - 14, at + 22, height - 14, colourOf(kind), ` stroke-width="2"${dash}`))
    body.push(text(at + 27, height - 10, label))
    at += 40 + 6.6 * label.length
  }
  const width = Math.max(panels.length * panelWidth + 20, at + 16)
  return page(width, height, title, `${options.yUnit}, by ${options.xUnit}`, body)
}
