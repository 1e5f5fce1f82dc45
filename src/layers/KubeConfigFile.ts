/**
 * The way to a cluster from a kubeconfig file, or from several merged into one.
 */
import { dirname, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { KubeConfigError } from "../schema/KpuError.ts"
import { KubeConfig } from "../services/KubeConfig.ts"
import { readFile } from "./internal/kubernetes/credentials.ts"
import { type KubeConfigDocument, parse } from "./internal/kubernetes/kubeConfigDocument.ts"
import { fromEntry } from "./internal/kubernetes/kubeConfigEntry.ts"

const names = (map: ReadonlyMap<string, unknown>): string =>
  map.size === 0 ? "it has none" : `it has ${[...map.keys()].join(", ")}`

/** The cluster that a context of this document leads to: the named one, else its current one. */
export const fromDocument = Effect.fnUntraced(function* (document: KubeConfigDocument, contextName?: string) {
  const files = document.files.join(", ")
  const name = contextName ?? document.currentContext?.value
  const fail = (problem: string) => new KubeConfigError({ problem: `${files}: ${problem}`, tried: [] })
  if (name === undefined) {
    return yield* fail(
      `current-context is not set (of contexts ${names(document.contexts)}); choose one: kubectl config use-context NAME`
    )
  }
  const context = document.contexts.get(name)
  if (context === undefined) {
    const from = contextName === undefined ? `current-context in ${document.currentContext?.file}` : "asked for"
    return yield* fail(`there is no context "${name}" (${from}; of contexts ${names(document.contexts)})`)
  }
  const clusterName = context.value.cluster
  if (!clusterName) return yield* fail(`contexts[${name}].context.cluster is missing`)
  const cluster = document.clusters.get(clusterName)
  if (cluster === undefined) {
    return yield* fail(
      `contexts[${name}].context.cluster: there is no cluster "${clusterName}" (${names(document.clusters)})`
    )
  }
  const userName = context.value.user
  const user = userName ? document.users.get(userName) : undefined
  if (userName && user === undefined) {
    return yield* fail(`contexts[${name}].context.user: there is no user "${userName}" (${names(document.users)})`)
  }
  return yield* fromEntry({
    source: `context ${name} of ${files}`,
    namespace: context.value.namespace || undefined,
    cluster: cluster.value,
    clusterFolder: dirname(cluster.file),
    clusterField: (field) => `${cluster.file}: clusters[${clusterName}].cluster.${field}`,
    user: user?.value ?? {},
    userFolder: dirname(user?.file ?? context.file),
    userField: (field) => `${user?.file ?? context.file}: users[${userName}].user.${field}`
  })
})

export interface LayerFileOptions {
  /** A context other than the file's current one. */
  readonly context?: string | undefined
}

/** The cluster that one kubeconfig file leads to. */
export const layer = (path: string, options: LayerFileOptions = {}): Layer.Layer<KubeConfig, KubeConfigError> =>
  Layer.effect(
    KubeConfig,
    Effect.gen(function* () {
      const file = resolve(path)
      return yield* fromDocument(yield* parse(file, yield* readFile(file, "the kubeconfig")), options.context)
    })
  )
