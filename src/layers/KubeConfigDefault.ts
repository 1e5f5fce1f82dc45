/**
 * The way to a cluster found without being told: `KUBECONFIG` (one file, or a list merged as kubectl merges it), else
 * `~/.kube/config`, else the service account of the Pod that this runs in.
 *
 * **Details**
 *
 * A missing file of a list is skipped. A kubeconfig that is there and broken is an error at once: silently using
 * another cluster is worse than stopping. Only where no kubeconfig leads anywhere comes the service account, and where
 * that is missing too, the error lists every place that was tried. `localhost:8080` is never guessed.
 */
import { access, readFile as readFileText } from "node:fs/promises"
import { homedir } from "node:os"
import { delimiter, join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type KubeConfigAttempt, KubeConfigError } from "../schema/KpuError.ts"
import { KubeConfig } from "../services/KubeConfig.ts"
import { describeFileError, invalidCredential } from "./internal/kubernetes/credentials.ts"
import { type KubeConfigDocument, merge, parse } from "./internal/kubernetes/kubeConfigDocument.ts"
import { variable } from "./internal/kubernetes/proxy.ts"
import { ServiceAccountFolder } from "./internal/kubernetes/serviceAccount.ts"
import { fromDocument, type LayerFileOptions } from "./KubeConfigFile.ts"
import * as InCluster from "./KubeConfigInCluster.ts"

/** The text of a file, `undefined` where there is none; any other trouble is an error. */
const readIfPresent = (file: string): Effect.Effect<string | undefined, KubeConfigError> =>
  Effect.tryPromise({
    try: () => readFileText(file, "utf8"),
    catch: (cause) => cause as NodeJS.ErrnoException
  }).pipe(
    Effect.catch((cause) =>
      cause.code === "ENOENT" || cause.code === "ENOTDIR"
        ? Effect.succeed(undefined)
        : Effect.fail(invalidCredential(`the kubeconfig ${file}`, describeFileError(cause)))
    )
  )

const exists = (path: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    access(path).then(
      () => true,
      () => false
    )
  )

const make = Effect.fnUntraced(function* (options: LayerFileOptions) {
  const tried: Array<KubeConfigAttempt> = []
  const list = yield* variable("KUBECONFIG")
  const home = (yield* variable("HOME")) ?? homedir()
  const files =
    list === undefined
      ? [{ path: join(home, ".kube", "config"), source: "the default kubeconfig" }]
      : list
          .split(delimiter)
          .filter((path) => path !== "")
          .map((path) => ({ path: resolve(path), source: "KUBECONFIG" }))
  if (list === undefined) tried.push({ source: "KUBECONFIG", problem: "not set" })

  let document: KubeConfigDocument | undefined
  for (const { path, source } of files) {
    const text = yield* readIfPresent(path)
    if (text === undefined) {
      tried.push({ source: `${source} ${path}`, problem: "no such file" })
      continue
    }
    const parsed = yield* parse(path, text)
    document = document === undefined ? parsed : merge(document, parsed)
  }
  if (document !== undefined) {
    // an empty kubeconfig is what tools leave behind that have logged out: it counts as none
    if (document.currentContext !== undefined || document.contexts.size > 0)
      return yield* fromDocument(document, options.context)
    tried.push({ source: document.files.join(", "), problem: "it names no context" })
  }

  // a context that was asked for is no service account
  if (options.context === undefined && (yield* InCluster.isInCluster)) return yield* InCluster.make
  const folder = yield* ServiceAccountFolder
  tried.push({
    source: "the service account of a Pod",
    problem: (yield* exists(folder))
      ? `${folder} is there, but KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set`
      : "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this does not run in a Pod"
  })
  return yield* new KubeConfigError({
    problem:
      "no way to a Kubernetes cluster was found. Set KUBECONFIG, use KubeConfig.layerFile or KubeConfig.layerOptions, or run without a cluster on LocalCluster.layer. Tried:",
    tried
  })
})

/** The same, with a context of the kubeconfig other than its current one. */
export const layerWith = (options: LayerFileOptions): Layer.Layer<KubeConfig, KubeConfigError> =>
  Layer.effect(KubeConfig, make(options))

/** The cluster that kubectl would use, or the one that this process runs in. */
export const layer: Layer.Layer<KubeConfig, KubeConfigError> = layerWith({})
