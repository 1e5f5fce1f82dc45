/**
 * `kpu run`: holds a Compute while a command runs, and deletes it after, however the command ends.
 *
 * **Signals.** A Ctrl-C at a terminal reaches the command as well as this process: the command is given time to end by
 * itself before it is told to. The Compute is deleted when it has ended.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { constants } from "node:os"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Compute from "../../Compute.ts"
import { defaultPort } from "../../schema/ComputeOptions.ts"
import { InvalidInput } from "../../schema/KpuError.ts"
import { Conflict, KubernetesError } from "../../schema/KubernetesError.ts"
import type { Handle } from "../../services/ComputeHandle.ts"
import { Endpoint } from "../../services/Endpoint.ts"
import { Namespace } from "../../services/Namespace.ts"
import { CommandError, Exit } from "../CommandError.ts"
import { dialOptions, withClient } from "../client.ts"
import { exitCodes } from "../exitCodes.ts"
import { fileProblem } from "../files/disk.ts"
import { globals } from "../globals.ts"
import { duration, orUndefined, waitTimeout } from "../input/flags.ts"
import { Leftovers } from "../Leftovers.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { specFlags } from "./apply.ts"

/** How long an interrupted command may take to end by itself, and then to obey SIGTERM. */
const patience = 5_000

/** What the command finds in its environment. */
const environment = Effect.fnUntraced(function* (compute: Handle) {
  const flags = yield* globals
  const endpoint = yield* Endpoint
  const { name, namespace } = compute
  const port = flags.port ?? defaultPort
  const address =
    flags.host === undefined ? yield* endpoint.resolve({ namespace, name, port }) : { host: flags.host, port }
  const host = address.host.includes(":") && !address.host.startsWith("[") ? `[${address.host}]` : address.host
  return {
    KPU_COMPUTE_NAME: name,
    KPU_COMPUTE_NAMESPACE: namespace,
    // The metadata that a Gateway routes by.
    KPU_COMPUTE_ID: `${namespace}/${name}`,
    KPU_ENDPOINT: `${host}:${address.port}`,
    KPU_ENDPOINT_HOST: address.host,
    KPU_ENDPOINT_PORT: String(address.port)
  }
})

const stop = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    const timers: Array<NodeJS.Timeout> = []
    child.once("exit", () => {
      for (const timer of timers) clearTimeout(timer)
      resume(Effect.void)
    })
    const hasSignal = process.stdin.isTTY === true
    const term = () => void child.kill("SIGTERM")
    if (hasSignal) timers.push(setTimeout(term, patience))
    else term()
    timers.push(setTimeout(() => void child.kill("SIGKILL"), hasSignal ? patience * 2 : patience))
  })

/** Runs a command with this process's input and output; gives its exit code, as a shell has it. */
const runChild = (command: string, args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => spawn(command, args, { stdio: "inherit", env: { ...process.env, ...env } })),
    (child) =>
      Effect.callback<number, CommandError>((resume) => {
        child.once("error", (cause: NodeJS.ErrnoException) =>
          resume(
            Effect.fail(
              new CommandError({
                problem: `cannot run ${command}: ${cause.code === "ENOENT" ? "there is no such command" : fileProblem(cause)}`,
                // A shell's own codes for these.
                exitCode: cause.code === "ENOENT" ? 127 : 126,
                cause
              })
            )
          )
        )
        child.once("exit", (code, signal) =>
          resume(Effect.succeed(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
        )
      }),
    stop
  )

/** Where a Compute of that name is there: what to do, as the command line says it. */
const inFlags = <E>(error: E): E | KubernetesError =>
  error instanceof KubernetesError && error.reason._tag === "Conflict"
    ? new KubernetesError({
        verb: error.verb,
        resource: error.resource,
        reason: new Conflict({
          causes: error.reason.causes,
          message: error.reason.message.replace(
            /leave out ifExists.*$/,
            "give another --name, or --if-exists adopt to take it over and delete it after"
          )
        })
      })
    : error

export const run = Command.make(
  "run",
  {
    command: Argument.String("command").pipe(
      Argument.withDescription("The command, after --, and its arguments"),
      Argument.atLeast(0)
    ),
    name: Flag.String("name").pipe(Flag.withDescription("The Compute's name (kpu-run-… by default)"), orUndefined),
    image: specFlags.image,
    entrypoint: specFlags.command,
    args: specFlags.args,
    env: specFlags.env,
    labels: specFlags.labels,
    annotations: specFlags.annotations,
    timeout: waitTimeout,
    gracePeriod: duration("grace-period").pipe(
      Flag.withDescription("What the deletion gives the Pod to end (30s by default)"),
      orUndefined
    ),
    ifExists: Flag.Literals("if-exists", ["adopt", "fail"]).pipe(
      Flag.withDescription("What to do with a Compute of that name: take it over, and delete it after, or refuse"),
      Flag.withDefault("fail")
    )
  },
  Effect.fnUntraced(function* ({ command: words, entrypoint, name: given, ...options }) {
    const [command, ...args] = words
    if (command === undefined) {
      return yield* new InvalidInput({
        field: "command",
        problem: "is missing; kpu run --image IMAGE -- COMMAND ARGUMENTS"
      })
    }
    yield* Effect.gen(function* () {
      const flags = yield* globals
      const leftovers = yield* Leftovers
      const namespace = (yield* Namespace).name
      const name = given ?? `kpu-run-${randomBytes(4).toString("hex")}`
      const exitCode = yield* Effect.scoped(
        Effect.gen(function* () {
          // Closed after the Compute's own finalizer, which deletes it.
          yield* Effect.acquireRelease(
            leftovers.add(
              `compute/${name}`,
              `Compute ${namespace}/${name}: remove it with kpu delete ${name} -n ${namespace}`
            ),
            () => leftovers.remove(`compute/${name}`)
          )
          const compute = yield* Compute.scoped({ ...dialOptions(flags), ...options, command: entrypoint, name }).pipe(
            Effect.mapError(inFlags),
            whileWaiting(`waiting for compute/${name} to be ready`)
          )
          return yield* runChild(command, args, yield* environment(compute))
        })
      )
      if (exitCode !== exitCodes.ok) return yield* new Exit({ exitCode })
    }).pipe(withClient)
  })
).pipe(
  Command.withDescription(
    "Hold a Compute while a command runs, with its endpoint in KPU_ENDPOINT and its id in KPU_COMPUTE_ID; then delete it"
  ),
  Command.withExamples([
    {
      command: "kpu run --image localhost:5001/kpu-torch-server:latest -- python train.py",
      description: "A Compute for one program; kpu's exit code is the program's"
    }
  ])
)
