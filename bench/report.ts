/** Tables and plots of what was measured. */
import type { Bar } from "./bars.ts"
import type { Mode, Task } from "./clients/Client.ts"
import { cpuPerGiB, type Run, type Spread, spreadOf, throughput } from "./measurement.ts"

/** All runs of one kind of task. */
export interface Group {
  readonly title: string
  readonly clients: ReadonlyArray<string>
  readonly task: Omit<Task, "host" | "port">
  /** By `mode client`. */
  readonly runs: ReadonlyMap<string, ReadonlyArray<Run>>
}

const modes: ReadonlyArray<Mode> = ["send", "receive", "stream"]
const titles = { send: "send", receive: "receive", stream: "both ways" }

const spread = (group: Group, mode: Mode, client: string, of: (run: Run, task: Task) => number): Spread | undefined => {
  const runs = group.runs.get(`${mode} ${client}`)
  const task = { ...group.task, host: "", port: 0 }
  return runs === undefined ? undefined : spreadOf(runs.map((run) => of(run, task)))
}

const digits = (value: number): string => (value >= 10 ? value.toFixed(0) : value.toFixed(2))
const format = (value: Spread | undefined, show = digits): string =>
  value === undefined ? "" : `${show(value.median)} (${show(value.least)}–${show(value.most)})`

/** Small tensors are told in tensors a second. */
const perSecond = (run: Run, task: Task): number => task.count / run.seconds

/** A group as a table. */
export const markdown = (group: Group): string => {
  const small = group.task.bytes < 65_536
  const rate = small ? perSecond : throughput
  const unit = small ? "tensors/s" : "MiB/s"
  const used = modes.filter((mode) => group.clients.some((client) => group.runs.has(`${mode} ${client}`)))
  const lines = [
    `\n## ${group.title[0]!.toUpperCase()}${group.title.slice(1)}\n`,
    `${group.task.count} tensors a run.\n`,
    `| client | ${used.map((mode) => `${titles[mode]}, ${unit} | CPU s/GiB`).join(" | ")} |`,
    `|---|${used.map(() => "---:|---:").join("|")}|`,
    ...group.clients.map((client) => {
      const cells = used.flatMap((mode) => [
        format(spread(group, mode, client, rate)),
        small ? "" : format(spread(group, mode, client, cpuPerGiB), (value) => value.toFixed(2))
      ])
      return `| ${client} | ${cells.join(" | ")} |`
    })
  ]
  return lines.join("\n")
}

/** The ratios, each beside its bar. One has failed when even the spread does not reach the bar. */
export const judge = (
  group: Group | undefined,
  bars: ReadonlyArray<Bar>
): { readonly text: string; readonly failed: boolean } => {
  if (group === undefined) return { text: "", failed: false }
  let failed = false
  const lines = ["\n## Ratios\n", "| | of | against | ratio | bar | |", "|---|---|---|---:|---:|---|"]
  for (const bar of bars) {
    const of = bar.of === "throughput" ? throughput : cpuPerGiB
    const mine = spread(group, bar.mode, bar.client, of)
    const theirs = spread(group, bar.mode, bar.against, of)
    if (mine === undefined || theirs === undefined) continue
    const ratio = mine.median / theirs.median
    const reached = bar.least === undefined ? ratio <= bar.most! : ratio >= bar.least
    const possible =
      bar.least === undefined ? mine.least / theirs.most <= bar.most! : mine.most / theirs.least >= bar.least
    const word = reached ? "reached" : possible ? "within the spread" : "below"
    if (!reached && !possible && bar.goal !== true) failed = true
    const limit = bar.least === undefined ? `≤ ${bar.most}` : `≥ ${bar.least}`
    lines.push(
      `| ${titles[bar.mode]}, ${bar.of} | ${bar.client} | ${bar.against} | ${ratio.toFixed(2)} | ${limit} | ${bar.goal === true ? "goal: " : ""}${word} |`
    )
  }
  return { text: lines.join("\n"), failed }
}

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** Bars of the medians of one mode, with the spread as a line, longest first. */
export const plot = (group: Group, mode: Mode): string => {
  const rows = group.clients
    .flatMap((client) => {
      const value = spread(group, mode, client, throughput)
      return value === undefined ? [] : [{ client, value }]
    })
    .sort((a, b) => b.value.median - a.value.median)
  const most = Math.max(...rows.map(({ value }) => value.most))
  const [left, width, height] = [220, 460, 26]
  const scale = (value: number) => left + (value / most) * width
  const bodies = rows.map(({ client, value }, index) => {
    const y = 50 + index * height
    const fill = client.startsWith("effect-kpu") ? "#2563eb" : "#94a3b8"
    return [
      `<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escape(client)}</text>`,
      `<rect x="${left}" y="${y}" width="${(scale(value.median) - left).toFixed(1)}" height="18" fill="${fill}"/>`,
      `<line x1="${scale(value.least).toFixed(1)}" x2="${scale(value.most).toFixed(1)}" y1="${y + 9}" y2="${y + 9}" stroke="#0f172a"/>`,
      `<text x="${(scale(value.most) + 6).toFixed(1)}" y="${y + 13}">${value.median.toFixed(0)}</text>`
    ].join("")
  })
  const total = 60 + rows.length * height
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 60}" height="${total}" font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/><text x="12" y="26" font-size="15">${escape(`${titles[mode]}, MiB/s: ${group.title}`)}</text>${bodies.join("")}</svg>\n`
}
