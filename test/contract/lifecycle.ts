/**
 * What a Compute's lifecycle promises, case by case, in any world that has a Kubernetes API, an operator and a tensor
 * server. Where two worlds differ, the embedded one is wrong.
 */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Compute from "../../src/Compute.ts"
import type { KpuServices } from "../../src/Kpu.ts"
import { ComputeApi } from "../../src/services/ComputeApi.ts"
import { Namespace } from "../../src/services/Namespace.ts"
import { Tensor } from "../../src/Tensor.ts"

export type World = Layer.Layer<KpuServices, unknown>

let names = 0
const freshName = () => `life-${process.pid}-${++names}`

/** What the API server holds, behind the handle's back. */
const stored = Effect.fnUntraced(function* (name: string) {
  const api = yield* ComputeApi
  const namespace = (yield* Namespace).name
  return yield* api
    .get({ namespace, name })
    .pipe(Effect.catchReason("KubernetesError", "NotFound", () => Effect.succeed(undefined)))
})

export const lifecycleContract = (world: World): void =>
  layer(world, { excludeTestServices: true, timeout: 120_000 })((it) => {
    it.effect("apply creates the resource, with suspend false and this client as its field manager", () =>
      Effect.gen(function* () {
        const name = freshName()
        const compute = yield* Compute.apply({
          name,
          image: "image:1",
          env: { LOG_LEVEL: "DEBUG", CHUNK_SIZE: "2097152" },
          labels: { team: "ml", env: "prod" }
        })
        const resource = yield* compute.resource
        assert.deepStrictEqual(resource.spec, {
          image: "image:1",
          env: [
            { name: "LOG_LEVEL", value: "DEBUG" },
            { name: "CHUNK_SIZE", value: "2097152" }
          ],
          labels: { team: "ml", env: "prod" },
          suspend: false
        })
        const entry = resource.metadata.managedFields?.find(({ manager }) => manager === "kpu-typescript-client")
        assert.strictEqual(entry?.operation, "Apply")
        yield* compute.delete()
      })
    )

    it.effect("an identical apply changes neither generation nor resource version", () =>
      Effect.gen(function* () {
        const options = { name: freshName(), image: "image:1", env: { A: "1" }, suspend: true }
        const first = yield* Effect.flatMap(Compute.apply(options), ({ resource }) => resource)
        const second = yield* Compute.apply(options)
        const { metadata, spec } = yield* second.resource
        assert.deepStrictEqual(spec, first.spec)
        assert.strictEqual(metadata.generation, first.metadata.generation)
        yield* second.delete()
      })
    )

    it.effect("what an apply leaves out and an earlier one sent is removed", () =>
      Effect.gen(function* () {
        const name = freshName()
        yield* Compute.apply({ name, image: "image:1", command: ["serve"], env: { A: "1", B: "2" } })
        const compute = yield* Compute.apply({ name, image: "image:2", env: { B: "3" } })
        const { spec } = yield* compute.resource
        assert.deepStrictEqual(spec, { image: "image:2", env: [{ name: "B", value: "3" }], suspend: false })
        yield* compute.delete()
      })
    )

    it.effect("ready waits until it serves; tensors go to it, come from it and go through it", () =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name: freshName() })
        assert.strictEqual((yield* Effect.flip(compute.sendTensors([Tensor.zeros([1])])))._tag, "NotReady")
        yield* compute.ready()
        assert.isTrue(yield* compute.isReady)

        const receipt = yield* compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
        assert.isTrue(receipt.success)
        assert.strictEqual(receipt.message, "Received 2 tensor(s)")
        assert.strictEqual(receipt.receivedTensorIds.length, 2)

        const received = yield* compute
          .receiveTensors({ count: 2, parameters: { shape: "20,20" } })
          .pipe(Stream.runCollect)
        assert.deepStrictEqual(
          received.map(({ dtype, shape }) => [dtype, shape]),
          [
            ["float32", [20, 20]],
            ["float32", [20, 20]]
          ]
        )

        const input = [Tensor.randn([10, 10]), Tensor.randn([20, 20])]
        const echoed = yield* compute.streamTensors(Stream.fromIterable(input)).pipe(Stream.runCollect)
        assert.strictEqual(echoed.length, 2)
        echoed.forEach((tensor, index) => {
          assert.isTrue(Tensor.equals(tensor, input[index]!))
        })
        yield* compute.delete()
      })
    )

    it.effect("suspend refuses tensors at once; resume serves again, with all that was applied", () =>
      Effect.gen(function* () {
        const name = freshName()
        const compute = yield* Compute.apply({ name, image: "image:1", env: { A: "1" } })
        yield* compute.ready()
        yield* compute.suspend()
        const refused = yield* Effect.flip(compute.sendTensors([Tensor.zeros([1])]))
        assert.strictEqual(refused._tag, "NotReady")
        assert.isFalse(yield* compute.isReady)
        const { spec, status } = yield* compute.resource
        assert.deepStrictEqual(spec, { image: "image:1", env: [{ name: "A", value: "1" }], suspend: true })
        assert.strictEqual(status?.conditions?.find(({ type }) => type === "Suspended")?.status, "True")

        yield* compute.resume()
        const receipt = yield* compute.sendTensors([Tensor.zeros([1])])
        assert.isTrue(receipt.success)
        assert.deepStrictEqual((yield* stored(name))?.spec, { ...spec, suspend: false })
        yield* compute.delete()
      })
    )

    it.effect("a Compute created suspended is not ready until resume", () =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name: freshName(), suspend: true })
        const error = yield* Effect.flip(compute.ready({ timeout: "700 millis" }))
        assert.strictEqual(error._tag, "ReadyTimeout")
        assert.include(error.message, "suspended")
        yield* compute.resume()
        assert.isTrue(yield* compute.isReady)
        yield* compute.delete()
      })
    )

    it.effect("changes shows every state up to the deletion", () =>
      Effect.gen(function* () {
        const compute = yield* Compute.apply({ name: freshName() })
        const seen = yield* Effect.forkChild(Stream.runCollect(compute.changes))
        yield* compute.ready()
        yield* compute.delete()
        const states = (yield* Fiber.join(seen)).map(
          ({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.status ?? "none"
        )
        assert.strictEqual(states.at(-1), "True")
        assert.include(["none", "False"], states[0])
      })
    )

    it.effect("delete deletes, and of what is gone it succeeds", () =>
      Effect.gen(function* () {
        const name = freshName()
        const compute = yield* Compute.apply({ name })
        yield* compute.delete({ gracePeriod: "1 minute" })
        assert.strictEqual(yield* stored(name), undefined)
        yield* compute.delete()
        assert.isFalse(yield* compute.isReady)
      })
    )

    it.effect("closing the scope of apply leaves the resource, and attach finds it", () =>
      Effect.gen(function* () {
        const name = freshName()
        yield* Effect.scoped(Compute.apply({ name }))
        const compute = yield* Compute.attach(name)
        yield* compute.ready()
        assert.strictEqual((yield* compute.resource).metadata.name, name)
        assert.isTrue((yield* compute.sendTensors([Tensor.zeros([2])])).success)
        yield* compute.delete()
      })
    )

    it.effect("attach to what does not exist is NotFound", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Compute.attach("nobody"))
        assert.strictEqual(error._tag, "KubernetesError")
        assert.strictEqual(error._tag === "KubernetesError" ? error.reason._tag : "", "NotFound")
      })
    )

    it.effect("scoped deletes on success, on failure and on interruption", () =>
      Effect.gen(function* () {
        const name = freshName()
        yield* Effect.scoped(
          Effect.flatMap(Compute.scoped({ name }), (compute) => compute.sendTensors([Tensor.zeros([1])]))
        )
        assert.strictEqual(yield* stored(name), undefined)

        const failed = yield* Effect.exit(Effect.scoped(Effect.andThen(Compute.scoped({ name }), Effect.fail("mine"))))
        assert.deepStrictEqual(failed, Exit.fail("mine"))
        assert.strictEqual(yield* stored(name), undefined)

        const held = yield* Effect.forkChild(Effect.scoped(Effect.andThen(Compute.scoped({ name }), Effect.never)))
        while ((yield* stored(name)) === undefined) yield* Effect.sleep("5 millis")
        yield* Fiber.interrupt(held)
        assert.strictEqual(yield* stored(name), undefined)
      })
    )

    it.effect("a wait ends at once when the Compute is deleted, or replaced by a stranger", () =>
      Effect.gen(function* () {
        const name = freshName()
        const api = yield* ComputeApi
        const namespace = (yield* Namespace).name
        const compute = yield* Compute.apply({ name, suspend: true })
        const waiting = yield* Effect.forkChild(Effect.flip(compute.ready()))
        yield* Effect.sleep("100 millis")
        yield* api.delete({ namespace, name })
        const stranger = yield* Compute.apply({ name })
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "ComputeDeleted")
        // A late deletion of the first leaves the stranger alone.
        yield* compute.delete()
        assert.notStrictEqual(yield* stored(name), undefined)
        // So do its other methods: they speak of the first, which is gone.
        assert.isFalse(yield* compute.isReady)
        assert.strictEqual((yield* Effect.flip(compute.suspend()))._tag, "ComputeDeleted")
        yield* stranger.delete()
      })
    )

    it.effect("bad input fails before anything is sent, naming the field", () =>
      Effect.gen(function* () {
        const name = freshName()
        for (const [options, field] of [
          [{ name: "Not_A_Name" }, "name"],
          [{ name, image: "" }, "image"],
          [{ name, port: 70_000 }, "port"],
          [{ name, env: { "A=B": "1" } }, "env.A=B"],
          [{ name, timeout: -1 }, "timeout"]
        ] as const) {
          const error = yield* Effect.flip(Compute.scoped(options))
          assert.strictEqual(error._tag === "InvalidInput" ? error.field : error._tag, field)
        }
        assert.strictEqual(yield* stored(name), undefined)
      })
    )
  })
