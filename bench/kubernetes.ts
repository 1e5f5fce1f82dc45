/**
 * `npm run bench:kubernetes`: a thousand Computes on a real kube-apiserver, beside the Python kubernetes client in the
 * same run. Applies, waits, gRPC connections, memory and sockets; every figure is of this machine, now.
 *
 * `npm run bench:kubernetes -- --computes 200 --python 60` for a smaller one.
 */
import { spawn } from "node:child_process"
import { readdirSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Fiber, References, type Scope, Stream } from "effect"
import { Compute, Endpoint, Kpu, KubeConfig } from "effect-kpu"
import { ComputeWatch } from "../src/services/ComputeWatch.ts"
import { KubeApiServer } from "../test/kit/KubeApiServer.ts"
import { missing, need } from "../test/kit/peers.ts"

const { values } = parseArgs({
  options: { computes: { type: "string", default: "1000" }, python: { type: "string", default: "300" } }
})
const count = Number(values.computes)
const pythonCount = Number(values.python)
/** As many requests at once as the client has connections. */
const concurrency = 32
/** The two clients apply in turn, so that what else the machine does meets both. */
const applyRounds = 5
const warmUps = 500

/** A child that answers lines of JSON with lines of JSON. */
const child = (command: string, args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] })),
      (process) => Effect.sync(() => process.kill())
    ),
    (process) => {
      const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]()
      return {
        tell: (value: unknown) => Effect.sync(() => void process.stdin.write(`${JSON.stringify(value)}\n`)),
        hear: Effect.promise(async () => {
          const line = await lines.next()
          if (line.done === true) throw new Error(`${command} ended`)
          return JSON.parse(line.value)
        })
      }
    }
  )

interface Snapshot {
  readonly rss: number
  readonly heap: number
  readonly sockets: number
}

const sockets = (): number => {
  try {
    return readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:")
      } catch {
        return false
      }
    }).length
  } catch {
    return Number.NaN
  }
}

