/**
 * The embedded cluster: a Kubernetes API for Computes, a controller that plays the operator, a tensor server for each
 * Compute that runs, and a gateway before them. All on loopback, all real sockets, all closed with the scope.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InvalidInput } from "../schema/KpuError.ts"
import type { PodTrouble } from "./Pods.ts"
import type { Access } from "./Reviews.ts"

export interface ClusterOptions {
  /** The address to listen at; `127.0.0.1` by default. */
  readonly host?: string | undefined
  /** The API's port; any free one by default. */
  readonly port?: number | undefined
  /** The gateway's port; any free one by default. */
  readonly gatewayPort?: number | undefined
  /** The bearer token that clients must show; random by default. */
  readonly token?: string | undefined
  /** Namespaces beside `default`. */
  readonly namespaces?: ReadonlyArray<string> | undefined
  /** From a Compute's creation to its tensor server; 100 ms by default. */
  readonly startDelay?: Duration.Input | undefined
  /** From a suspend or resume to the status that tells of it; none by default. */
  readonly statusDelay?: Duration.Input | undefined
  /** Whether the controller acts; true by default. Without it the API serves alone, as where no operator is installed. */
  readonly controller?: boolean | undefined
  /** Bytes of a chunk that the tensor servers send; 1 MiB by default. */
  readonly chunkSize?: number | undefined
  /** Bytes of the largest message that they accept; gRPC's default of 4 MiB, which the real servers have, by default. */
  readonly maxMessageBytes?: number | undefined
  /** How many past changes a watch can go on from; 10,000 by default. */
  readonly watchWindow?: number | undefined
  /** Between the bookmarks of a watch; one minute by default, as the real server's. */
  readonly bookmarkInterval?: Duration.Input | undefined
  /** What the token may do; everything by default. */
  readonly allows?: ((access: Access) => boolean) | undefined
}

/** Where a tensor server listens. */
export interface LocalAddress {
  readonly host: string
  readonly port: number
}

export interface ClusterShape {
  /** The API server's URL. */
  readonly url: string
  readonly token: string
  /** A kubeconfig for `kubectl` and other clients. */
  readonly kubeconfig: string
  /** `host:port` of the gateway, which routes by `compute-id`. */
  readonly gatewayAddress: string
  /** Where a Compute's tensor server listens; `undefined` while none runs. */
  readonly resolve: (namespace: string, name: string) => LocalAddress | undefined
  /** Creates a namespace. */
  readonly addNamespace: (name: string) => void
  /** Makes the Pod of a Compute, present or future, fail so; `undefined` heals it. */
  readonly setPodTrouble: (namespace: string, name: string, trouble: PodTrouble | undefined) => void
  /** Forgets past changes: whoever goes on from an older resource version gets 410. */
  readonly compact: () => void
  /** Cuts the connection of every watch. */
  readonly cutWatches: () => void
}

export class Cluster extends Context.Service<Cluster, ClusterShape>()("effect-kpu/LocalCluster") {}

/**
 * Starts an embedded cluster, for as long as the scope. Its parts are loaded now: who runs none does not pay for them.
 *
 * @example
 * const cluster = yield* start({ namespaces: ["team-a"] })
 * yield* Effect.log(cluster.kubeconfig)
 */
export const start = (options: ClusterOptions = {}): Effect.Effect<ClusterShape, InvalidInput, Scope.Scope> =>
  Effect.flatMap(
    Effect.promise(() => import("./startCluster.ts")),
    (module) => module.start(options)
  )
