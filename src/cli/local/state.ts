/**
 * What `kpu local up` leaves for the other commands: one file a user, in `KPU_LOCAL_HOME` or `~/.kpu/local`, that says
 * which process serves the embedded cluster and where.
 */
import { chmod, mkdir, readFile, rm } from "node:fs/promises"
import { homedir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

export const LocalState = Schema.Struct({
  pid: Schema.Int,
  /** When that process started, as the system tells it: a process id is given to others later. */
  started: Schema.String,
  server: Schema.String,
  gateway: Schema.String,
  kubeconfig: Schema.String
})
export type LocalState = typeof LocalState.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(LocalState))

/** The folder of the embedded cluster. */
export const localHome = (): string => process.env["KPU_LOCAL_HOME"] || join(homedir(), ".kpu", "local")

export const stateFile = (): string => join(localHome(), "state.json")
export const kubeconfigFile = (): string => join(localHome(), "kubeconfig")
export const logFile = (): string => join(localHome(), "log")

/** Makes the folder, for its owner only: the kubeconfig in it holds a token. */
export const makeHome = Effect.promise(async () => {
  await mkdir(localHome(), { recursive: true, mode: 0o700 })
  await chmod(localHome(), 0o700)
})

/** When a process started; empty where the system does not tell, `undefined` where there is no such process. */
export const processStart = async (pid: number): Promise<string | undefined> => {
  try {
    process.kill(pid, 0)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EPERM") return undefined
  }
  // Linux: the 22nd field, after the command in parentheses, which may hold spaces.
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined)
  return text?.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? ""
}

/** The state that was written, whether its process still runs or not. */
export const readState: Effect.Effect<LocalState | undefined> = Effect.promise(() =>
  readFile(stateFile(), "utf8").catch(() => undefined)
).pipe(Effect.map((text) => (text === undefined ? undefined : Option.getOrUndefined(decode(text)))))

/** The state of a cluster that runs. */
export const runningState: Effect.Effect<LocalState | undefined> = Effect.gen(function* () {
  const state = yield* readState
  if (state === undefined) return undefined
  const started = yield* Effect.promise(() => processStart(state.pid))
  return started === state.started ? state : undefined
})

export const removeState: Effect.Effect<void> = Effect.promise(async () => {
  await rm(stateFile(), { force: true })
  await rm(kubeconfigFile(), { force: true })
})

/** The gateway of the embedded cluster, where `server` is it and it runs. */
export const localGateway = (server: string): Effect.Effect<string | undefined> =>
  Effect.map(runningState, (state) => (state?.server === server ? state.gateway : undefined))
