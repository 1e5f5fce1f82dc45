/** The embedded cluster as a process of its own: `kpu local up` starts it, the others find it by its state file. */

import { randomBytes } from "node:crypto"
import { rename, writeFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InvalidInput } from "../../schema/KpuError.ts"
import { CommandError } from "../CommandError.ts"
import { exitCodes } from "../exitCodes.ts"
import { kubeconfigFile, type LocalState, makeHome, processStart, readState, removeState, stateFile } from "./state.ts"

const write = (path: string, content: string): Effect.Effect<void, CommandError> =>
  Effect.tryPromise({
    try: async () => {
      const temporary = `${path}.${randomBytes(6).toString("hex")}`
      await writeFile(temporary, content, { mode: 0o600 })
      await rename(temporary, path)
    },
    catch: (cause) =>
      new CommandError({
        problem: `cannot write ${path}: ${(cause as Error).message}`,
        exitCode: exitCodes.files,
        cause
      })
  })

export interface ServingOptions {
  readonly port: number | undefined
  readonly gatewayPort: number | undefined
}

/** Starts it, and writes where it is; both are gone with the scope. */
export const serve = Effect.fnUntraced(function* (
  options: ServingOptions
): Effect.fn.Return<LocalState, CommandError | InvalidInput, Scope.Scope> {
  const { LocalCluster } = yield* Effect.promise(() => import("../../LocalCluster.ts"))
  const cluster = yield* LocalCluster.start({ port: options.port, gatewayPort: options.gatewayPort })
  yield* makeHome
  const state: LocalState = {
    pid: process.pid,
    started: (yield* Effect.promise(() => processStart(process.pid))) ?? "",
    server: cluster.url,
    gateway: cluster.gatewayAddress,
    kubeconfig: kubeconfigFile()
  }
  yield* Effect.acquireRelease(
    // The state last: it says that the rest is there.
    Effect.andThen(
      write(kubeconfigFile(), cluster.kubeconfig),
      write(stateFile(), JSON.stringify(state, undefined, 2))
    ),
    () => Effect.flatMap(readState, (now) => (now?.pid === process.pid ? removeState : Effect.void))
  )
  return state
})
