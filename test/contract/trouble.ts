/**
 * Computes whose Pods cannot start, in any world: `ready` fails with the Pod, the reason and the message, at the first
 * look where waiting mends nothing and after the grace time where it might. The world's grace time is one second.
 */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Compute from "../../src/Compute.ts"
import { Endpoint } from "../../src/Endpoint.ts"
import { Kpu, type KpuServices } from "../../src/Kpu.ts"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { LocalCluster, type PodTrouble } from "../../src/LocalCluster.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"

const timeouts = { podGrace: "1 second" } as const

/** Lets the Pod of a Compute of the namespace `default` be in trouble. */
export class Troubles extends Context.Service<
  Troubles,
  (compute: Compute.Resource, trouble: PodTrouble) => Effect.Effect<void>
>()("effect-kpu/test/Troubles") {}

export type World = Layer.Layer<KpuServices | Troubles, unknown>

export const embedded: World = Layer.effect(
  Troubles,
  Effect.gen(function* () {
    const cluster = yield* LocalCluster
    return ({ metadata }, trouble) =>
      Effect.sync(() => cluster.setPodTrouble(metadata.namespace, metadata.name, trouble))
  })
).pipe(Layer.provideMerge(LocalCluster.layerWith({ timeouts })))

/** On the real API the test writes what scheduler, kubelet and controllers would. */
export const real: World = Layer.unwrap(
  Effect.gen(function* () {
    const server = yield* KubeApiServer
    const write = Effect.fnUntraced(function* (method: string, path: string, body: object) {
      const options = method === "PATCH" ? { body, contentType: "application/merge-patch+json" } : { body }
      const answer = yield* server.request(method, `/api/v1/namespaces/default/${path}`, options)
      assert.oneOf(answer.status, [200, 201], JSON.stringify(answer.body))
      return answer.body
    })
    const troubles = Effect.fnUntraced(function* (compute: Compute.Resource, { message, reason }: PodTrouble) {
      const { name, uid } = compute.metadata
      const warn = (about: object, reason: string) =>
        write("POST", "events", {
          metadata: { generateName: `${name}-` },
          involvedObject: { ...about, namespace: "default" },
          reason,
          message,
          type: "Warning",
          lastTimestamp: new Date().toISOString().replace(/\.\d+/, "")
        })
      if (reason === "FailedCreate") {
        yield* warn({ kind: "StatefulSet", name, uid }, reason)
        return
      }
      const pod = yield* write("POST", "pods", {
        metadata: { name: `${name}-0` },
        spec: { containers: [{ name: "server", image: "example/server" }] }
      })
      if (reason === "FailedMount") {
        yield* warn({ kind: "Pod", name: `${name}-0`, uid: pod.metadata.uid }, reason)
        return
      }
      const status =
        reason === "Failed"
          ? { phase: "Failed", message }
          : reason === "Unschedulable"
            ? { conditions: [{ type: "PodScheduled", status: "False", reason, message }] }
            : {
                containerStatuses: [
                  {
                    name: "server",
                    image: "example/server",
                    imageID: "",
                    ready: false,
                    restartCount: 0,
                    state: { waiting: { reason, message } }
                  }
                ]
              }
      yield* write("PATCH", `pods/${name}-0/status`, { status })
    })
    const config = KubeConfig.layerOptions({ server: server.url, token: server.token, caData: server.caData })
    return Layer.merge(
      Layer.succeed(Troubles, troubles),
      Kpu.layerWith({ config, timeouts, endpoint: Endpoint.layerOverride("127.0.0.1", 1) })
    )
  })
).pipe(Layer.provide(KubeApiServer.layer))

/** Reasons, messages, and whether waiting could mend it. */
const troubles: ReadonlyArray<readonly [reason: string, message: string, heals: boolean]> = [
  ["InvalidImageName", "couldn't parse image name", false],
  ["ErrImageNeverPull", "image is not present with pull policy of Never", false],
  ["Failed", "the node was low on memory", false],
  ["ErrImagePull", "failed to pull: not found", true],
  ["ImagePullBackOff", "Back-off pulling image", true],
  ["CrashLoopBackOff", "back-off 10s restarting failed container", true],
  ["CreateContainerConfigError", `configmap "settings" not found`, true],
  ["Unschedulable", "0/3 nodes are available: 3 Insufficient memory.", true],
  ["FailedMount", `MountVolume.SetUp failed: secret "weights" not found`, true],
  ["FailedCreate", "pods is forbidden: exceeded quota: small", true]
]

export const troubleContract = (world: World): void =>
  layer(world, { excludeTestServices: true, timeout: 120_000 })((it) => {
    for (const [reason, message, heals] of troubles) {
      it.effect(
        `${reason}: ready fails ${heals ? "after the grace time" : "at the first look"} and says why`,
        () =>
          Effect.gen(function* () {
            const trouble = yield* Troubles
            const compute = yield* Compute.apply({ name: reason.toLowerCase(), image: "example/server", suspend: true })
            yield* trouble(yield* compute.resource, { reason, message })
            const running = yield* Compute.apply({ name: compute.name, image: "example/server" })
            const started = performance.now()
            const error = yield* Effect.flip(running.ready({ timeout: "30 seconds" }))
            const seconds = (performance.now() - started) / 1000
            assert.strictEqual(error._tag, "ComputeFailed", error.message)
            if (error._tag !== "ComputeFailed") return
            assert.strictEqual(error.reason, reason)
            assert.include(error.message, message)
            assert.include(error.message, reason === "FailedCreate" ? compute.name : `${compute.name}-0`)
            // the first look comes after 3 s, the next 4.5 s later
            assert.isAtLeast(seconds, heals ? 3.9 : 2.9)
            assert.isBelow(seconds, heals ? 20 : 7)
            yield* running.delete()
          }),
        { concurrent: true }
      )
    }
  })
