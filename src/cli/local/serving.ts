/** The embedded cluster as a process of its own: `kpu local up` starts it, the others find it by its state file. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InvalidInput } from "../../schema/KpuError.ts"
import type { CommandError } from "../CommandError.ts"
import { writeFile } from "../files/disk.ts"
import type { Leftovers } from "../Leftovers.ts"
import { kubeconfigFile, type LocalState, makeHome, processStart, readState, removeState, stateFile } from "./state.ts"

/** For the owner only: the kubeconfig holds a token. */
const write = (path: string, content: string) => writeFile(path, [new TextEncoder().encode(content)], { mode: 0o600 })

export interface ServingOptions {
  readonly port: number | undefined
  readonly gatewayPort: number | undefined
}

/** Starts it, and writes where it is; both are gone with the scope. */
export const serve = Effect.fnUntraced(function* (
  options: ServingOptions
): Effect.fn.Return<LocalState, CommandError | InvalidInput, Leftovers | Scope.Scope> {
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
