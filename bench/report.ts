/** The results as Markdown, and the plots that go with them. */
import { type Bar, barsOf, callMicros, finder, verdict } from "./bars.ts"
import { chunkSizes, directions, sizes } from "./cases.ts"
import { type ClientId, clients, ours } from "./clients.ts"
import { type Case, costs, GiB, type Measurement, MiB, throughputs } from "./harness.ts"
import { bars, lines } from "./plot.ts"
import { beside, type ImportCost, type Startup } from "./startup.ts"
import { quantile, type Summary, summarize } from "./stats.ts"

export interface Results {
  readonly command: string
  readonly machine: string
  readonly versions: string
  /** Load averages before and after. */
  readonly load: readonly [number, number]
  readonly cases: ReadonlyArray<Case>
  readonly measurements: ReadonlyArray<Measurement>
  readonly startup: Startup | undefined
}

const digits = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(2)

const show = ({ high, low, median }: Summary): string => `${digits(median)} (${digits(low)}–${digits(high)})`

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => [
  `| ${head.join(" | ")} |`,
  `|${head.map(() => "---").join("|")}|`,
  ...rows.map((row) => `| ${row.join(" | ")} |`)
]

const clientsOf = (measurements: ReadonlyArray<Measurement>): ReadonlyArray<ClientId> =>
  (Object.keys(clients) as ReadonlyArray<ClientId>).filter((id) => measurements.some(({ client }) => client === id))

/** The bars of startup and memory, which need no peer's throughput. */
const otherBars = (results: Results): ReadonlyArray<Bar> => {
  const found: Array<Bar> = []
  const add = (title: string, value: number, bar: number, unit: string, spread = 0) =>
    found.push({
      title,
      value: { median: value, low: value - spread, high: value + spread },
      bar,
      atMost: true,
      goal: false,
      unit
    })
  const { startup } = results
  if (startup !== undefined) {
    const costs = beside(startup)
    const spread = (startup.package.millis.high - startup.package.millis.low) / 2
    add("import of the package, beside the Effect modules", costs.millis, 150, " ms", spread)
    add("its memory, beside the Effect modules", (costs.rssMiB * MiB) / 1e6, 40, " MB")
    if (startup.firstPython !== undefined) {
      const { first, firstPython } = startup
      add(
        "process start to first tensor: part of Python's",
        first.median / firstPython.median,
        1 / 3,
        "×",
        (first.high - first.low) / 2 / firstPython.median
      )
    }
  }
  const find = finder(results.measurements)
  for (const direction of ["receive", "send"]) {
    const measured = find(`1 GiB ${direction}`, ours)
    if (measured === undefined) continue
    const over = measured.rounds.map(
      ({ peakRssBytes, startRssBytes }) =>
        (direction === "receive" ? peakRssBytes - startRssBytes - GiB : peakRssBytes - startRssBytes) / MiB
    )
    const base = quantile(
      measured.rounds.map(({ startRssBytes }) => startRssBytes / MiB),
      0.5
    )
    add(
      `1 GiB ${direction}: peak above ${direction === "receive" ? `the process (${base.toFixed(0)} MiB) and the tensor` : "the process with the tensor"}`,
      quantile(over, 0.5),
      100,
      " MiB"
    )
  }
  return found
}

/** All bars, in the order that they are told in. */
export const allBars = (results: Results): ReadonlyArray<Bar> => [
  ...barsOf(finder(results.measurements)),
  ...otherBars(results)
]

const barRow = (bar: Bar): ReadonlyArray<string> => [
  bar.title,
  `${show(bar.value)}${bar.unit}`,
  `${bar.atMost ? "≤" : "≥"} ${digits(bar.bar)}${bar.unit}`,
  bar.goal ? (verdict(bar) === "reached" ? "goal reached" : "goal") : verdict(bar)
]

/** The bars as lines for a terminal. */
export const barLines = (bars: ReadonlyArray<Bar>): ReadonlyArray<string> => {
  const rows = bars.map(barRow)
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
}

