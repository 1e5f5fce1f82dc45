/** `kpu local`: the embedded cluster, for trying things without Kubernetes. */
import { spawn } from "node:child_process"
import { open, readFile } from "node:fs/promises"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { plural } from "../../schema/ComputeResource.ts"
import { CommandError, Exit } from "../CommandError.ts"
import { exitCodes } from "../exitCodes.ts"
import { fileError } from "../files/disk.ts"
import { integer, orUndefined } from "../input/flags.ts"
import { serve } from "../local/serving.ts"
import {
  type LocalState,
  logFile,
  makeHome,
  processStart,
  readState,
  removeState,
  runningState
} from "../local/state.ts"
import { type LocalStatus, outputVersion } from "../output/json.ts"
import { count } from "../output/quantities.ts"
import { report } from "../output/report.ts"
import { whileWaiting } from "../output/Waiting.ts"

const shellWord = (text: string): string => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

const statusData = (state: LocalState | undefined, computes?: number): LocalStatus =>
  state === undefined
    ? { apiVersion: outputVersion, kind: "LocalStatus", running: false }
    : {
        apiVersion: outputVersion,
        kind: "LocalStatus",
        running: true,
        pid: state.pid,
        server: state.server,
        gateway: state.gateway,
        kubeconfig: state.kubeconfig,
        ...(computes === undefined ? {} : { computes })
      }

const describeState = (state: LocalState): string =>
  `  API      ${state.server}\n  gateway  ${state.gateway}\n  process  ${state.pid}`

const usage = (state: LocalState): string =>
  `Use it:  export KUBECONFIG=${shellWord(state.kubeconfig)}\n         kpu apply my-compute --wait\nStop it: kpu local down`

const reportUp = (state: LocalState, headline: string) =>
  report({
    text: `${headline}\n${describeState(state)}\n${usage(state)}`,
    names: state.kubeconfig,
    data: statusData(state)
  })

/** How long a start or an end may take. */
const patience = "20 seconds"

/** The end of what the process wrote; that it is an error is said already. */
const lastLines = (text: string, lines: number): string =>
  text
    .replace(/^error: /gm, "")
    .trimEnd()
    .split("\n")
    .slice(-lines)
    .join("\n")

/** Starts this command again, in the foreground of a process of its own. */
const startDetached = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* makeHome
    const child = yield* Effect.tryPromise({
      try: async () => {
        const log = await open(logFile(), "w", 0o600)
        try {
          const child = spawn(
            process.execPath,
            [...process.execArgv, process.argv[1]!, "local", "up", "--foreground", ...args],
            { detached: true, stdio: ["ignore", log.fd, log.fd] }
          )
          child.unref()
          return child
        } finally {
          await log.close()
        }
      },
      catch: (cause) => fileError("write", logFile(), cause)
    })
    const started = Effect.suspend(() => {
      if (child.exitCode !== null || child.signalCode !== null) {
        return Effect.flatMap(
          Effect.promise(() => readFile(logFile(), "utf8").catch(() => "")),
          (log) =>
            Effect.fail(
              new CommandError({
                problem: `the embedded cluster did not start:\n${lastLines(log, 5)}`,
                exitCode: exitCodes.failure
              })
            )
        )
      }
      return Effect.map(runningState, (state) => (state?.pid === child.pid ? state : undefined))
    })
    return yield* untilDefined(started).pipe(
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => {
          child.kill("SIGKILL")
          return Effect.fail(
            new CommandError({
              problem: `the embedded cluster did not start within ${patience}`,
              advice: `see ${logFile()}`,
              exitCode: exitCodes.timeout
            })
          )
        }
      }),
      whileWaiting("starting the embedded cluster")
    )
  })

const untilDefined = <A, E>(check: Effect.Effect<A | undefined, E>): Effect.Effect<A, E> =>
  Effect.flatMap(check, (value) =>
    value === undefined ? Effect.andThen(Effect.sleep("50 millis"), untilDefined(check)) : Effect.succeed(value)
  )

