/**
 * When a verdict on a Pod falls, on virtual time; and on a real API server, with the permissions that there may be.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { KubeConfig } from "../../src/KubeConfig.ts"
import * as ComputeDiagnosisPods from "../../src/layers/ComputeDiagnosisPods.ts"
import { Forbidden, KubernetesError, NotFound, Unavailable } from "../../src/schema/KubernetesError.ts"
import { ComputeDiagnosis } from "../../src/services/ComputeDiagnosis.ts"
import { KubernetesClient, type KubernetesRequest } from "../../src/services/KubernetesClient.ts"
import { defaultTimeouts, Timeouts } from "../../src/services/Timeouts.ts"
import { compute } from "../kit/computes.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"
import { kubernetes } from "../kit/kubernetesClient.ts"
import { describeWith } from "../kit/peers.ts"

interface Scene {
  /** A Pod, or why there is none to see. */
  pod: object | "absent" | "forbidden" | "unavailable"
  events: ReadonlyArray<object> | "forbidden"
  asked: Array<string>
}

const scene = (pod: Scene["pod"], events: Scene["events"] = []): Scene => ({ pod, events, asked: [] })

/** The API as a scene has it, so that time can be virtual. */
const diagnosing = (scene: Scene) => {
  const error = (request: KubernetesRequest, reason: ConstructorParameters<typeof KubernetesError>[0]["reason"]) =>
    Effect.fail(new KubernetesError({ verb: request.verb, resource: request.resource, reason }))
  const client = Layer.succeed(
    KubernetesClient,
    KubernetesClient.of({
      json: (request) =>
        Effect.suspend(() => {
          scene.asked.push(request.path)
          const found = request.path.includes("/events") ? scene.events : scene.pod
          if (found === "absent") return error(request, new NotFound({ message: "gone" }))
          if (found === "forbidden") return error(request, new Forbidden({ message: "no" }))
          if (found === "unavailable") return error(request, new Unavailable({ message: "later", status: 503 }))
          return Effect.succeed<unknown>(Array.isArray(found) ? { items: found } : found)
        }),
      lines: () => {
        throw new Error("not asked here")
      }
    })
  )
  return ComputeDiagnosisPods.layer.pipe(Layer.provide(client))
}

const waiting = (reason: string) => ({
  metadata: { name: "c-0", uid: "pod-uid" },
  status: {
    phase: "Pending",
    containerStatuses: [
      { name: "server", ready: false, restartCount: 1, state: { waiting: { reason, message: "words" } } }
    ]
  }
})
const running = {
  metadata: { name: "c-0", uid: "pod-uid" },
  status: {
    phase: "Running",
    containerStatuses: [{ name: "server", ready: false, restartCount: 1, state: { running: {} } }]
  }
}
const healthy = {
  metadata: { name: "c-0", uid: "pod-uid" },
  status: { phase: "Running", containerStatuses: [{ name: "server", ready: true, state: { running: {} } }] }
}

const subject = compute("c", 1)

/** Runs until the verdict, or for so long; gives its reason and the second in which it fell. */
const verdict = (scene: Scene, seconds: number, change?: (second: number, scene: Scene) => void) =>
  Effect.gen(function* () {
    const diagnosis = yield* ComputeDiagnosis
    const fiber = yield* Effect.forkChild(Effect.flip(diagnosis.watch(subject)))
    yield* Effect.yieldNow
    for (let second = 1; second <= seconds; second++) {
      change?.(second, scene)
      yield* TestClock.adjust("1 second")
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return { error: yield* Fiber.join(fiber), second }
    }
    yield* Fiber.interrupt(fiber)
    return undefined
  }).pipe(Effect.provide(diagnosing(scene)))

