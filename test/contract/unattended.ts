/**
 * What the client does where no operator acts: waits that end, deletions that are held up, Computes taken over. The
 * world's deletion timeout is one second.
 */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Compute from "../../src/Compute.ts"
import type { ComputeResource } from "../../src/schema/ComputeResource.ts"
import { ComputeApi } from "../../src/services/ComputeApi.ts"
import { KubernetesClient } from "../../src/services/KubernetesClient.ts"
import { Namespace } from "../../src/services/Namespace.ts"
import type { World } from "./lifecycle.ts"

let names = 0
const freshName = () => `unattended-${process.pid}-${++names}`

const stored = Effect.fnUntraced(function* (name: string) {
  const api = yield* ComputeApi
  const namespace = (yield* Namespace).name
  return yield* api
    .get({ namespace, name })
    .pipe(Effect.catchReason("KubernetesError", "NotFound", () => Effect.succeed(undefined)))
})

/** Somebody else's finalizers on a Compute. */
const setFinalizers = Effect.fnUntraced(function* (name: string, finalizers: ReadonlyArray<string>) {
  const client = yield* KubernetesClient
  const namespace = (yield* Namespace).name
  return (yield* client.json({
    verb: "patch",
    resource: { kind: "Compute", namespace, name },
    method: "PATCH",
    path: `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes/${name}`,
    body: { contentType: "application/merge-patch+json", content: { metadata: { finalizers } } },
    idempotent: true
  })) as ComputeResource
})

/** Runs an effect and gives what it logged. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(Array.isArray(message) ? message.map(String).join(" ") : String(message))
    })
    return effect.pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.map((value) => ({ value, lines }))
    )
  })

export const unattendedContract = (world: World): void =>
  layer(world, { excludeTestServices: true, timeout: 120_000 })((it) => {
    it.effect("ready ends with a timeout, and asks whether the operator is installed", () =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name: freshName() })
        const started = performance.now()
        const error = yield* Effect.flip(compute.ready({ timeout: "500 millis" }))
        assert.isAtLeast(performance.now() - started, 499)
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "is the KPU operator installed?")
        yield* compute.delete()
      })
    )

    it.effect("a suspend that nobody acknowledges ends with a timeout; unacknowledged it need not wait", () =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name: freshName(), image: "image:1" })
        const error = yield* Effect.flip(compute.suspend({ timeout: "300 millis" }))
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "not suspended within 0.3 s")
        yield* compute.suspend({ acknowledge: false })
        assert.deepStrictEqual((yield* compute.resource).spec, { image: "image:1", suspend: true })
        yield* compute.delete()
      })
    )

    it.effect("a scoped Compute that does not become ready is deleted before the failure is seen", () =>
      Effect.gen(function* () {
        const name = freshName()
        const error = yield* Effect.flip(Compute.scoped({ name, timeout: "300 millis" }))
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.strictEqual(yield* stored(name), undefined)
      })
    )

    it.effect("a deletion that a finalizer holds up is bounded, and names the finalizer and what to do", () =>
      Effect.gen(function* () {
        const name = freshName()
        const compute = yield* Compute.apply({ name })
        yield* setFinalizers(name, ["example.com/hold"])
        const error = yield* Effect.flip(compute.delete())
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "example.com/hold")
        assert.include(error.message, `kubectl delete computes.compute.kpu.dev ${name}`)
        yield* setFinalizers(name, [])
        yield* compute.delete()
        assert.strictEqual(yield* stored(name), undefined)
      })
    )

    it.effect("ready fails at once for a Compute whose deletion was asked for", () =>
      Effect.gen(function* () {
        const name = freshName()
        const compute = yield* Compute.apply({ name })
        yield* setFinalizers(name, ["example.com/hold"])
        yield* Effect.flip(compute.delete())
        const error = yield* Effect.flip(compute.ready())
        assert.strictEqual(error._tag, "ComputeDeleted")
        assert.include(error.message, "example.com/hold")
        yield* setFinalizers(name, [])
      })
    )

    it.effect("a scope that cannot delete closes all the same, and logs what remains and how to remove it", () =>
      Effect.gen(function* () {
        const name = freshName()
        const { lines } = yield* logged(
          Effect.gen(function* () {
            const scope = yield* Scope.make()
            const waiting = yield* Effect.forkChild(
              Compute.scoped({ name, timeout: "1 second" }).pipe(Scope.provide(scope))
            )
            while ((yield* stored(name)) === undefined) yield* Effect.sleep("5 millis")
            yield* setFinalizers(name, ["example.com/hold"])
            const exit = yield* Fiber.await(waiting)
            assert.isTrue(Exit.isFailure(exit))
            yield* Scope.close(scope, Exit.void)
          })
        )
        assert.isTrue(
          lines.some((line) => line.includes(name) && line.includes("kubectl delete computes.compute.kpu.dev")),
          lines.join("\n")
        )
        yield* setFinalizers(name, [])
      })
    )

    it.effect("scoped says that it takes a Compute over, or refuses to", () =>
      Effect.gen(function* () {
        const name = freshName()
        const theirs = yield* Compute.apply({ name, image: "theirs" })
        const refused = yield* Effect.flip(Compute.scoped({ name, ifExists: "fail", timeout: "100 millis" }))
        assert.strictEqual(refused._tag === "KubernetesError" ? refused.reason._tag : refused._tag, "Conflict")
        assert.strictEqual((yield* stored(name))?.spec?.image, "theirs")

        const { lines } = yield* logged(Effect.flip(Compute.scoped({ name, timeout: "100 millis" })))
        assert.isTrue(
          lines.some((line) => line.includes("exists already")),
          lines.join("\n")
        )
        assert.strictEqual(yield* stored(name), undefined)
        yield* theirs.delete()
      })
    )
  })
