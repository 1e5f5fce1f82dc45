/**
 * A cluster without Kubernetes: the API of Computes, an operator and tensor servers in this process, on real sockets.
 */
import * as Layer from "effect/Layer"
import { Kpu, type KpuOptions, type KpuServices } from "./Kpu.ts"
import { Cluster, type ClusterOptions, start } from "./local/Cluster.ts"
import * as Local from "./local/layers.ts"
import { serve } from "./local/serve.ts"
import type { InvalidInput, KubeConfigError } from "./schema/KpuError.ts"

export type { ClusterOptions, ClusterShape, LocalAddress } from "./local/Cluster.ts"
export type { PodTrouble } from "./local/Pods.ts"
export type { Access } from "./local/Reviews.ts"
export type { ServeOptions } from "./local/serve.ts"

/** How the embedded cluster is, and what of the client is other than by default. */
export interface LocalClusterOptions<GE = never, GR = never>
  extends ClusterOptions,
    Pick<KpuOptions<never, never, never, never, GE, GR>, "channel" | "fieldManager" | "timeouts"> {
  /** The namespace of the client's Computes; created where it is missing, `default` when absent. */
  readonly namespace?: string | undefined
}

const layerWith = <GE = never, GR = never>(
  options: LocalClusterOptions<GE, GR>
): Layer.Layer<Cluster | KpuServices, InvalidInput | KubeConfigError | GE, GR> => {
  const { channel, fieldManager, namespace, timeouts, ...cluster } = options
  const named = namespace === undefined ? [] : [namespace]
  return Kpu.layerWith({
    // those of this cluster, also where another one is in use
    config: Layer.fresh(Local.config),
    endpoint: Layer.fresh(Local.endpoint),
    namespace,
    channel,
    fieldManager,
    timeouts
  }).pipe(Layer.provideMerge(Local.cluster({ ...cluster, namespaces: [...(cluster.namespaces ?? []), ...named] })))
}

/**
 * The embedded cluster. Its layers give everything that `Kpu.layer` gives, so that a program runs on them unchanged; the
 * service itself tells addresses and holds what tests turn: Pods that fail, watches that are cut, history that is gone.
 *
 * **Example** (the same program without a cluster)
 *
 * ```ts
 * import { Compute, LocalCluster } from "effect-kpu"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   yield* Effect.log(yield* compute.isReady)
 * }).pipe(Effect.scoped, Effect.provide(LocalCluster.layer))
 * ```
 *
 * **Gotchas** Anything on this machine may talk to it: it listens on loopback only, and asks for no token over plain
 * HTTP, because kubectl sends none there.
 */
export class LocalCluster extends Cluster {
  /** On free ports, with everything by default. */
  static readonly layer: Layer.Layer<Cluster | KpuServices> = Layer.suspend(() => Layer.orDie(layerWith({})))
  /** With other ports, delays, namespaces, permissions. */
  static readonly layerWith = layerWith
  /** The cluster alone, for as long as the scope. */
  static readonly start = start
  /** Keeps one running until interrupted, and writes a kubeconfig for `kubectl` and other clients. */
  static readonly serve = serve
}
