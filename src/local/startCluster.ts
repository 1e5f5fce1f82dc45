/**
 * Starting the parts of the embedded cluster: store, API, controller, gateway, and tensor servers as Computes need them.
 */
import { randomBytes, randomUUID } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { InvalidInput } from "../schema/KpuError.ts"
import * as ApiServer from "./ApiServer.ts"
import { Cluster, type ClusterOptions } from "./Cluster.ts"
import * as Computes from "./Computes.ts"
import * as Controller from "./Controller.ts"
import { customResourceDefinition } from "./Crd.ts"
import * as Gateway from "./Gateway.ts"
import type { JsonObject } from "./Json.ts"
import * as Namespaces from "./Namespaces.ts"
import { customResourceDefinitions, namespaces } from "./Resources.ts"
import * as Store from "./Store.ts"

const kubeconfigOf = (url: string, token: string): string => `apiVersion: v1
kind: Config
clusters:
  - name: kpu-local
    cluster:
      server: ${url}
users:
  - name: kpu-local
    user:
      token: ${token}
contexts:
  - name: kpu-local
    context:
      cluster: kpu-local
      user: kpu-local
      namespace: default
current-context: kpu-local
`

const definitionObject = (): JsonObject => {
  const now = Computes.timestamp()
  const condition = (type: string, reason: string, message: string) => ({
    type,
    status: "True",
    reason,
    message,
    lastTransitionTime: now
  })
  const { metadata, spec, ...definition } = customResourceDefinition
  return {
    ...definition,
    metadata: { ...metadata, uid: randomUUID(), creationTimestamp: now, generation: 1 },
    spec: { ...spec, conversion: { strategy: "None" } },
    status: {
      acceptedNames: spec.names,
      conditions: [
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted")
      ],
      storedVersions: ["v1alpha1"]
    }
  } as unknown as JsonObject
}

/** Something that listens, for as long as the scope. */
const listening = <A extends { readonly close: () => Promise<void> }>(
  start: () => Promise<A>,
  field: string,
  port: number
): Effect.Effect<A, InvalidInput, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: start,
      catch: (error) => {
        const code = (error as NodeJS.ErrnoException).code ?? String(error)
        const why = code === "EADDRINUSE" ? "something else listens there" : code
        return new InvalidInput({ field, problem: `cannot listen on port ${port}: ${why}` })
      }
    }),
    (server) => Effect.promise(() => server.close())
  )

/** Starts an embedded cluster, for as long as the scope. */
export const start = Effect.fn("LocalCluster.start")(function* (options: ClusterOptions) {
  const host = options.host ?? "127.0.0.1"
  const token = options.token ?? randomBytes(24).toString("base64url")
  const store = Store.make(options.watchWindow ?? 10_000)
  for (const name of new Set(["default", "kube-system", ...(options.namespaces ?? [])])) {
    Namespaces.create(store, { metadata: { name } }, false)
  }
  store.put(customResourceDefinitions.plural, definitionObject())
  store.compact()
  const computes = Computes.make(store)
  const tensors = {
    host,
    chunkSize: options.chunkSize ?? 1024 * 1024,
    maxMessageBytes: options.maxMessageBytes ?? 4 * 1024 * 1024
  }

  const startServer = async (port: number) => {
    // The tensor server brings the encoder with it: loaded when the first Compute starts.
    const TensorServer = await import("./TensorServer.ts")
    try {
      return await TensorServer.start({ ...tensors, port })
    } catch (error) {
      if (port === 0) throw error
      // Its former port has been taken: the next one is as good.
      return TensorServer.start({ ...tensors, port: 0 })
    }
  }

  const controller =
    options.controller === false
      ? undefined
      : yield* Controller.make({
          store,
          computes,
          startServer,
          startDelay: Duration.fromInputUnsafe(options.startDelay ?? "100 millis"),
          statusDelay: Duration.fromInputUnsafe(options.statusDelay ?? 0)
        })
  const gateway = yield* listening(
    () =>
      Gateway.start({
        host,
        port: options.gatewayPort ?? 0,
        route: (namespace, name) =>
          controller?.knows(namespace, name) === true ? controller.portOf(namespace, name) : "unknown"
      }),
    "gatewayPort",
    options.gatewayPort ?? 0
  )
  const api = yield* listening(
    () =>
      ApiServer.start({
        host,
        port: options.port ?? 0,
        token,
        store,
        computes,
        allows: options.allows ?? (() => true),
        bookmarkMillis: Duration.toMillis(Duration.fromInputUnsafe(options.bookmarkInterval ?? "1 minute"))
      }),
    "port",
    options.port ?? 0
  )
  const url = `http://${host}:${api.port}`
  return Cluster.of({
    url,
    token,
    kubeconfig: kubeconfigOf(url, token),
    gatewayAddress: `${host}:${gateway.port}`,
    resolve: (namespace, name) => {
      const port = controller?.portOf(namespace, name)
      return port === undefined ? undefined : { host, port }
    },
    addNamespace: (name) => {
      if (store.get(namespaces.plural, "", name) === undefined) Namespaces.create(store, { metadata: { name } }, false)
    },
    setPodTrouble: (namespace, name, trouble) => controller?.setPodTrouble(namespace, name, trouble),
    compact: store.compact,
    cutWatches: api.cutWatches
  })
})
