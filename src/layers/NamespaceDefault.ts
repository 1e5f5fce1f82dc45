/**
 * The namespace where none is given: the kubeconfig context's (or the service account's, where that is the way to the
 * cluster), else the one of the service account that is mounted here, else `default`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { KubeConfig } from "../services/KubeConfig.ts"
import { Namespace } from "../services/Namespace.ts"
import { serviceAccountNamespace } from "./KubeConfigInCluster.ts"

export const layer: Layer.Layer<Namespace, never, KubeConfig> = Layer.effect(
  Namespace,
  Effect.gen(function* () {
    const config = yield* KubeConfig
    if (config.namespace !== undefined) return { name: config.namespace, source: config.source }
    const mounted = yield* serviceAccountNamespace
    if (mounted !== undefined) return { name: mounted, source: "the service account's namespace file" }
    return { name: "default", source: "nothing names another one" }
  })
)
