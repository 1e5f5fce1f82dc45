/**
 * `npm run bench:memory`: 10 GiB through a server and back, with a consumer that takes 1 ms for each MiB. Resident memory
 * must stay within 250 MB of what it was at the start, on the default transport. Prints the curve, writes it as a plot, and
 * fails when it does not hold. `-- --mib 1024` makes it shorter, `-- --tensor-mib 16` the tensors smaller.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as GoServer from "../test/kit/GoServer.ts"
import { root } from "../test/kit/peers.ts"
import { run } from "../test/kit/process.ts"
import { build, program } from "./clients.ts"
import { machine } from "./machine.ts"
import { lines } from "./plot.ts"

const { values: flags } = parseArgs({
  options: {
    mib: { type: "string", default: "10240" },
    "tensor-mib": { type: "string", multiple: true, default: ["1", "64"] },
    transport: { type: "string", multiple: true, default: ["http2", "grpc-js"] }
  }
})

/** The bar is for the default transport; the other is told beside it. */
const ourTransport = "http2"

/** Megabytes, as the bar is given. */
const MB = 1e6
const bar = 250

interface Exchange {
  readonly seconds: number
  readonly received: number
  readonly startBytes: number
  readonly peakBytes: number
  readonly curve: ReadonlyArray<readonly [number, number]>
}

/** The highest of each of so many stretches of the curve, as one line of blocks. */
const sketch = (curve: Exchange["curve"], most: number, width = 72): string => {
  const blocks = "▁▂▃▄▅▆▇█"
  const end = curve[curve.length - 1]![0]
  const peaks = new Array<number>(width).fill(0)
  for (const [seconds, value] of curve) {
    const at = Math.min(width - 1, Math.floor((seconds / end) * width))
    peaks[at] = Math.max(peaks[at]!, value)
  }
  return peaks.map((peak) => blocks[Math.min(7, Math.max(0, Math.floor((peak / most) * 8)))]).join("")
}

const main = Effect.gen(function* () {
  const server = yield* GoServer.make()
  const plots: Array<{ readonly title: string; readonly points: Exchange["curve"]; readonly dashed: boolean }> = []
  const rows: Array<string> = []
  let held = true
  for (const tensorMiB of flags["tensor-mib"]) {
    for (const transport of flags.transport) {
      const { stdout } = yield* run(process.execPath, [
        program("memory/exchange.js"),
        transport,
        String(server.port),
        tensorMiB,
        flags.mib,
        "1"
      ])
      const { curve, peakBytes, received, seconds, startBytes } = JSON.parse(stdout) as Exchange
      const over = (peakBytes - startBytes) / MB
      const points = curve.map(([at, bytes]) => [at, (bytes - startBytes) / MB] as const)
      const rate = received / 2 ** 20 / seconds
      const title = `${transport}, tensors of ${tensorMiB} MiB`
      if (over > bar && transport === ourTransport) held = false
      plots.push({ title, points, dashed: transport !== "http2" })
      console.log(
        `${title}: ${(received / 2 ** 30).toFixed(1)} GiB in ${seconds.toFixed(0)} s (${rate.toFixed(0)} MiB/s), ` +
          `start ${(startBytes / MB).toFixed(0)} MB, peak ${over.toFixed(0)} MB above it (bar: ${bar})`
      )
      console.log(`  ${sketch(points, bar)}  each █: ${bar} MB above the start`)
      rows.push(
        `| ${title} | ${(received / 2 ** 30).toFixed(1)} | ${rate.toFixed(0)} | ${(startBytes / MB).toFixed(0)} | ${over.toFixed(0)} | ${over <= bar ? "yes" : "no"} |`
      )
    }
  }
  const folder = join(root, "bench/results")
  mkdirSync(folder, { recursive: true })
  const panels = flags["tensor-mib"].map((size) => ({
    title: `tensors of ${size} MiB`,
    lines: plots
      .filter(({ title }) => title.endsWith(`of ${size} MiB`))
      .map(({ dashed, points, title }) => ({
        label: title.split(",")[0]!,
        kind: dashed ? "JavaScript" : "ours",
        points: points.filter((_, index) => index % Math.ceil(points.length / 300) === 0)
      }))
  }))
  const end = Math.max(...plots.flatMap(({ points }) => points.map(([at]) => at)))
  const svg = lines(`${flags.mib} MiB there and back, a consumer of 1 ms a MiB`, panels, {
    xUnit: "seconds",
    yUnit: "MB above the start",
    xTicks: [0, 0.25, 0.5, 0.75, 1].map((part) => [part * end, (part * end).toFixed(0)] as const)
  })
  writeFileSync(join(folder, "memory.svg"), svg)
  writeFileSync(
    join(folder, "memory.md"),
    [
      "# Memory of a long exchange",
      "",
      `\`npm run bench:memory${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}\`, ${machine()}. The Go server echoes; the consumer takes 1 ms for each MiB. Resident memory at`,
      `its peak, over what it was after connecting and making the tensor; the bar is ${bar} MB.`,
      "",
      "| transport and tensors | GiB | MiB/s | start MB | peak above it, MB | within the bar |",
      "|---|---|---|---|---|---|",
      ...rows,
      "",
      "![resident memory above the start, over time](memory.svg)",
      ""
    ].join("\n")
  )
  return held
}).pipe(Effect.scoped)

build()
if (!(await Effect.runPromise(main))) {
  console.log(`Memory rose more than ${bar} MB above the start.`)
  process.exitCode = 1
}
