import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Compute from "../../src/Compute.ts"
import { ComputeFailed, GrpcError } from "../../src/schema/KpuError.ts"
import { Forbidden, KubernetesError, Transport } from "../../src/schema/KubernetesError.ts"
import { type MemoryCluster, make, ready, refused, resumed, starting, suspended } from "../kit/MemoryCluster.ts"

const name = "my-compute"

const withCluster = <A, E>(
  body: (cluster: MemoryCluster) => Effect.Effect<A, E, import("../../src/services/Kpu.ts").Kpu | Scope.Scope>
) => Effect.flatMap(make, (cluster) => body(cluster).pipe(Effect.scoped, Effect.provide(cluster.layer)))

/** Lets all fibers run as far as they can without time passing. */
const settle = Effect.repeat(Effect.yieldNow, { times: 100 })

const kubernetes = (reason: KubernetesError["reason"]) =>
  new KubernetesError({ verb: "apply", resource: { kind: "Compute", name }, reason })

describe("ready", () => {
  it.effect("ends when the operator says Ready and the connection is up", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const waiting = yield* Effect.forkChild(compute.ready())
        yield* settle
        yield* cluster.status(name, starting)
        yield* settle
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* cluster.status(name, ready)
        yield* Fiber.join(waiting)
        assert.strictEqual(cluster.open(), 1)
      })
    )
  )

  it.effect("fails at exactly the time asked for, and says that no controller has acted", () =>
    withCluster(() =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready({ timeout: "500 millis" })))
        yield* TestClock.adjust("499 millis")
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* TestClock.adjust("1 millis")
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "no controller has acted on this Compute; is the KPU operator installed?")
      })
    )
  )

  it.effect("tries the connection again until the port listens, within the same timeout", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        cluster.failConnect = refused
        const compute = yield* Compute.apply({ name })
        yield* cluster.status(name, ready)
        const waiting = yield* Effect.forkChild(compute.ready({ timeout: "10 seconds" }))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        cluster.failConnect = undefined
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(waiting)
      })
    )
  )

  it.effect("names the connection's failure when the port never listens", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        cluster.failConnect = refused
        const compute = yield* Compute.apply({ name })
        yield* cluster.status(name, ready)
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready({ timeout: "10 seconds" })))
        yield* settle
        yield* TestClock.adjust("10 seconds")
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "connection refused")
      })
    )
  )

  it.effect("fails at once where the Service's name does not resolve outside a cluster", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        cluster.failConnect = new GrpcError({ ...refused, errno: "ENOTFOUND", details: "does not resolve from here" })
        const compute = yield* Compute.apply({ name })
        yield* cluster.status(name, ready)
        const error = yield* Effect.flip(compute.ready())
        assert.strictEqual(error._tag, "GrpcError")
      })
    )
  )

  it.effect("fails when the Pod cannot start, and says why", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        cluster.trouble = Effect.andThen(
          Effect.sleep("3 seconds"),
          Effect.fail(
            new ComputeFailed({
              resource: { kind: "Compute", namespace: "team-a", name },
              pod: "my-compute-0",
              reason: "InvalidImageName",
              problem: "could not parse the image's name"
            })
          )
        )
        const compute = yield* Compute.apply({ name })
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready()))
        yield* settle
        yield* TestClock.adjust("3 seconds")
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ComputeFailed")
        assert.include(error.message, "my-compute-0: InvalidImageName")
      })
    )
  )

  it.effect("a timeout shows the last conditions and what is known of the Pod", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        yield* cluster.status(name, starting)
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready({ timeout: "1 second" })))
        yield* settle
        yield* TestClock.adjust("1 second")
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag === "ReadyTimeout" ? error.conditions[0]?.status : error._tag, "False")
        assert.include(error.message, "Ready=False StatefulSetNotReady; its Pod is not known")
      })
    )
  )

  it.effect("fails at once when the Compute is deleted, whatever its last state said", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready()))
        yield* settle
        yield* cluster.remove(name)
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ComputeDeleted")
      })
    )
  )

  it.effect("does not take a Ready stranger of the same name for its Compute", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready()))
        yield* settle
        yield* cluster.remove(name)
        yield* cluster.create(name)
        yield* cluster.status(name, ready)
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ComputeDeleted")
      })
    )
  )

  it.effect("names a negative timeout before anything is waited for", () =>
    withCluster(() =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const error = yield* Effect.flip(compute.ready({ timeout: -1 }))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.include(error.message, "timeout")
      })
    )
  )
})

