/** An embedded cluster that stays, for `kubectl` and for other processes. */
import { randomUUID } from "node:crypto"
import { readFile, rename, rm, writeFile } from "node:fs/promises"
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { InvalidInput } from "../schema/KpuError.ts"
import { type ClusterOptions, type ClusterShape, start } from "./Cluster.ts"

export interface ServeOptions extends ClusterOptions {
  /** Where to write a kubeconfig; it is removed at the end. */
  readonly kubeconfig?: string | undefined
}

/** Writes the file whole or not at all, for this user alone; removes it at the end unless another has taken its place. */
const writeKubeconfig = (path: string, content: string): Effect.Effect<void, InvalidInput, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const temporary = `${path}.${randomUUID()}`
        try {
          await writeFile(temporary, content, { mode: 0o600 })
          await rename(temporary, path)
        } catch (error) {
          await rm(temporary, { force: true })
          throw error
        }
      },
      catch: (error) =>
        new InvalidInput({
          field: "kubeconfig",
          problem: `cannot write ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`
        })
    }),
    () =>
      Effect.promise(async () => {
        const now = await readFile(path, "utf8").catch(() => undefined)
        if (now === content) await rm(path, { force: true })
      })
  )

/** Starts a cluster and, where asked, writes its kubeconfig, for as long as the scope. */
export const open = Effect.fn("LocalCluster.open")(function* (options: ServeOptions = {}) {
  const cluster: ClusterShape = yield* start(options)
  if (options.kubeconfig !== undefined) yield* writeKubeconfig(resolve(options.kubeconfig), cluster.kubeconfig)
  return cluster
})

/** Serves until interrupted. */
export const serve = (options: ServeOptions = {}): Effect.Effect<never, InvalidInput> =>
  Effect.scoped(
    Effect.gen(function* () {
      const cluster = yield* open(options)
      yield* Effect.log(`The embedded cluster serves at ${cluster.url}, its gateway at ${cluster.gatewayAddress}`)
      if (options.kubeconfig !== undefined) {
        const path = resolve(options.kubeconfig)
        yield* Effect.log(`Reach it with: kubectl --kubeconfig ${path} get computes`)
      }
      return yield* Effect.never
    })
  )
