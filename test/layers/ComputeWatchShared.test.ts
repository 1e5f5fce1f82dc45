/**
 * The driver of the watch on virtual time: when it asks, how long it waits, and that a wait ends to the millisecond. The
 * API is a script here; on a real one, with a real wire, it is tested in watch-faults.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ComputeWatchShared from "../../src/layers/ComputeWatchShared.ts"
import {
  CrdNotInstalled,
  Forbidden,
  KubernetesError,
  type KubernetesErrorReason,
  Transport,
  Unavailable
} from "../../src/schema/KubernetesError.ts"
import { type ApiError, ComputeApi, type ComputeList, type WatchEvent } from "../../src/services/ComputeApi.ts"
import { ComputeWatch } from "../../src/services/ComputeWatch.ts"
import { compute } from "../kit/computes.ts"

const ref = { namespace: "team-a", name: "a" }

const failure = (reason: KubernetesErrorReason): ApiError =>
  new KubernetesError({ verb: "watch", resource: { kind: "Compute" }, reason })
const reset = failure(new Transport({ message: "reset", code: "ECONNRESET", isRetryable: true }))

interface Script {
  readonly list?: (call: number, fieldSelector: string | undefined) => Effect.Effect<ComputeList, ApiError>
  readonly watch?: (call: number) => Stream.Stream<WatchEvent, ApiError>
}

/** The API as a script has it, and the virtual milliseconds at which it was asked. */
const scripted = (script: Script) => {
  const asked = { lists: [] as Array<number>, watches: [] as Array<number>, open: 0 }
  const unused = () => Effect.die("not asked here")
  const api = ComputeApi.of({
    fieldManager: "test",
    apply: unused,
    get: unused,
    delete: unused,
    list: ({ fieldSelector }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        asked.lists.push(now)
        return script.list?.(asked.lists.length, fieldSelector) ?? Effect.succeed({ resourceVersion: "5", items: [] })
      }),
    watch: () =>
      Stream.unwrap(
        Effect.gen(function* () {
          asked.watches.push(yield* Clock.currentTimeMillis)
          yield* Effect.acquireRelease(
            Effect.sync(() => {
              asked.open += 1
            }),
            () =>
              Effect.sync(() => {
                asked.open -= 1
              })
          )
          return script.watch?.(asked.watches.length) ?? Stream.never
        })
      )
  })
  return { asked, layer: ComputeWatchShared.layer.pipe(Layer.provide(Layer.succeed(ComputeApi, api))) }
}

const observeAll = Effect.gen(function* () {
  const watch = yield* ComputeWatch
  return yield* watch.observe(ref).pipe(Stream.runDrain)
})