const freePort = (name: string, what: string) =>
  integer(name, { min: 0, max: 65535 }).pipe(
    Flag.withDescription(`The ${what}'s port; any free one when absent`),
    orUndefined
  )

const up = Command.make(
  "up",
  {
    foreground: Flag.Boolean("foreground").pipe(
      Flag.withDescription("Serve in this process, until interrupted"),
      Flag.withDefault(false)
    ),
    apiPort: freePort("api-port", "API"),
    gatewayPort: freePort("gateway-port", "gateway")
  },
  Effect.fnUntraced(function* ({ apiPort, foreground, gatewayPort }) {
    const running = yield* runningState
    if (running !== undefined) return yield* reportUp(running, "The embedded cluster runs already.")
    if (foreground) {
      const state = yield* serve({ port: apiPort, gatewayPort })
      yield* reportUp(state, "The embedded cluster runs, until interrupted.")
      return yield* Effect.never
    }
    const state = yield* startDetached([
      ...(apiPort === undefined ? [] : [`--api-port=${apiPort}`]),
      ...(gatewayPort === undefined ? [] : [`--gateway-port=${gatewayPort}`])
    ])
    yield* reportUp(state, "The embedded cluster runs.")
  }, Effect.scoped)
).pipe(
  Command.withDescription(
    "Start the embedded cluster: an API of Computes, an operator and tensor servers, all on loopback"
  ),
  Command.withExamples([
    {
      command: "kpu local up && export KUBECONFIG=$(kpu local status -o name)",
      description: "Start it, and use it in this shell"
    }
  ])
)

/** How many Computes it has; asked over its API, which so shows that it answers. */
const askComputes = (state: LocalState): Effect.Effect<number | undefined> =>
  Effect.promise((signal) =>
    fetch(`${state.server}/apis/compute.kpu.dev/v1alpha1/${plural}`, { signal })
      .then((response) => response.json() as Promise<{ items?: ReadonlyArray<unknown> }>)
      .then(({ items }) => items?.length)
      .catch(() => undefined)
  ).pipe(
    Effect.timeoutOption("3 seconds"),
    Effect.map((answer) => (answer._tag === "Some" ? answer.value : undefined))
  )

const status = Command.make(
  "status",
  {},
  Effect.fnUntraced(function* () {
    const state = yield* runningState
    if (state === undefined) {
      yield* report({
        text: "The embedded cluster does not run. Start it with: kpu local up",
        names: "",
        data: statusData(undefined)
      })
      return yield* new Exit({ exitCode: exitCodes.unreachable })
    }
    const computes = yield* askComputes(state)
    yield* report({
      text: `The embedded cluster runs${computes === undefined ? ", but its API does not answer" : `, with ${count(computes, "Compute")}`}.\n${describeState(state)}\n${usage(state)}`,
      names: state.kubeconfig,
      data: statusData(state, computes)
    })
  })
).pipe(Command.withDescription("Say whether the embedded cluster runs, and where (exit code 3 where it does not)"))

const down = Command.make(
  "down",
  {},
  Effect.fnUntraced(function* () {
    const state = yield* runningState
    if (state === undefined) {
      if ((yield* readState) !== undefined) yield* removeState
      return yield* report({ text: "The embedded cluster does not run.", names: "", data: statusData(undefined) })
    }
    const gone = Effect.map(
      Effect.promise(() => processStart(state.pid)),
      (started) => (started === state.started ? undefined : true)
    )
    yield* Effect.sync(() => process.kill(state.pid, "SIGTERM"))
    yield* untilDefined(gone).pipe(
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () =>
          Effect.andThen(
            Effect.sync(() => process.kill(state.pid, "SIGKILL")),
            removeState
          )
      }),
      whileWaiting("stopping the embedded cluster")
    )
    yield* report({
      text: "The embedded cluster is stopped; its Computes are gone.",
      names: "",
      data: statusData(undefined)
    })
  })
).pipe(Command.withDescription("Stop the embedded cluster; its Computes are gone with it"))

export const local = Command.make("local").pipe(
  Command.withDescription("The embedded cluster: try everything without Kubernetes"),
  Command.withSubcommands([up, status, down])
)
