/**
 * A world that the contract suite runs in: a Kubernetes API that knows Computes, and somebody who plays the operator.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { Cluster } from "../../src/local/Cluster.ts"
import { configOf, cluster as localCluster } from "../../src/local/layers.ts"
import type * as KubeConfigService from "../../src/services/KubeConfig.ts"
import * as ApiClient from "../kit/ApiClient.ts"
import * as Controller from "../kit/Controller.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"

export class World extends Context.Service<
  World,
  {
    /** The way there for the client under test. */
    readonly config: Layer.Layer<KubeConfigService.KubeConfig, unknown>
    /** A bare client, to see what really stands there and to play others. */
    readonly client: ApiClient.ApiClient
    /** A namespace of a fresh name. */
    readonly namespace: Effect.Effect<string>
    /** A resource version whose history the server has forgotten. */
    readonly forgotten: Effect.Effect<string>
  }
>()("effect-kpu/test/World") {}

/** kube-apiserver and etcd, with a controller of the tests' own. */
export const real: Layer.Layer<World> = Layer.effect(
  World,
  Effect.gen(function* () {
    const server = yield* KubeApiServer
    const target = { url: server.url, token: server.token, ca: server.serverAuthority.cert }
    yield* Controller.make(target)
    return {
      config: KubeConfig.layerOptions({ server: server.url, token: server.token, caData: server.caData }),
      client: yield* ApiClient.make(target),
      namespace: server.namespace,
      // the server's own start was later
      forgotten: Effect.succeed("1")
    }
  })
).pipe(Layer.provide(KubeApiServer.layerWith({})))

/** The embedded cluster. */
export const embedded: Layer.Layer<World> = Layer.effect(
  World,
  Effect.gen(function* () {
    const cluster = yield* Cluster
    let count = 0
    return {
      config: configOf(cluster),
      client: yield* ApiClient.make(cluster),
      namespace: Effect.sync(() => {
        count += 1
        cluster.addNamespace(`test-${count}`)
        return `test-${count}`
      }),
      forgotten: Effect.sync(() => {
        cluster.compact()
        return "1"
      })
    }
  })
).pipe(Layer.provide(Layer.orDie(localCluster({}))))
