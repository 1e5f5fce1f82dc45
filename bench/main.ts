/**
 * `npm run bench`: measures every client side by side and writes `bench/results/`. `-- --quick` runs what the bars need,
 * in under two minutes, writes nothing, and fails where a ratio is beyond its bar by more than the spread.
 * `-- --only TEXT` runs the cases whose name holds the text, and writes nothing.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import { missing, root } from "../test/kit/peers.ts"
import { run } from "../test/kit/process.ts"
import { verdict } from "./bars.ts"
import { fullCases, quickCases } from "./cases.ts"
import { build, clients } from "./clients.ts"
import { type Measurement, measure } from "./harness.ts"
import { load, machine, versionOf } from "./machine.ts"
import { allBars, barLines, caseLines, pageOf, plotsOf, type Results } from "./report.ts"
import { measureStartup } from "./startup.ts"

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    rounds: { type: "string" }
  }
})

const versions = Effect.gen(function* () {
  const packages = ["effect", "@grpc/grpc-js", "nice-grpc", "@connectrpc/connect-node"]
  const python = clients.python.command()
  const peers =
    python === undefined
      ? ""
      : (yield* run(python[0], [
          "-c",
          "import grpc, torch, sys; print(f'Python {sys.version.split()[0]}, grpcio {grpc.__version__}, torch {torch.__version__}')"
        ])).stdout.trim()
  return [...packages.map((name) => `${name} ${versionOf(root, name)}`), peers].filter((each) => each !== "").join(", ")
})

/** Writes the page, the plots and the numbers. */
const write = (results: Results): void => {
  const folder = join(root, "bench/results")
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "README.md"), pageOf(results))
  for (const [file, svg] of plotsOf(results)) writeFileSync(join(folder, file), svg)
  const measurements = results.measurements.map(({ rounds, ...each }) => ({
    ...each,
    // A round's samples are thousands of numbers that nobody reads again.
    rounds: rounds.map(({ samples: _, ...round }) => round)
  }))
  const data = { ...results, cases: undefined, measurements }
  writeFileSync(join(folder, "results.json"), `${JSON.stringify(data)}\n`)
}

const main = Effect.gen(function* () {
  const begun = performance.now()
  const before = load()
  const description = machine()
  const withoutPython = missing("pytorch")
  if (withoutPython !== undefined) console.log(`Without the Python client: ${withoutPython}`)
  const rounds = flags.rounds === undefined ? undefined : Number(flags.rounds)
  const cases = (flags.quick ? quickCases : fullCases)
    .filter(
      ({ name, server }) => name.includes(flags.only ?? "") && (withoutPython === undefined || server !== "python")
    )
    .map((each) => (rounds === undefined ? each : { ...each, rounds }))
  const told = yield* versions
  const startup = flags.only === undefined ? yield* measureStartup(flags.quick ? 3 : 5, !flags.quick) : undefined
  const resultsOf = (measurements: ReadonlyArray<Measurement>): Results => ({
    command: `npm run bench${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}`,
    machine: description,
    versions: told,
    load: [before, load()],
    cases,
    measurements,
    startup
  })
  const all: Array<Measurement> = []
  const measurements = yield* measure(cases, (each, measured) => {
    console.log([`${each.name}, ${each.rounds} rounds`, ...caseLines(each, measured)].join("\n"))
    all.push(...measured)
    // A long run that is cut short keeps what it has.
    if (!flags.quick && flags.only === undefined) write(resultsOf(all))
  })
  const bars = allBars(resultsOf(measurements))
  if (bars.length > 0) console.log(["", "The bars:", ...barLines(bars)].join("\n"))
  console.log(`${((performance.now() - begun) / 1000).toFixed(0)} s, load average ${load().toFixed(1)}`)
  return bars.filter((bar) => !bar.goal && verdict(bar) === "missed")
})

const absent = missing("kputensor")
if (absent !== undefined) {
  console.error(`Nothing can be measured: ${absent}`)
  process.exit(1)
}
build()
const missed = await Effect.runPromise(main)
if (flags.quick && missed.length > 0) {
  console.log(`Below the bar by more than the spread: ${missed.map(({ title }) => title).join("; ")}`)
  process.exitCode = 1
}