/** Throughput and cost of one case, a line for each client. */
export const caseLines = (each: Case, measurements: ReadonlyArray<Measurement>): ReadonlyArray<string> =>
  measurements.map((measurement) => {
    const name = `  ${clients[measurement.client].title.padEnd(42)}`
    if (each.direction === "fairness") return `${name}${fairnessOf(measurement)}`
    if (each.direction === "roundtrip") return `${name}${show(summarize(callMicros(measurement)))} µs`
    const speed = show(summarize(throughputs(measurement))).padStart(22)
    return `${name}${speed} MiB/s · ${digits(quantile(costs(measurement), 0.5))} CPU s/GiB`
  })

const fairnessOf = ({ rounds }: Measurement): string => {
  const all = rounds.map(({ samples }) => samples!)
  const jain = all.map((samples) => {
    const sum = samples.reduce((total, each) => total + each, 0)
    return sum ** 2 / (samples.length * samples.reduce((total, each) => total + each ** 2, 0))
  })
  const least = Math.min(...all.flat())
  const most = Math.max(...all.flat())
  const each = (2 * all[0]!.reduce((total, count) => total + count, 0)) / all[0]!.length
  const speeds = rounds.map(({ bytes, seconds }) => bytes / MiB / seconds)
  return `when half of all tensors were here, a call had from ${least} to ${most} of its ${each}; Jain's index ${quantile(jain, 0.5).toFixed(3)}; ${quantile(speeds, 0.5).toFixed(0)} MiB/s together`
}

const threeDirections = (
  results: Results,
  nameOf: (direction: string) => string,
  cell: (measurement: Measurement) => string
): ReadonlyArray<string> => {
  const find = finder(results.measurements)
  const names = directions.map(nameOf)
  const involved = clientsOf(results.measurements.filter((each) => names.includes(each.case)))
  return table(
    ["client", ...directions],
    involved.map((id) => [
      clients[id].title,
      ...names.map((name) => {
        const measurement = find(name, id)
        return measurement === undefined || measurement.rounds.length === 0 ? "" : cell(measurement)
      })
    ])
  )
}

const speedAndCost = (measurement: Measurement): string =>
  `${show(summarize(throughputs(measurement)))} · ${digits(quantile(costs(measurement), 0.5))}`

/** Of tensors so small that their bytes tell nothing. */
const rateAndCost = (measurement: Measurement, bytesEach: number): string => {
  const rates = measurement.rounds.map(({ bytes, seconds }) => bytes / bytesEach / seconds)
  const micros = measurement.rounds.map(({ bytes, cpuSeconds }) => (1e6 * cpuSeconds) / (bytes / bytesEach))
  return `${show(summarize(rates))} · ${digits(quantile(micros, 0.5))}`
}

const importRow = (title: string, cost: ImportCost | undefined): ReadonlyArray<ReadonlyArray<string>> =>
  cost === undefined ? [] : [[title, show(cost.millis), show(cost.cpuMillis), show(cost.rssMiB), show(cost.heldMiB)]]

