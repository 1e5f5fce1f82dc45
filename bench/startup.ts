/** Start-up: what importing costs, and how long a process takes until its first tensor is sent. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { peers, root } from "../test/kit/peers.ts"
import { run, start } from "../test/kit/process.ts"
import { program } from "./clients.ts"
import { MiB } from "./harness.ts"
import { type Summary, summarize } from "./stats.ts"

export interface ImportCost {
  readonly millis: Summary
  /** Processor time, which a busy machine does not stretch. */
  readonly cpuMillis: Summary
  readonly rssMiB: Summary
  /** After a collection. */
  readonly heldMiB: Summary
}

export interface Startup {
  readonly effectModules: number
  /** The Effect modules that the package imports, with what they bring. */
  readonly effect: ImportCost
  readonly package: ImportCost
  readonly python: ImportCost | undefined
  /** Milliseconds from the start of the process to the first tensor sent. */
  readonly first: Summary
  readonly firstPython: Summary | undefined
}

interface Cost {
  readonly millis: number
  readonly cpuMillis: number
  readonly rssBytes: number
  readonly heldBytes: number
}

const costOf = (costs: ReadonlyArray<Cost>): ImportCost => ({
  millis: summarize(costs.map(({ millis }) => millis)),
  cpuMillis: summarize(costs.map(({ cpuMillis }) => cpuMillis)),
  rssMiB: summarize(costs.map(({ rssBytes }) => rssBytes / MiB)),
  heldMiB: summarize(costs.map(({ heldBytes }) => heldBytes / MiB))
})

/** Milliseconds and mebibytes that the package costs beside the Effect modules. */
export const beside = ({ effect, package: whole }: Startup) => ({
  millis: whole.millis.median - effect.millis.median,
  cpuMillis: whole.cpuMillis.median - effect.cpuMillis.median,
  rssMiB: whole.rssMiB.median - effect.rssMiB.median,
  heldMiB: whole.heldMiB.median - effect.heldMiB.median
})

/** Without `whole`, what Python's imports cost by themselves is left out: they take seconds. */
export const measureStartup = (rounds: number, whole: boolean): Effect.Effect<Startup> =>
  Effect.scoped(
    Effect.gen(function* () {
      const script = program("startup/import.js")
      const node = (...args: ReadonlyArray<string>) =>
        Effect.map(run(process.execPath, [script, ...args]), ({ stdout }) => JSON.parse(stdout))
      const modules = (yield* node("list")) as ReadonlyArray<string>

      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-bench-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const KUBECONFIG = join(folder, "kubeconfig")
      const cluster = yield* start(process.execPath, [program("startup/cluster.js"), KUBECONFIG])
      const gateway = yield* cluster.line((line) =>
        line.startsWith("{") ? (JSON.parse(line) as { readonly gateway?: string }).gateway : undefined
      )
      const timed = (command: string, args: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          const begun = performance.now()
          const client = yield* start(command, args, { env: { KUBECONFIG } })
          yield* client.line((line) => (line.includes('"sent"') ? true : undefined))
          const millis = performance.now() - begun
          yield* Effect.promise(() => client.exited)
          return millis
        })

      const python = peers.pytorch?.python
      const effect: Array<Cost> = []
      const packaged: Array<Cost> = []
      const pythons: Array<Cost> = []
      const first: Array<number> = []
      const firstPython: Array<number> = []
      for (let round = 0; round < rounds; round++) {
        effect.push(yield* node("effect", JSON.stringify(modules)))
        packaged.push(yield* node("package"))
        first.push(yield* timed(process.execPath, [program("startup/first.js"), gateway]))
        if (python === undefined) continue
        if (whole) pythons.push(JSON.parse((yield* run(python, [join(root, "bench/startup/import.py")])).stdout))
        firstPython.push(yield* timed(python, [join(root, "bench/startup/first.py"), gateway]))
      }
      return {
        effectModules: modules.length,
        effect: costOf(effect),
        package: costOf(packaged),
        python: pythons.length === 0 ? undefined : costOf(pythons),
        first: summarize(first),
        firstPython: firstPython.length === 0 ? undefined : summarize(firstPython)
      }
    })
  )
