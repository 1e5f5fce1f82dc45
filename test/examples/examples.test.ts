import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Compute, Endpoint, Kpu, KubeConfig, LocalCluster, Tensor, TorchFile } from "effect-kpu"
import { init } from "effect-kpu/promise"
import * as ErrorHandling from "../../examples/error-handling.ts"
import * as ExternalAccess from "../../examples/external-access.ts"
import * as ManualLifecycle from "../../examples/manual-lifecycle.ts"
import * as Parallel from "../../examples/parallel.ts"
import { mapFolder } from "../../examples/pipeline.ts"
import * as Promises from "../../examples/promises.ts"
import * as ScopedUse from "../../examples/scoped-use.ts"
import { sendWeights } from "../../examples/send-weights.ts"
import * as Service from "../../examples/service.ts"
import * as SuspendAndResume from "../../examples/suspend-and-resume.ts"

const gone = (name: string) =>
  Compute.attach(name).pipe(
    Effect.scoped,
    Effect.as(false),
    Effect.catchReason("KubernetesError", "NotFound", () => Effect.succeed(true))
  )

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "effect-kpu-examples-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

describe("the examples", () => {
  layer(LocalCluster.layer, { excludeTestServices: true })((it) => {
    it.effect("scoped use sends, receives, streams, and leaves nothing behind", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* ScopedUse.program, { sent: 2, received: 2, echoed: 2 })
        assert.isTrue(yield* gone("scoped-use"))
      })
    )

    it.effect("manual lifecycle sets up, works from elsewhere, and tears down", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* ManualLifecycle.program, "Received 1 tensor(s)")
        assert.isTrue(yield* gone("manual-lifecycle"))
      })
    )

    it.effect("suspend and resume refuses tensors in between", () =>
      Effect.gen(function* () {
        const { after, before, refused } = yield* SuspendAndResume.program
        assert.strictEqual(refused, "NotReady")
        assert.strictEqual(before, after)
      })
    )

    it.effect("external access goes through a named host and port, and through the gateway", () =>
      Effect.gen(function* () {
        const cluster = yield* LocalCluster
        const compute = yield* Compute.apply({ name: "external-access" })
        yield* compute.ready()
        const forwarded = cluster.resolve("default", "external-access")!
        assert.strictEqual(
          yield* ExternalAccess.throughPortForward(forwarded.host, forwarded.port),
          "Received 1 tensor(s)"
        )
        yield* compute.delete()
        const outside = Kpu.layerWith({
          config: KubeConfig.layerOptions({ server: cluster.url, token: cluster.token }),
          endpoint: Endpoint.layerGateway(cluster.gatewayAddress)
        })
        assert.strictEqual(yield* ExternalAccess.throughGateway.pipe(Effect.provide(outside)), "Received 1 tensor(s)")
      })
    )

    it.effect("error handling tells a person what is wrong", () =>
      Effect.gen(function* () {
        const [good, bad, absent] = yield* ErrorHandling.program
        assert.strictEqual(good, "Received 1 tensor(s)")
        assert.match(bad!, /^wrong name: "Error Handling" must be lower-case/)
        assert.strictEqual(absent, "there is no such Compute")
      })
    )

    it.effect("promises do what the five programs do, without Effect", () =>
      Effect.gen(function* () {
        const context = yield* Effect.context<Layer.Success<typeof LocalCluster.layer>>()
        const cluster = yield* LocalCluster
        yield* Effect.promise(async () => {
          await using _client = init({ layer: Layer.succeedContext(context) })
          assert.deepStrictEqual(await Promises.scopedUse(), { sent: 2, received: 2, echoed: 2 })
          assert.strictEqual(await Promises.manualLifecycle(), "Received 1 tensor(s)")
          assert.deepStrictEqual(await Promises.suspendAndResume(), [false, true])
          assert.strictEqual(await Promises.errorHandling("error-handling"), "Received 1 tensor(s)")
          assert.match(
            await Promises.errorHandling("Error Handling"),
            /^wrong name: "Error Handling" must be lower-case/
          )
        })
        for (const name of ["scoped-use", "manual-lifecycle", "suspend-and-resume", "error-handling"]) {
          assert.isTrue(yield* gone(name), name)
        }
        const compute = yield* Compute.scoped({ name: "external-access" })
        const { host, port } = cluster.resolve(compute.namespace, compute.name)!
        yield* Effect.promise(async () => {
          await using _client = init({ layer: Layer.succeedContext(context) })
          assert.strictEqual(await Promises.externalAccess(host, port), "Received 1 tensor(s)")
        })
      }).pipe(Effect.scoped)
    )

    it.effect("weights of a state dict are sent one by one", () =>
      Effect.gen(function* () {
        const file = join(yield* folder, "model.pt")
        yield* TorchFile.write(file, {
          "layer.weight": Tensor.randn([64, 32]),
          "layer.bias": Tensor.zeros([64], { dtype: "bfloat16" }),
          "head.weight": Tensor.randn([10, 64])
        })
        const receipt = yield* sendWeights(file)
        assert.strictEqual(receipt.receivedTensorIds.length, 3)
      }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
    )

    it.effect("the pipeline writes each file again under its name", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const tensors = new Map([1, 2, 3].map((size): [string, Tensor] => [`${size}.pt`, Tensor.randn([size, 100])]))
        for (const [name, tensor] of tensors) {
          yield* Effect.promise(() => writeFile(join(root, name), Tensor.toTorch(tensor)))
        }
        const out = join(root, "out")
        const written = yield* mapFolder(root, out)
        assert.deepStrictEqual(yield* Effect.promise(() => readdir(out)), [...tensors.keys()])
        for (const path of written) {
          const back = yield* Effect.flatMap(
            Effect.promise(() => readFile(path)),
            (bytes) => Tensor.fromTorch(bytes)
          )
          assert.isTrue(Tensor.equals(back, tensors.get(path.slice(out.length + 1))!))
        }
      }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
    )

    it.effect("Computes in parallel do all the work between them", () =>
      Effect.gen(function* () {
        const { done, of } = yield* Parallel.program
        assert.strictEqual(done.length, 3)
        assert.strictEqual(
          done.reduce((sum, count) => sum + count, 0),
          of
        )
      })
    )

    it.effect("a service holds its Compute for as long as its layer", () =>
      Effect.gen(function* () {
        const answers = yield* Service.program.pipe(Effect.provide(Service.Model.layer))
        assert.deepStrictEqual(answers, [
          [1, 2, 3],
          [4, 5, 6]
        ])
        assert.isTrue(yield* gone("model"))
      })
    )
  })

  it("are all named in examples/README.md", async () => {
    const root = resolve(import.meta.dirname, "../../examples")
    const readme = await readFile(join(root, "README.md"), "utf8")
    for (const name of await readdir(root)) {
      if (name !== "README.md") assert.include(readme, `\`${name}`)
    }
  })
})