/** The plots: file name and content. */
export const plotsOf = (results: Results): ReadonlyArray<readonly [file: string, svg: string]> => {
  const find = finder(results.measurements)
  const plots: Array<readonly [string, string]> = []
  const panels = directions.flatMap((direction) => {
    const name = `64 MiB ${direction}`
    const entries = clientsOf(results.measurements).flatMap((id) => {
      const measurement = find(name, id)
      if (measurement === undefined) return []
      const { high, low, median } = summarize(throughputs(measurement))
      const note = `${digits(quantile(costs(measurement), 0.5))} CPU s/GiB`
      return [{ label: clients[id].title, kind: clients[id].kind, value: median, low, high, note }]
    })
    return entries.length === 0 ? [] : [{ title: direction, entries }]
  })
  if (panels.length > 0) {
    plots.push([
      "throughput.svg",
      bars("Tensors of 64 MiB in chunks of 1 MiB, loopback", "MiB/s: median and quartiles of the rounds", panels)
    ])
  }
  const compared: ReadonlyArray<ClientId> = ["ours-http2", "ours-grpc-js", "grpc-js", "python", "go"]
  const line = (points: ReadonlyArray<readonly [string, number]>) =>
    directions.map((direction) => ({
      title: direction,
      lines: compared.map((id) => ({
        label: clients[id].title,
        kind: clients[id].kind,
        dashed: id === "ours-grpc-js",
        points: points.flatMap(([name, at]) => {
          const measurement = find(`${name} ${direction}`, id)
          return measurement === undefined ? [] : [[at, quantile(throughputs(measurement), 0.5)] as const]
        })
      }))
    }))
  const bySize = [...sizes.map(([name, bytes]) => [name, bytes] as const), ["64 MiB", 64 * MiB] as const].sort(
    (a, b) => a[1] - b[1]
  )
  if (find("1 GiB send", ours) !== undefined) {
    plots.push([
      "sizes.svg",
      lines("By the size of a tensor", line(bySize), {
        xUnit: "bytes of a tensor",
        yUnit: "MiB/s",
        xTicks: bySize.map(([name, bytes]) => [bytes, name] as const),
        logX: true,
        logY: true
      })
    ])
  }
  const byChunk = [
    ...chunkSizes.map(([name, bytes]) => [`chunks of ${name}`, bytes] as const),
    ["64 MiB", MiB] as const
  ].sort((a, b) => a[1] - b[1])
  if (find("chunks of 3 MiB send", ours) !== undefined) {
    plots.push([
      "chunks.svg",
      lines("By the size of a chunk, tensors of 64 MiB", line(byChunk), {
        xUnit: "bytes of a chunk",
        yUnit: "MiB/s",
        xTicks: byChunk.map(
          ([, bytes]) => [bytes, bytes < MiB ? `${bytes / 1024} KiB` : `${bytes / MiB} MiB`] as const
        ),
        logX: true
      })
    ])
  }
  return plots
}