describe("the shared watch, on virtual time", () => {
  it.effect("a wait of 0.5 s ends after 0.5 s, whatever the weather", () =>
    Effect.gen(function* () {
      for (const script of [
        {},
        { watch: () => Stream.fail(reset) },
        { watch: () => Stream.empty },
        { list: () => Effect.fail(reset) },
        { list: () => Effect.never }
      ] satisfies ReadonlyArray<Script>) {
        yield* Effect.gen(function* () {
          const started = yield* Clock.currentTimeMillis
          const fiber = yield* Effect.forkChild(Effect.timeoutOption(observeAll, "500 millis"))
          yield* TestClock.adjust("499 millis")
          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust("1 millis")
          assert.strictEqual((yield* Fiber.join(fiber))._tag, "None")
          assert.strictEqual((yield* Clock.currentTimeMillis) - started, 500)
        }).pipe(Effect.provide(scripted(script).layer))
      }
    })
  )

  it.effect("backs off from 0.8 s, doubling, to 30 s, a quarter up or down, and keeps asking", () =>
    Effect.gen(function* () {
      const failing = failure(new Unavailable({ message: "leader changed", status: 500 }))
      const { asked, layer } = scripted({ watch: () => Stream.fail(failing) })
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(observeAll)
        yield* TestClock.adjust("5 minutes")
        const pauses = asked.watches.slice(1).map((at, i) => at - asked.watches[i]!)
        for (const [i, pause] of pauses.entries()) {
          const base = Math.min(30_000, 800 * 2 ** i)
          assert.isAtLeast(pause, base * 0.74)
          assert.isAtMost(pause, base * 1.26)
        }
        assert.isAtLeast(pauses.length, 10)
        assert.strictEqual(asked.lists.length, 1)
        assert.strictEqual(asked.lists.length, 1)
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect(
    "one watch serves a thousand observers, is closed two seconds after the last, and opened again for the next",
    () =>
      Effect.gen(function* () {
        const { asked, layer } = scripted({})
        yield* Effect.gen(function* () {
          const watch = yield* ComputeWatch
          const fibers = yield* Effect.forEach(Array.from({ length: 1000 }), (_, i) =>
            watch.observe({ namespace: "team-a", name: `c-${i}` }).pipe(Stream.runDrain, Effect.forkChild)
          )
          yield* TestClock.adjust("10 seconds")
          assert.deepStrictEqual([asked.lists.length, asked.watches.length, asked.open], [1, 1, 1])
          yield* Fiber.interruptAll(fibers)
          yield* TestClock.adjust("1999 millis")
          assert.strictEqual(asked.open, 1)
          yield* TestClock.adjust("1 millis")
          assert.strictEqual(asked.open, 0)
          yield* Effect.forkChild(observeAll)
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual([asked.lists.length, asked.open], [2, 1])
        }).pipe(Effect.provide(layer))
        assert.strictEqual(asked.open, 0)
      })
  )

  it.effect("two namespaces have two watches", () =>
    Effect.gen(function* () {
      const { asked, layer } = scripted({})
      yield* Effect.gen(function* () {
        const watch = yield* ComputeWatch
        yield* watch.observe(ref).pipe(Stream.runDrain, Effect.forkChild)
        yield* watch.observe({ ...ref, namespace: "team-b" }).pipe(Stream.runDrain, Effect.forkChild)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(asked.open, 2)
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("what no retry mends fails every observer at once, and the next one asks again", () =>
    Effect.gen(function* () {
      const missing = failure(new CrdNotInstalled({ message: "no CRD" }))
      const { asked, layer } = scripted({ list: () => Effect.fail(missing) })
      yield* Effect.gen(function* () {
        for (let i = 1; i <= 2; i++) {
          assert.strictEqual(yield* Effect.flip(observeAll), missing)
          assert.strictEqual(asked.lists.length, i)
        }
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("goes on by name where the wide watch is forbidden, without showing a state twice", () =>
    Effect.gen(function* () {
      const forbidden = failure(new Forbidden({ message: "no" }))
      const items = [compute("a", 5)]
      // allowed at first, and forbidden from the second wide list on
      let wide = 0
      const { layer } = scripted({
        list: (_, fieldSelector) => {
          if (fieldSelector !== undefined) return Effect.succeed({ resourceVersion: "6", items })
          wide += 1
          return wide === 1 ? Effect.succeed({ resourceVersion: "5", items }) : Effect.fail(forbidden)
        },
        watch: (call) =>
          call <= 3
            ? Stream.fail(forbidden)
            : call === 4
              ? Stream.succeed<WatchEvent>({ _tag: "Modified", resource: compute("a", 7) })
              : Stream.never
      })
      yield* Effect.gen(function* () {
        const watch = yield* ComputeWatch
        const fiber = yield* watch.observe(ref).pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
        yield* TestClock.adjust("30 seconds")
        const versions = (yield* Fiber.join(fiber)).map((observation) =>
          observation._tag === "Present" ? observation.resource.metadata.resourceVersion : "absent"
        )
        assert.deepStrictEqual(versions, ["5", "7"])
      }).pipe(Effect.provide(layer))
    })
  )
})