describe("suspend and resume", () => {
  const serving = Effect.fnUntraced(function* (cluster: MemoryCluster) {
    const compute = yield* Compute.apply({ name, image: "image:1" })
    yield* cluster.status(name, ready)
    yield* compute.ready()
    return compute
  })

  it.effect("suspend closes the connection and waits for the operator's word", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* serving(cluster)
        const waiting = yield* Effect.forkChild(compute.suspend())
        yield* settle
        assert.strictEqual(cluster.open(), 0)
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* cluster.status(name, suspended)
        yield* Fiber.join(waiting)
        const error = yield* Effect.flip(Stream.runDrain(compute.receiveTensors()))
        assert.strictEqual(error._tag, "NotReady")
      })
    )
  )

  it.effect("suspend keeps all else that this client has applied", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* serving(cluster)
        yield* compute.suspend({ acknowledge: false })
        const now = yield* cluster.get(name)
        assert.deepStrictEqual(now?.spec, { image: "image:1", suspend: true })
      })
    )
  )

  it.effect("a suspend that the server refuses leaves the handle working", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* serving(cluster)
        cluster.failApply = () => Effect.fail(kubernetes(new Forbidden({ message: "no" })))
        const error = yield* Effect.flip(compute.suspend())
        assert.strictEqual(error._tag, "KubernetesError")
        assert.strictEqual(cluster.open(), 1)
      })
    )
  )

  it.effect("resume does not believe the Ready that an unacknowledged suspend left standing", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* serving(cluster)
        yield* compute.suspend({ acknowledge: false })
        const waiting = yield* Effect.forkChild(compute.resume())
        yield* settle
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* cluster.status(name, suspended)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* cluster.status(name, resumed)
        yield* Fiber.join(waiting)
        assert.strictEqual(cluster.open(), 1)
      })
    )
  )

  it.effect("resume believes it after the settle time, where the operator had nothing to change", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* serving(cluster)
        yield* compute.suspend({ acknowledge: false })
        const waiting = yield* Effect.forkChild(compute.resume())
        yield* settle
        yield* TestClock.adjust("3 seconds")
        yield* Fiber.join(waiting)
      })
    )
  )

  it.effect("resume has a timeout of its own, and names what it waited for", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name, suspend: true })
        yield* cluster.status(name, suspended)
        const waiting = yield* Effect.forkChild(Effect.flip(compute.resume({ timeout: "2 seconds" })))
        yield* TestClock.adjust("2 seconds")
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "not resumed within 2 s")
      })
    )
  )
})