describe("the verdict on a Pod", () => {
  it.effect("falls at the first look where waiting cannot mend it", () =>
    Effect.gen(function* () {
      const found = yield* verdict(scene(waiting("InvalidImageName")), 10)
      assert.strictEqual(found?.second, 3)
      assert.strictEqual(found?.error._tag, "ComputeFailed")
      assert.deepStrictEqual([found?.error.pod, found?.error.reason], ["Pod c-0", "InvalidImageName"])
      assert.include(found?.error.message, "Compute team-a/c cannot start")
    })
  )

  it.effect("falls exactly after the grace time where waiting might have", () =>
    Effect.gen(function* () {
      const found = yield* verdict(scene(waiting("ImagePullBackOff")), 100)
      assert.strictEqual(found?.second, 3 + 60)
      assert.strictEqual(found?.error.reason, "ImagePullBackOff")
    })
  )

  it.effect("takes a grace time as an option", () =>
    Effect.gen(function* () {
      const found = yield* verdict(scene(waiting("ImagePullBackOff")), 100).pipe(
        Effect.provide(Layer.succeed(Timeouts, { ...defaultTimeouts, podGrace: Duration.seconds(10) }))
      )
      assert.strictEqual(found?.second, 3 + 10)
    })
  )

  it.effect("does not fall where the trouble heals in time", () =>
    Effect.gen(function* () {
      const found = yield* verdict(scene(waiting("ImagePullBackOff")), 300, (second, scene) => {
        if (second === 40) scene.pod = healthy
      })
      assert.isUndefined(found)
    })
  )

  it.effect("counts from anew when another trouble follows", () =>
    Effect.gen(function* () {
      const found = yield* verdict(scene(waiting("ImagePullBackOff")), 300, (second, scene) => {
        if (second === 40) scene.pod = waiting("CreateContainerConfigError")
      })
      assert.strictEqual(found?.error.reason, "CreateContainerConfigError")
      assert.isAtLeast(found?.second ?? 0, 100)
    })
  )

  it.effect("counts a crash loop through the moments in which the container runs", () =>
    Effect.gen(function* () {
      const found = yield* verdict(scene(waiting("CrashLoopBackOff")), 300, (second, scene) => {
        scene.pod = second % 20 < 5 ? running : waiting("CrashLoopBackOff")
      })
      assert.strictEqual(found?.error.reason, "CrashLoopBackOff")
      assert.isAtMost(found?.second ?? 0, 90)
    })
  )

  it.effect("falls on a quota that lets no Pod be made", () =>
    Effect.gen(function* () {
      const event = {
        involvedObject: { kind: "StatefulSet", name: "c" },
        reason: "FailedCreate",
        message: "exceeded quota: pods=0",
        lastTimestamp: "2026-01-01T00:00:30Z",
        metadata: {}
      }
      const found = yield* verdict(scene("absent", [event]), 100)
      assert.deepStrictEqual([found?.error.pod, found?.error.reason], ["StatefulSet c", "FailedCreate"])
      assert.include(found?.error.message, "exceeded quota")
    })
  )

  it.effect("never falls while the API cannot be asked", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* verdict(scene("unavailable", "forbidden"), 300))
    })
  )

  it.effect("never falls without the permission to look, and nothing is asked twice", () =>
    Effect.gen(function* () {
      const blind = scene("forbidden", "forbidden")
      assert.isUndefined(yield* verdict(blind, 300))
      assert.strictEqual(blind.asked.filter((path) => path.includes("/pods/")).length, 1)
    })
  )

  it.effect("looks ever less often", () =>
    Effect.gen(function* () {
      const quiet = scene(waiting("ContainerCreating"))
      yield* verdict(quiet, 300)
      const looks = quiet.asked.filter((path) => path.includes("/pods/")).length
      assert.isAtLeast(looks, 20)
      assert.isAtMost(looks, 26)
    })
  )

  it.effect("of a thousand Computes reads the namespace's warnings once", () =>
    Effect.gen(function* () {
      const shared = scene(waiting("ContainerCreating"))
      yield* Effect.gen(function* () {
        const diagnosis = yield* ComputeDiagnosis
        yield* Effect.forEach(Array.from({ length: 1000 }), () => Effect.forkChild(diagnosis.watch(subject)))
        yield* Effect.yieldNow
        yield* TestClock.adjust("3 seconds")
      }).pipe(Effect.provide(diagnosing(shared)))
      assert.strictEqual(shared.asked.filter((path) => path.includes("/events")).length, 1)
      assert.strictEqual(shared.asked.filter((path) => path.includes("/pods/")).length, 1000)
    })
  )
})

describe("the summary", () => {
  const summary = (scene: Scene) =>
    Effect.gen(function* () {
      return yield* (yield* ComputeDiagnosis).summary(subject)
    }).pipe(Effect.provide(diagnosing(scene)))

  it.effect("says what there is to see, or that there is nothing, or why it cannot be seen", () =>
    Effect.gen(function* () {
      assert.include(yield* summary(scene(waiting("ImagePullBackOff"))), "Pod c-0: ImagePullBackOff")
      assert.strictEqual(yield* summary(scene("absent")), "there is no Pod c-0")
      assert.include(yield* summary(scene("forbidden")), "may not get pods in namespace team-a")
      assert.strictEqual(yield* summary(scene("unavailable")), "Pod c-0 could not be looked at")
    })
  )
})

describeWith(["kubernetes"], "the diagnosis on a real API server", () => {
  layer(KubeApiServer.layerWith({ users: { bob: [] } }), { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("reads the Pod and the events, or says that it may not", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const namespace = yield* server.namespace
        const pods = `/api/v1/namespaces/${namespace}/pods`
        const made = yield* server.request("POST", pods, {
          body: { metadata: { name: "c-0" }, spec: { containers: [{ name: "server", image: "example/server" }] } }
        })
        assert.strictEqual(made.status, 201, JSON.stringify(made.body))
        const mine = compute("c", 1, { namespace, creationTimestamp: made.body.metadata.creationTimestamp })
        const config = (token: string) => KubeConfig.layerOptions({ server: server.url, caData: server.caData, token })
        const summary = Effect.gen(function* () {
          return yield* (yield* ComputeDiagnosis).summary(mine)
        })
        const admin = kubernetes(config(server.token))
        assert.include(yield* Effect.provide(summary, admin), "Pod c-0 is Pending")

        yield* server.request("POST", `/api/v1/namespaces/${namespace}/events`, {
          body: {
            metadata: { name: "c-0.1" },
            involvedObject: { kind: "Pod", name: "c-0", namespace, uid: made.body.metadata.uid },
            reason: "FailedMount",
            message: `secret "weights" not found`,
            type: "Warning",
            lastTimestamp: made.body.metadata.creationTimestamp
          }
        })
        assert.include(
          yield* Effect.provide(summary, Layer.fresh(admin)),
          `Pod c-0: FailedMount: secret "weights" not found`
        )

        const status = { phase: "Failed", reason: "Evicted", message: "low on memory" }
        const patched = yield* server.request("PATCH", `${pods}/c-0/status`, {
          contentType: "application/merge-patch+json",
          body: { status }
        })
        assert.strictEqual(patched.status, 200, JSON.stringify(patched.body))
        const error = yield* Effect.gen(function* () {
          return yield* Effect.flip((yield* ComputeDiagnosis).watch(mine))
        }).pipe(Effect.provide(Layer.fresh(admin)))
        assert.deepStrictEqual([error.reason, error.problem], ["Evicted", "low on memory"])

        const bob = kubernetes(config(server.users["bob"]!.token))
        assert.include(yield* Effect.provide(summary, bob), "may not get pods")
      })
    )
  })
})
