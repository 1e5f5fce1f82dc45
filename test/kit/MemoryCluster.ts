/**
 * One namespace of Computes in memory, for tests that need virtual time: the services themselves, without a wire. Tests
 * of what happens on a wire use the embedded cluster or the real API server.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Kpu from "../../src/layers/KpuComputes.ts"
import { apiVersion, type ComputeResource, type ComputeSpec, kind } from "../../src/schema/ComputeResource.ts"
import { type ComputeFailed, GrpcError } from "../../src/schema/KpuError.ts"
import { KubernetesError, NotFound } from "../../src/schema/KubernetesError.ts"
import { type ApiError, ComputeApi } from "../../src/services/ComputeApi.ts"
import { ComputeDiagnosis } from "../../src/services/ComputeDiagnosis.ts"
import { ComputeWatch, type Observation } from "../../src/services/ComputeWatch.ts"
import { Endpoint } from "../../src/services/Endpoint.ts"
import { Namespace } from "../../src/services/Namespace.ts"
import { TensorClient, type TensorConnection } from "../../src/services/TensorClient.ts"

export const namespace = "team-a"
const manager = "kpu-typescript-client"

export type Conditions = ReadonlyArray<readonly [type: string, status: "True" | "False", reason: string]>

export interface MemoryCluster {
  readonly layer: Layer.Layer<import("../../src/services/Kpu.ts").Kpu>
  /** What the operator would write. */
  readonly status: (name: string, conditions: Conditions) => Effect.Effect<void>
  /** Deletion by somebody else. */
  readonly remove: (name: string) => Effect.Effect<void>
  /** Creation by somebody else, under a new uid. */
  readonly create: (name: string, spec?: ComputeSpec) => Effect.Effect<ComputeResource>
  readonly get: (name: string) => Effect.Effect<ComputeResource | undefined>
  readonly requests: Array<string>
  /** Connections open now. */
  readonly open: () => number
  /** Replaces the next applies by failures. */
  failApply: ((commit: Effect.Effect<ComputeResource>) => Effect.Effect<ComputeResource, ApiError>) | undefined
  failDelete: Effect.Effect<never, ApiError> | undefined
  failConnect: GrpcError | undefined
  /** What the diagnosis of a Pod comes to. */
  trouble: Effect.Effect<never, ComputeFailed> | undefined
}

type Table = ReadonlyMap<string, ComputeResource>