/** The page of results. */
export const pageOf = (results: Results): string => {
  const find = finder(results.measurements)
  const has = (name: string) => find(name, ours) !== undefined
  const out: Array<string> = [
    "# Measured side by side",
    "",
    `\`${results.command}\`, ${results.machine}. Load average ${results.load[0].toFixed(1)} before and ${results.load[1].toFixed(1)} after: above the`,
    "number of cores, something else was running too.",
    "",
    `${results.versions}.`,
    "",
    "Every client is a process of its own. All clients of a case run one after the other, round by round, in another order",
    "each round; a figure is the median of the rounds, with the quartiles in parentheses. Throughput counts the tensors'",
    "elements one way, in MiB/s; behind the dot stand processor seconds of the client's process for each GiB. The clients for",
    "tensors (effect-kpu, Python, Go) go from tensor to tensor: archive, pickle and CRC-32 included (effect-kpu and Python do",
    "not verify the CRC-32 of what they receive unless asked; Go does). The other JavaScript clients and the bare programs are",
    "handed a file ready made and give one back: less work. The server is in Go and looks at no tensor, unless said otherwise.",
    "",
    "## The bars",
    "",
    `Of effect-kpu on its default transport (${clients[ours].title.split(", ")[1]}); each ratio is to what its line names.`,
    "",
    ...table(["ratio", "measured", "bar", ""], allBars(results).map(barRow)),
    ""
  ]
  const section = (title: string, ...content: ReadonlyArray<string>) => out.push(`## ${title}`, "", ...content, "")
  if (has("64 MiB send")) {
    section(
      "Large tensors: 64 MiB in chunks of 1 MiB",
      ...threeDirections(results, (direction) => `64 MiB ${direction}`, speedAndCost),
      "",
      "![throughput of all clients](throughput.svg)"
    )
  }
  for (const [name, bytes] of sizes) {
    if (!has(`${name} send`)) continue
    const small = bytes < 2 ** 16
    section(
      `Tensors of ${name}`,
      ...(small ? ["Tensors a second, and processor microseconds for each.", ""] : []),
      ...threeDirections(
        results,
        (direction) => `${name} ${direction}`,
        small ? (measurement) => rateAndCost(measurement, bytes) : speedAndCost
      )
    )
  }
  if (has("1 GiB send")) {
    section(
      "By size",
      "![throughput by tensor size](sizes.svg)",
      "",
      "Peak of resident memory with one tensor of 1 GiB, in MiB: before the call (when sending, with the tensor) → at the peak.",
      "",
      ...threeDirections(
        results,
        (direction) => `1 GiB ${direction}`,
        ({ rounds }) => {
          if (rounds[0]!.peakRssBytes === 0) return "not told"
          const before = quantile(
            rounds.map(({ startRssBytes }) => startRssBytes / MiB),
            0.5
          )
          const peak = quantile(
            rounds.map(({ peakRssBytes }) => peakRssBytes / MiB),
            0.5
          )
          return `${before.toFixed(0)} → ${peak.toFixed(0)}`
        }
      )
    )
  }
  for (const [name] of chunkSizes) {
    if (!has(`chunks of ${name} send`)) continue
    section(
      `Chunks of ${name}`,
      ...threeDirections(results, (direction) => `chunks of ${name} ${direction}`, speedAndCost)
    )
  }
  if (has("chunks of 3 MiB send")) section("By chunk", "![throughput by chunk size](chunks.svg)")
  if (has("Python server send")) {
    section(
      "Against the Python and torch server, 64 MiB",
      "The server saves and loads each tensor with torch, and is what is waited for.",
      "",
      ...threeDirections(results, (direction) => `Python server ${direction}`, speedAndCost)
    )
  }
  if (has("10×10 round trip")) {
    const measured = clientsOf(results.measurements.filter((each) => each.case === "10×10 round trip"))
    section(
      "Small tensors: 10×10",
      "One call after the other, each with one tensor there and back, in microseconds: the median of the calls, over the rounds.",
      "",
      ...table(
        ["client", "round trip, µs"],
        measured.map((id) => [clients[id].title, show(summarize(callMicros(find("10×10 round trip", id)!)))])
      ),
      "",
      "Tensors a second on one stream, and processor microseconds for each:",
      "",
      ...threeDirections(
        results,
        (direction) => `10×10 ${direction}`,
        (measurement) => rateAndCost(measurement, 400)
      )
    )
  }
  if (has("100 calls at once")) {
    const measured = results.measurements.filter((each) => each.case === "100 calls at once")
    section(
      "100 calls on one connection",
      "All receive at once, 20 tensors of 1 MiB each. The counts are the least and the most of all rounds, Jain's index (1 where",
      "all calls have the same) the median round's. Whose data comes next is the server's choice: now and then grpc-go serves one",
      "call to its end, and the others evenly.",
      "",
      ...measured.map((each) => `- ${clients[each.client].title}: ${fairnessOf(each)}`)
    )
  }
  if (has("far away receive")) {
    section(
      "Far away: 10 ms each way",
      "Through a proxy that delays and has unlimited room. Receiving is bound by the client's window, sending by the server's (16 MiB).",
      "",
      ...threeDirections(results, (direction) => `far away ${direction}`, speedAndCost)
    )
  }
  const { startup } = results
  if (startup !== undefined) {
    section(
      "Start-up",
      `Importing, in a process of its own, over what bare Node or Python has. effect-kpu asks for ${startup.effectModules} Effect modules.`,
      "",
      ...table(
        ["what", "ms", "CPU ms", "MiB resident", "MiB after a collection"],
        [
          ...importRow("the Effect modules that effect-kpu imports", startup.effect),
          ...importRow('import "effect-kpu"', startup.package),
          ...importRow("Python: torch, grpc, kubernetes", startup.python)
        ]
      ),
      "",
      "From the start of the process to the first tensor sent, to a Compute that serves on the embedded cluster, in milliseconds:",
      "",
      ...table(
        ["client", "ms"],
        [
          ["effect-kpu", show(startup.first)],
          ...(startup.firstPython === undefined ? [] : [["Python", show(startup.firstPython)]])
        ]
      )
    )
  }
  return out.join("\n")
}
