/**
 * A world that the contract suite runs in: a Kubernetes API that knows Computes, and somebody who plays the operator.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { Cluster, start } from "../../src/local/Cluster.ts"
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
    /** The same for one whose token the server does not know. */
    readonly stranger: Layer.Layer<KubeConfigService.KubeConfig, unknown>
    /** For one who may do nothing in this world. */
    readonly powerless: Layer.Layer<KubeConfigService.KubeConfig, unknown>
    /** For one who may only do what a Role with this name among its `resourceNames` allows, and create. */
    readonly confined: (ref: {
      readonly namespace: string
      readonly name: string
    }) => Effect.Effect<Layer.Layer<KubeConfigService.KubeConfig, unknown>>
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
    const withToken = (token: string) => KubeConfig.layerOptions({ server: server.url, token, caData: server.caData })
    const rbac = "apis/rbac.authorization.k8s.io/v1"
    const apiGroup = "rbac.authorization.k8s.io"
    return {
      config: withToken(server.token),
      stranger: withToken("nobody's"),
      powerless: withToken(server.users["bob"]!.token),
      confined: ({ name, namespace }) =>
        Effect.gen(function* () {
          const rules = [
            { apiGroups: ["compute.kpu.dev"], resources: ["computes"], verbs: ["create"] },
            {
              apiGroups: ["compute.kpu.dev"],
              resources: ["computes"],
              resourceNames: [name],
              verbs: ["get", "list", "watch", "patch", "delete"]
            }
          ]
          yield* server.request("POST", `/${rbac}/namespaces/${namespace}/roles`, {
            body: { metadata: { name: "confined" }, rules }
          })
          yield* server.request("POST", `/${rbac}/namespaces/${namespace}/rolebindings`, {
            body: {
              metadata: { name: "confined" },
              roleRef: { apiGroup, kind: "Role", name: "confined" },
              subjects: [{ apiGroup, kind: "User", name: "carol" }]
            }
          })
          return withToken(server.users["carol"]!.token)
        }),
      client: yield* ApiClient.make(target),
      namespace: server.namespace,
      // the server's own start was later
      forgotten: Effect.succeed("1")
    }
  })
).pipe(Layer.provide(KubeApiServer.layerWith({ users: { bob: [], carol: [] } })))

/** The embedded cluster. */
export const embedded: Layer.Layer<World> = Layer.effect(
  World,
  Effect.gen(function* () {
    const cluster = yield* Cluster
    let count = 0
    // a cluster of this kind has one user: others are others' clusters
    const powerless = yield* start({ allows: () => false })
    const scope = yield* Effect.scope
    return {
      config: configOf(cluster),
      stranger: KubeConfig.layerOptions({ server: cluster.url, token: "nobody's" }),
      powerless: configOf(powerless),
      confined: ({ name, namespace }) =>
        start({
          namespaces: [namespace],
          allows: (access) => access.resource === "computes" && (access.verb === "create" || access.name === name)
        }).pipe(Scope.provide(scope), Effect.orDie, Effect.map(configOf)),
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
).pipe(Layer.provide(localCluster({})), Layer.orDie)