export const make: Effect.Effect<MemoryCluster> = Effect.gen(function* () {
  const table = yield* SubscriptionRef.make<Table>(new Map())
  const requests: Array<string> = []
  let version = 0
  let uids = 0
  let open = 0

  const time = () => new Date(1_700_000_000_000 + version * 1000).toISOString()
  const next = () => String(++version)

  const write = (name: string, change: (now: ComputeResource | undefined) => ComputeResource | undefined) =>
    SubscriptionRef.modify(table, (now) => {
      const changed = change(now.get(name))
      const after = new Map(now)
      if (changed === undefined) after.delete(name)
      else after.set(name, changed)
      return [changed, after]
    })

  const create = (name: string, spec: ComputeSpec, by: string): ComputeResource => ({
    apiVersion,
    kind,
    metadata: {
      name,
      namespace,
      uid: `uid-${++uids}`,
      resourceVersion: next(),
      generation: 1,
      managedFields: [owner(by, spec)]
    },
    spec
  })

  const owner = (by: string, spec: ComputeSpec) => ({
    manager: by,
    operation: "Apply",
    time: time(),
    fieldsV1: { "f:spec": Object.fromEntries(Object.keys(spec).map((key) => [`f:${key}`, {}])) }
  })

  const notFound = (verb: string, name: string) =>
    new KubernetesError({ verb, resource: { kind, namespace, name }, reason: new NotFound({ message: "not found" }) })

  const cluster: MemoryCluster = {
    failApply: undefined,
    failDelete: undefined,
    failConnect: undefined,
    trouble: undefined,
    requests,
    open: () => open,
    get: (name) => Effect.map(SubscriptionRef.get(table), (now) => now.get(name)),
    status: (name, conditions) =>
      write(name, (now) => ({
        ...now!,
        metadata: {
          ...now!.metadata,
          resourceVersion: next(),
          managedFields: [
            ...now!.metadata.managedFields!.filter((entry) => entry.subresource === undefined),
            { manager: "kpu-compute-controller", operation: "Apply", subresource: "status", time: time() }
          ]
        },
        status: {
          conditions: conditions.map(([type, status, reason]) => ({
            type,
            status,
            reason,
            message: "",
            lastTransitionTime: time()
          }))
        }
      })),
    remove: (name) => write(name, () => undefined),
    create: (name, spec = {}) =>
      Effect.map(
        write(name, () => create(name, spec, "somebody")),
        (now) => now!
      ),
    layer: Layer.suspend(() =>
      Kpu.layer.pipe(
        Layer.provide([
          Layer.succeed(Namespace, { name: namespace, source: "test" }),
          Layer.succeed(Endpoint, {
            resolve: ({ port }) => Effect.succeed({ host: "memory", port, hint: "", mayResolveLater: false })
          }),
          Layer.succeed(ComputeApi, {
            fieldManager: manager,
            apply: (options) => {
              requests.push(`apply ${options.name}`)
              const commit = Effect.map(
                write(options.name, (now) => {
                  if (now === undefined) return create(options.name, options.spec, manager)
                  const others = now.metadata.managedFields!.filter((entry) => entry.manager !== manager)
                  return {
                    ...now,
                    metadata: {
                      ...now.metadata,
                      resourceVersion: next(),
                      generation: now.metadata.generation! + 1,
                      managedFields: [...others, owner(manager, options.spec)]
                    },
                    spec: options.spec
                  }
                }),
                (now) => now!
              )
              return cluster.failApply?.(commit) ?? commit
            },
            get: ({ name }) => {
              requests.push(`get ${name}`)
              return Effect.flatMap(cluster.get(name), (now) =>
                now === undefined ? Effect.fail(notFound("get", name)) : Effect.succeed(now)
              )
            },
            list: () => Effect.die("not in this world"),
            watch: () => Stream.die("not in this world"),
            delete: ({ name, uid }) => {
              requests.push(`delete ${name}`)
              if (cluster.failDelete !== undefined) return cluster.failDelete
              return Effect.flatMap(cluster.get(name), (now) =>
                now === undefined || (uid !== undefined && now.metadata.uid !== uid)
                  ? Effect.succeed("absent" as const)
                  : Effect.as(cluster.remove(name), "accepted" as const)
              )
            }
          }),
          Layer.succeed(ComputeDiagnosis, {
            watch: () => cluster.trouble ?? Effect.never,
            summary: () => Effect.succeed("its Pod is not known")
          }),
          Layer.succeed(ComputeWatch, {
            observe: ({ name }) =>
              SubscriptionRef.changes(table).pipe(
                Stream.map((now) => now.get(name)),
                Stream.changes,
                Stream.map(
                  (resource): Observation =>
                    resource === undefined ? { _tag: "Absent", last: undefined } : { _tag: "Present", resource }
                )
              )
          }),
          Layer.succeed(TensorClient, {
            connect: ({ address }): Effect.Effect<TensorConnection, GrpcError, Scope.Scope> => {
              if (cluster.failConnect !== undefined) return Effect.fail(cluster.failConnect)
              const connection = {
                address: `${address.host}:${address.port}`,
                receiveTensors: () => Stream.never
              } as unknown as TensorConnection
              return Effect.acquireRelease(
                Effect.sync(() => {
                  open += 1
                  return connection
                }),
                () =>
                  Effect.sync(() => {
                    open -= 1
                  })
              )
            }
          })
        ])
      )
    )
  }
  return cluster
})

export const ready: Conditions = [["Ready", "True", "StatefulSetReady"]]
export const starting: Conditions = [["Ready", "False", "StatefulSetNotReady"]]
export const suspended: Conditions = [
  ["Ready", "False", "StatefulSetNotReady"],
  ["Suspended", "True", "Suspended"]
]
export const resumed: Conditions = [
  ["Ready", "True", "StatefulSetReady"],
  ["Suspended", "False", "Resumed"]
]
export const refused = new GrpcError({
  code: "UNAVAILABLE",
  details: "connection refused",
  method: "connect",
  address: "memory:50051",
  errno: "ECONNREFUSED"
})