const snapshot = Effect.sync((): Snapshot => {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  return { rss, heap: heapUsed, sockets: sockets() }
})

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`
const showSnapshot = (name: string, { heap, rss, sockets }: Snapshot) =>
  Console.log(
    `  ${name.padEnd(34)} resident ${mib(rss).padStart(8)}   heap ${mib(heap).padStart(8)}   sockets ${sockets}`
  )

/** Watches on Computes that the API server has open now, by its own metrics. */
const openWatches = Effect.gen(function* () {
  const server = yield* KubeApiServer
  const { body } = yield* server.request("GET", "/metrics")
  return String(body)
    .split("\n")
    .filter((line) => line.startsWith("apiserver_longrunning_requests{") && line.includes(`resource="computes"`))
    .filter((line) => line.includes(`verb="WATCH"`))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0)
})

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const started = performance.now()
    const value = yield* effect
    return [(performance.now() - started) / 1000, value] as const
  })

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

const isReady = (observation: { readonly _tag: string; readonly resource?: Compute.Resource }) =>
  observation.resource?.status?.conditions?.some(({ status, type }) => type === "Ready" && status === "True") === true

const program = Effect.gen(function* () {
  const absent = missing("kubernetes", "pytorch")
  if (absent !== undefined) return yield* Effect.die(new Error(absent))
  const server = yield* KubeApiServer
  const namespace = yield* server.namespace
  const theirs = yield* server.namespace
  const nobodys = yield* server.namespace
  const names = Array.from({ length: count }, (_, i) => `compute-${i}`)

  const operator = yield* child(process.execPath, [
    ...process.execArgv.filter((argument) => argument.startsWith("--conditions")),
    join(import.meta.dirname, "kubernetes-operator.ts")
  ])
  yield* operator.tell({ url: server.url, token: server.token, ca: server.serverAuthority.cert })
  const { port } = (yield* operator.hear) as { readonly port: number }
  const python = yield* child(need("pytorch").python, [join(import.meta.dirname, "python_client.py")])
  yield* python.tell({ kubeconfig: server.kubeconfig, namespace: theirs })

  const pythonApply = (names: ReadonlyArray<string>) =>
    Effect.andThen(
      python.tell({ do: "apply", names }),
      Effect.map(python.hear, ({ seconds }: { readonly seconds: number }) => seconds)
    )
  // connections are opened and code is compiled before anything is counted
  const warmUp = Array.from({ length: warmUps }, (_, i) => `warm-up-${i}`)
  yield* pythonApply(warmUp)
  const bareApply = (names: ReadonlyArray<string>) =>
    Effect.andThen(
      operator.tell({ do: "apply", namespace: nobodys, names }),
      Effect.map(operator.hear, ({ seconds }: { readonly seconds: number }) => seconds)
    )
  yield* bareApply(warmUp)

  yield* Console.log(`${count} Computes here, ${pythonCount} with the Python kubernetes client; one kube-apiserver\n`)
  const before = yield* snapshot
  const client = Kpu.layerWith({
    config: KubeConfig.layerOptions({ server: server.url, caData: server.caData, token: server.token }),
    namespace,
    endpoint: Endpoint.layerOverride("127.0.0.1", port)
  })

  yield* Effect.gen(function* () {
    const watch = yield* ComputeWatch
    yield* Effect.forEach(warmUp, (name) => Effect.scoped(Compute.apply({ name, image: "example/server" })), {
      concurrency
    })

    const pythonNames = names.slice(0, pythonCount)
    const handles: Array<Compute.Handle> = []
    const rounds: Array<{ readonly ours: number; readonly python: number; readonly bare: number }> = []
    for (let round = 0; round < applyRounds; round++) {
      const part = <A>(all: ReadonlyArray<A>) =>
        all.slice((all.length * round) / applyRounds, (all.length * (round + 1)) / applyRounds)
      const pythonSeconds = yield* pythonApply(part(pythonNames))
      const bareSeconds = yield* bareApply(part(names))
      const [seconds, applied] = yield* timed(
        Effect.forEach(part(names), (name) => Compute.apply({ name, image: "example/server" }), { concurrency })
      )
      handles.push(...applied)
      rounds.push({
        ours: applied.length / seconds,
        python: part(pythonNames).length / pythonSeconds,
        bare: applied.length / bareSeconds
      })
    }
    const rates = {
      ours: median(rounds.map(({ ours }) => ours)),
      python: median(rounds.map(({ python }) => python)),
      bare: median(rounds.map(({ bare }) => bare))
    }
    const row = (name: string, rate: number) =>
      Console.log(`  ${name.padEnd(28)}${rate.toFixed(0).padStart(5)}/s   ${(rate / rates.python).toFixed(1)} times`)
    yield* Console.log(
      `apply, median of ${applyRounds} rounds taken in turn, after ${warmUps} of each that do not count`
    )
    yield* row("Python, one by one", rates.python)
    yield* row(`effect-kpu, ${concurrency} at once`, rates.ours)
    yield* row(`bare requests, ${concurrency} at once`, rates.bare)
    yield* Console.log("")

    const verdicts: Array<number> = []
    const waits = yield* Effect.forEach(handles, (handle, i) =>
      Effect.gen(function* () {
        const { metadata } = yield* handle.resource
        yield* watch
          .observe(metadata, { since: metadata.resourceVersion })
          .pipe(Stream.filter(isReady), Stream.take(1), Stream.runDrain)
        verdicts[i] = Date.now()
      }).pipe(Effect.forkScoped)
    )
    yield* Effect.sleep("1 second")
    const waiting = yield* snapshot
    const watches = yield* openWatches
    yield* operator.tell({ do: "ready", namespace, names })
    const { changed } = (yield* operator.hear) as { readonly changed: ReadonlyArray<number> }
    yield* Effect.forEach(waits, Fiber.join)
    const lags = verdicts.map((at, i) => Math.max(0, at - changed[i]!)).sort((a, b) => a - b)
    const after = Math.max(...verdicts) - Math.max(...changed)

    yield* python.tell({ do: "wait", names: pythonNames })
    yield* python.hear
    yield* Effect.sleep("1 second")
    yield* operator.tell({ do: "ready", namespace: theirs, names: pythonNames })
    const theirChanges = (yield* operator.hear) as { readonly changed: ReadonlyArray<number> }
    const theirVerdicts = (yield* python.hear) as { readonly verdicts: ReadonlyArray<number> }
    const theirLag = Math.max(...theirVerdicts.verdicts) - Math.max(...theirChanges.changed)
    yield* Console.log(`wait until Ready`)
    yield* Console.log(
      `  Python      ${pythonCount} waits: the last verdict ${(theirLag / 1000).toFixed(2)} s after the last change`
    )
    yield* Console.log(
      `  effect-kpu  ${count} waits on ${watches} watch: the last verdict ${(after / 1000).toFixed(3)} s after the last change; median ${lags[Math.floor(lags.length / 2)]} ms, slowest ${lags.at(-1)} ms after its own\n`
    )

    const [dialled] = yield* timed(
      Effect.forEach(handles, (handle) => handle.ready({ timeout: "2 minutes" }), { concurrency: "unbounded" })
    )
    const connected = yield* snapshot
    yield* Console.log(
      `ready(), the resources being Ready: ${count} gRPC connections to one server in ${dialled.toFixed(2)} s\n`
    )
    yield* Console.log(`memory and sockets of this process`)
    yield* showSnapshot("before", before)
    yield* showSnapshot(`${count} waiting`, waiting)
    yield* showSnapshot(`${count} connected`, connected)
    return undefined
  }).pipe(Effect.scoped, Effect.provide(client))

  yield* Effect.sleep("1 second")
  yield* showSnapshot("after, the client's layer closed", yield* snapshot)
  yield* Console.log(`  watches on Computes that the API server has open now: ${yield* openWatches}`)
})

const main: Effect.Effect<void, unknown, Scope.Scope> = program.pipe(
  Effect.provide(KubeApiServer.layerWith({})),
  // retries show as warnings; the progress of a thousand Computes would hide the table
  Effect.provideService(References.MinimumLogLevel, "Warn")
)

main.pipe(Effect.scoped, NodeRuntime.runMain)