describe("scoped", () => {
  const body = (cluster: MemoryCluster) =>
    Effect.gen(function* () {
      const waiting = yield* Effect.forkChild(Compute.scoped({ name }))
      yield* settle
      yield* cluster.status(name, ready)
      yield* Fiber.join(waiting)
    })

  it.effect("deletes on success", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        yield* Effect.scoped(body(cluster))
        assert.strictEqual(yield* cluster.get(name), undefined)
        assert.strictEqual(cluster.open(), 0)
      })
    )
  )

  it.effect("deletes on failure, and the failure is the body's even where the deletion fails", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        cluster.failDelete = Effect.fail(kubernetes(new Forbidden({ message: "no" })))
        const exit = yield* Effect.exit(Effect.scoped(Effect.andThen(body(cluster), Effect.fail("mine"))))
        assert.deepStrictEqual(exit, Exit.fail("mine"))
        assert.include(cluster.requests, `delete ${name}`)
      })
    )
  )

  it.effect("deletes on interruption", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Effect.scoped(Effect.andThen(body(cluster), Effect.never)))
        yield* Effect.repeat(settle, { until: () => cluster.open() === 1, times: 10 })
        assert.strictEqual(cluster.open(), 1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* cluster.get(name), undefined)
        assert.strictEqual(cluster.open(), 0)
      })
    )
  )

  it.effect("deletes before it fails when the wait times out, the scope still open", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const waiting = yield* Effect.forkChild(Effect.flip(Compute.scoped({ name, timeout: "1 second" })))
        yield* TestClock.adjust("1 second")
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.strictEqual(yield* cluster.get(name), undefined)
      })
    )
  )

  it.effect("deletes when it is interrupted while it waits", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const waiting = yield* Effect.forkChild(Compute.scoped({ name }))
        yield* settle
        assert.notStrictEqual(yield* cluster.get(name), undefined)
        yield* Fiber.interrupt(waiting)
        assert.strictEqual(yield* cluster.get(name), undefined)
      })
    )
  )

  it.effect("an interrupted apply that the server carries out later leaves nothing behind", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        cluster.failApply = (commit) => Effect.andThen(Effect.sleep("2 seconds"), commit)
        const waiting = yield* Effect.forkChild(Compute.scoped({ name }))
        yield* TestClock.adjust("1 second")
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(waiting))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(interrupting)
        assert.include(cluster.requests, `delete ${name}`)
        assert.strictEqual(yield* cluster.get(name), undefined)
      })
    )
  )

  it.effect("an apply whose answer was lost is read back and deleted", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const lost = kubernetes(new Transport({ message: "reset", code: "ECONNRESET", isRetryable: true }))
        cluster.failApply = (commit) => Effect.andThen(commit, Effect.fail(lost))
        const error = yield* Effect.flip(Compute.scoped({ name }))
        assert.strictEqual(error, lost)
        assert.strictEqual(yield* cluster.get(name), undefined)
      })
    )
  )

  it.effect("an apply that never reached the server leaves another's Compute alone", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const theirs = yield* cluster.create(name)
        const lost = kubernetes(new Transport({ message: "reset", code: "ECONNRESET", isRetryable: true }))
        cluster.failApply = () => Effect.fail(lost)
        yield* Effect.flip(Compute.scoped({ name }))
        assert.strictEqual((yield* cluster.get(name))?.metadata.uid, theirs.metadata.uid)
      })
    )
  )

  it.effect("lets a stranger's recreation under its name live", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* body(cluster).pipe(Scope.provide(scope))
        yield* cluster.remove(name)
        const theirs = yield* cluster.create(name)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* cluster.get(name))?.metadata.uid, theirs.metadata.uid)
      })
    )
  )

  it.effect('refuses one that exists under ifExists: "fail", and does not touch it', () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const theirs = yield* cluster.create(name)
        const error = yield* Effect.flip(Compute.scoped({ name, ifExists: "fail" }))
        assert.strictEqual(error._tag, "KubernetesError")
        assert.deepStrictEqual(yield* cluster.get(name), theirs)
      })
    )
  )

  it.effect("refuses suspend: true before any request", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Compute.scoped({ name, suspend: true }))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.deepStrictEqual(cluster.requests, [])
      })
    )
  )
})

describe("the handle", () => {
  it.effect("a tensor call before ready fails with NotReady at once", () =>
    withCluster(() =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const error = yield* Effect.flip(compute.sendTensors([]))
        assert.strictEqual(error._tag, "NotReady")
        assert.include(error.message, "ready()")
      })
    )
  )

  it.effect("delete of what is gone succeeds", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        yield* cluster.remove(name)
        yield* compute.delete()
        yield* compute.delete({ gracePeriod: "1 minute" })
      })
    )
  )

  it.effect("changes shows the current state first, every state after it, and ends with the deletion", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        const seen = yield* Effect.forkChild(
          compute.changes.pipe(
            Stream.map((resource) => resource.status?.conditions?.[0]?.status ?? "none"),
            Stream.runCollect
          )
        )
        yield* settle
        yield* cluster.status(name, starting)
        yield* settle
        yield* cluster.status(name, ready)
        yield* settle
        yield* cluster.remove(name)
        assert.deepStrictEqual(yield* Fiber.join(seen), ["none", "False", "True"])
      })
    )
  )

  it.effect("attach reads once, and absence is an error", () =>
    withCluster(() =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Compute.attach("nobody"))
        assert.strictEqual(error._tag, "KubernetesError")
      })
    )
  )

  it.effect("isReady reads afresh, and is false for what is gone", () =>
    withCluster((cluster) =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name })
        assert.isFalse(yield* compute.isReady)
        yield* cluster.status(name, ready)
        assert.isTrue(yield* compute.isReady)
        yield* cluster.remove(name)
        assert.isFalse(yield* compute.isReady)
      })
    )
  )
})
