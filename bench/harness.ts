/**
 * Runs clients against servers: each client is a child process that stays for the whole run, and does each job of a case
 * once a round, the clients one after the other, in another order each round. So that what disturbs the machine disturbs
 * all of them alike.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as GoServer from "../test/kit/GoServer.ts"
import * as PythonServer from "../test/kit/PythonServer.ts"
import { type Running, run, start } from "../test/kit/process.ts"
import type { Direction, Job, Outcome } from "./clients/protocol.ts"
import { type ClientId, clients, program } from "./clients.ts"

export const MiB = 2 ** 20
export const GiB = 2 ** 30

/** One thing to measure, of several clients. */
export interface Case {
  /** Unique among the cases. */
  readonly name: string
  readonly server: "go" | "python" | "far"
  readonly direction: Direction
  readonly elements: number
  readonly count: number
  readonly chunkSize: number
  readonly clients: ReadonlyArray<ClientId>
  readonly rounds: number
  /** Clients too slow for the whole count. */
  readonly counts?: Partial<Record<ClientId, number>> | undefined
  /** Processes of its own, one at a time: for tensors so large that not all clients can hold one at once. */
  readonly apart?: boolean | undefined
}

/** What a client did in the rounds of a case. */
export interface Measurement {
  readonly case: string
  readonly client: ClientId
  readonly rounds: ReadonlyArray<Outcome>
}

/** MiB a second of each round. */
export const throughputs = ({ rounds }: Measurement): ReadonlyArray<number> =>
  rounds.map(({ bytes, seconds }) => bytes / MiB / seconds)

/** Processor seconds per GiB of each round. */
export const costs = ({ rounds }: Measurement): ReadonlyArray<number> =>
  rounds.map(({ bytes, cpuSeconds }) => cpuSeconds / (bytes / GiB))

type Ask = (job: Job) => Effect.Effect<Outcome>

/** A client that answers jobs on its standard output. */
const conversation = (running: Running): Ask => {
  let answered = 0
  return (job) => {
    running.write(`${JSON.stringify(job)}\n`)
    return running.line((line) => JSON.parse(line) as Outcome, answered++)
  }
}

/** Go's client takes its job as flags, and is a process for each: it has nothing to warm but its connection. */
const goClient =
  (command: string, args: ReadonlyArray<string>): Ask =>
  (job) =>
    Effect.map(
      run(command, [
        ...args,
        `--address=${job.host}:${job.port}`,
        `--operation=${job.direction === "bidirectional" ? "stream" : job.direction}`,
        `--tensors=${job.count}`,
        `--shape=${job.elements}`,
        `--chunk-size=${job.chunkSize}`,
        `--warmup=${job.elements * job.count > 2 ** 28 ? 0 : 1}`
      ]),
      ({ stdout }) => ({ ...(JSON.parse(stdout) as Outcome), startRssBytes: 0, peakRssBytes: 0 })
    )

/** Starts a client; it ends with the scope. */
export const startClient = (id: ClientId): Effect.Effect<Ask | undefined, never, Scope.Scope> =>
  Effect.gen(function* () {
    const command = clients[id].command()
    if (command === undefined) return undefined
    const [file, ...args] = command
    return id === "go" ? goClient(file, args) : conversation(yield* start(file, args, { stdin: true }))
  })

const portOf = (line: string) => (JSON.parse(line) as { readonly port?: number }).port

/** The servers that the cases need, each started when first asked for. */
export const makeServers = Effect.gen(function* () {
  const scope = yield* Scope.Scope
  const ports = new Map<string, number>()
  const node = (file: string, ...args: ReadonlyArray<string>) =>
    Effect.flatMap(start(process.execPath, [program(`servers/${file}.js`), ...args]), (running) => running.line(portOf))
  const go = (chunkSize: number) => Effect.map(GoServer.make({ chunkSize }), ({ port }) => port)
  const once = (key: string, make: Effect.Effect<number, never, Scope.Scope>) =>
    Effect.gen(function* () {
      const known = ports.get(key)
      if (known !== undefined) return known
      const port = yield* Scope.provide(make, scope)
      ports.set(key, port)
      return port
    })
  return (each: Case, client: ClientId): Effect.Effect<number> => {
    const { chunkSize, server } = each
    if (client === "tcp-data" || client === "tcp-onread") return once("tcp", node("tcp"))
    const near = once(`go ${chunkSize}`, go(chunkSize))
    switch (server) {
      case "go":
        return near
      case "python":
        return once(
          `python ${chunkSize}`,
          Effect.map(PythonServer.make({ save: false, quiet: true, chunkSize }), ({ port }) => port)
        )
      case "far":
        return once(
          `far ${chunkSize}`,
          Effect.flatMap(near, (port) => node("delay", String(port), "10"))
        )
    }
  }
})

/** Runs the cases; tells each as it is done. */
export const measure = (
  cases: ReadonlyArray<Case>,
  done: (each: Case, measurements: ReadonlyArray<Measurement>) => void
): Effect.Effect<ReadonlyArray<Measurement>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const scope = yield* Scope.Scope
      const portFor = yield* makeServers
      const started = new Map<ClientId, Ask | undefined>()
      const ask = (each: Case, id: ClientId) => (job: Job) =>
        Effect.gen(function* () {
          if (each.apart === true) {
            return yield* Effect.scoped(Effect.flatMap(startClient(id), (client) => client?.(job) ?? Effect.undefined))
          }
          if (!started.has(id)) started.set(id, yield* Scope.provide(startClient(id), scope))
          const client = started.get(id)
          return client === undefined ? undefined : yield* client(job)
        })
      const all: Array<Measurement> = []
      for (const each of cases) {
        const rounds = new Map<ClientId, Array<Outcome>>(each.clients.map((id) => [id, []]))
        for (let round = each.apart === true ? 1 : 0; round <= each.rounds; round++) {
          for (let turn = 0; turn < each.clients.length; turn++) {
            const id = each.clients[(turn + round) % each.clients.length]!
            const count = each.counts?.[id] ?? each.count
            const { chunkSize, direction, elements } = each
            const outcome = yield* ask(
              each,
              id
            )({
              direction,
              host: "127.0.0.1",
              port: yield* portFor(each, id),
              elements,
              chunkSize,
              // Round 0 warms up.
              count
            })
            if (outcome === undefined) rounds.delete(id)
            else if (round > 0) rounds.get(id)!.push(outcome)
          }
        }
        const measurements = [...rounds].map(([client, rounds]) => ({ case: each.name, client, rounds }))
        all.push(...measurements)
        done(each, measurements)
      }
      return all
    })
  )
