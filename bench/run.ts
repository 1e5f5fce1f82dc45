/**
 * `npm run bench`: every client against a server that is not the bottleneck, interleaved, in several rounds. Writes
 * tables and plots to `bench/results/`. `--quick` runs the large tensors alone, in a few rounds, prints the ratios, and
 * fails where one has fallen below its bar by more than the spread. Needs the Go and Python peers (`npm run peers`).
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as GoServer from "../test/kit/GoServer.ts"
import * as PythonServer from "../test/kit/PythonServer.ts"
import { root } from "../test/kit/peers.ts"
import { start } from "../test/kit/process.ts"
import * as TcpProxy from "../test/kit/TcpProxy.ts"
import { bars } from "./bars.ts"
import type { Mode, Task } from "./clients/Client.ts"
import { type Run, run } from "./measurement.ts"
import { type Group, judge, markdown, plot } from "./report.ts"
import { measureSmall, measureStartUp } from "./small.ts"

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", multiple: true }
  }
})
const mebibyte = 2 ** 20
const modes: ReadonlyArray<Mode> = ["send", "receive", "stream"]
const rounds = Number(flags.rounds ?? (flags.quick ? 3 : 5))

const everyClient = [
  "effect-kpu http2",
  "effect-kpu http2 reused memory",
  "effect-kpu grpc-js",
  "grpc-js",
  "grpc-js tuned",
  "nice-grpc",
  "connect-node",
  "Python grpcio + torch",
  "Go grpc",
  "node:http2",
  "node:http2 reused memory",
  "TCP"
]

type Address = { readonly host: string; readonly port: number }

/** Rounds over all clients and modes: whatever else the machine does meets them all alike. */
const measureGroup = async (
  title: string,
  clients: ReadonlyArray<string>,
  task: Omit<Task, "host" | "port">,
  server: (client: string) => Address,
  options: { readonly rounds?: number; readonly modes?: ReadonlyArray<Mode>; readonly warmUp?: number } = {}
): Promise<Group> => {
  const runs = new Map<string, Array<Run>>()
  const total = options.rounds ?? rounds
  for (let round = 1; round <= total; round++) {
    for (const mode of options.modes ?? modes) {
      process.stderr.write(`${title}: round ${round} of ${total}, ${mode}\n`)
      for (const client of clients) {
        const measured = await run(client, mode, { ...task, ...server(client) }, options.warmUp ?? 1)
        if (measured === undefined) continue
        const key = `${mode} ${client}`
        const list = runs.get(key) ?? []
        list.push(measured)
        runs.set(key, list)
      }
    }
  }
  return { title, clients, task, runs }
}

const main = Effect.gen(function* () {
  const started = performance.now()
  const go = yield* GoServer.make()
  const peer = yield* start(process.execPath, [join(root, "bench/tcpPeer.ts")])
  const tcp = { host: "127.0.0.1", port: yield* peer.line((line) => (JSON.parse(line) as Address).port) }
  const toGo = (client: string): Address => (client === "TCP" ? tcp : go)
  const groups: Array<Group> = []
  const wanted = (name: string) => flags.only === undefined || flags.only.includes(name)
  const measure = (...args: Parameters<typeof measureGroup>) =>
    Effect.map(
      Effect.promise(() => measureGroup(...args)),
      (group) => {
        groups.push(group)
        return group
      }
    )

  const large = { bytes: 64 * mebibyte, count: flags.quick ? 4 : 8, chunkSize: mebibyte }
  const quickClients = everyClient.filter((client) => client !== "TCP" && client !== "effect-kpu grpc-js")
  if (wanted("large")) {
    yield* measure("64 MiB tensors in 1 MiB chunks, a Go server", flags.quick ? quickClients : everyClient, large, toGo)
  }

  let small = ""
  let startUp = ""
  if (!flags.quick) {
    const few = ["effect-kpu http2", "effect-kpu grpc-js", "grpc-js tuned", "Python grpcio + torch", "Go grpc"]
    const three = { rounds: Math.min(rounds, 3) }
    if (wanted("python")) {
      const python = yield* PythonServer.make({ quiet: true, save: false })
      yield* measure(
        "64 MiB tensors in 1 MiB chunks, the Python server with torch",
        few,
        { ...large, count: 4 },
        () => python,
        three
      )
    }
    for (const [name, bytes, count] of [
      ["40 bytes", 40, 5000],
      ["4 KiB", 4096, 5000],
      ["1 MiB", mebibyte, 256],
      ["1 GiB", 1024 * mebibyte, 1]
    ] as const) {
      if (wanted("sizes")) {
        yield* measure(`tensors of ${name}, a Go server`, few, { bytes, count, chunkSize: mebibyte }, toGo, three)
      }
    }
    for (const kibibytes of [64, 256, 1024, 3072]) {
      if (!wanted("chunks")) continue
      const server = yield* GoServer.make({ chunkSize: kibibytes * 1024 })
      yield* measure(
        `64 MiB tensors in chunks of ${kibibytes} KiB, a Go server`,
        ["effect-kpu http2", "grpc-js tuned"],
        { ...large, count: 4, chunkSize: kibibytes * 1024 },
        () => server,
        three
      )
    }
    if (wanted("far")) {
      const proxy = yield* TcpProxy.make(go, { delayMillis: 10 })
      yield* measure(
        "64 MiB tensors through 10 ms of delay each way, a Go server with a window of 16 MiB",
        ["effect-kpu http2", "effect-kpu grpc-js", "grpc-js", "connect-node"],
        { ...large, count: 1 },
        () => proxy,
        { rounds: 2, modes: ["send", "receive"], warmUp: 1 }
      )
    }
  }
  if (wanted("small")) small = yield* Effect.promise(() => measureSmall(go))
  if (!flags.quick && wanted("start-up")) startUp = yield* Effect.promise(() => measureStartUp())

  const verdict = judge(groups[0], bars)
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`
  const text = [
    `# Measurements\n\n\`npm run bench${flags.quick ? " -- --quick" : ""}\` on ${machine}; ${new Date().toISOString().slice(0, 10)}; ${rounds} rounds, ${Math.round((performance.now() - started) / 60_000)} minutes. Each figure is the median, with the least and the most in brackets.\n`,
    verdict.text,
    ...groups.map(markdown),
    small,
    startUp
  ].join("\n")
  process.stdout.write(`${text}\n`)
  if (flags.quick) {
    if (verdict.failed) process.exitCode = 1
    return
  }
  const folder = join(root, "bench/results")
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "README.md"), text)
  if (groups.length > 0) {
    for (const mode of modes) writeFileSync(join(folder, `${mode}.svg`), plot(groups[0]!, mode))
  }
})

await Effect.runPromise(Effect.scoped(main))
