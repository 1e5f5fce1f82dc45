/**
 * The way to a cluster from inside one: the service account that Kubernetes mounts into every Pod. Its token rotates
 * about every hour and is read again as it does.
 */
import { readFile as readFileText } from "node:fs/promises"
import { isIPv6 } from "node:net"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { KubeConfigError } from "../schema/KpuError.ts"
import { KubeConfig } from "../services/KubeConfig.ts"
import { checkAuthority, readFile, tokenFile } from "./internal/kubernetes/credentials.ts"
import { environmentProxy, variable } from "./internal/kubernetes/proxy.ts"
import { ServiceAccountFolder } from "./internal/kubernetes/serviceAccount.ts"

/** Whether this process runs in a Pod, as far as its environment tells. */
export const isInCluster: Effect.Effect<boolean> = Effect.map(
  Effect.all([variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")]),
  ([host, port]) => host !== undefined && port !== undefined
)

/** The service account's namespace, when there is one. */
export const serviceAccountNamespace: Effect.Effect<string | undefined> = Effect.gen(function* () {
  const folder = yield* ServiceAccountFolder
  const text = yield* Effect.tryPromise(() => readFileText(join(folder, "namespace"), "utf8")).pipe(
    Effect.orElseSucceed(() => "")
  )
  return text.trim() === "" ? undefined : text.trim()
})

export const make: Effect.Effect<KubeConfig["Service"], KubeConfigError> = Effect.gen(function* () {
  const folder = yield* ServiceAccountFolder
  const host = yield* variable("KUBERNETES_SERVICE_HOST")
  const port = yield* variable("KUBERNETES_SERVICE_PORT")
  if (host === undefined || port === undefined) {
    return yield* new KubeConfigError({
      problem:
        "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, as Kubernetes sets them in every Pod",
      tried: []
    })
  }
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`
  const caFile = join(folder, "ca.crt")
  const ca = yield* checkAuthority(
    yield* readFile(caFile, "the service account's CA"),
    `the service account's CA: ${caFile}`
  )
  const token = tokenFile(join(folder, "token"), "the service account's token")
  yield* token.credentials
  return {
    server,
    source: `the service account in ${folder}`,
    namespace: yield* serviceAccountNamespace,
    proxy: yield* environmentProxy(server),
    trust: { ca, insecureSkipVerify: false },
    ...token
  }
})

/** The cluster that this process runs in. */
export const layer: Layer.Layer<KubeConfig, KubeConfigError> = Layer.effect(KubeConfig, make)
