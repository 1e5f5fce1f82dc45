import { spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import {
  Endpoint,
  GrpcError,
  InvalidInput,
  KubeConfigError,
  LocalCluster,
  NotReady,
  TensorDecodeError
} from "effect-kpu"
import { Compute, init, shutdown, Tensor } from "effect-kpu/promise"
import { afterEach, vi } from "vitest"
import type { LocalClusterOptions } from "../../src/LocalCluster.ts"

const quiet = Logger.layer([])
const local = (options: LocalClusterOptions = {}) =>
  init({ layer: Layer.mergeAll(LocalCluster.layerWith({ startDelay: 0, ...options }), quiet) })

const rejection = async (promise: Promise<unknown>): Promise<any> =>
  promise.then(
    () => assert.fail("it should have been rejected"),
    (error) => error
  )

const shapes = (tensors: ReadonlyArray<Tensor>) => tensors.map(({ shape }) => shape)

afterEach(() => shutdown())

describe("init", () => {
  it("is called once: the second call is an error that says so", () => {
    init({ namespace: "team-a" })
    try {
      init({ namespace: "team-b" })
      assert.fail("the second call should throw")
    } catch (error) {
      assert.instanceOf(error, InvalidInput)
      assert.strictEqual(error.message, "init: the client is configured already; init() is called once")
    }
  })

  it("is called before the first Compute", async () => {
    local()
    await rejection(Compute.attach("nobody"))
    try {
      init()
      assert.fail("init should throw")
    } catch (error) {
      assert.instanceOf(error, InvalidInput)
      assert.include(error.message, "in use already")
    }
  })

  it("may be called anew after shutdown", async () => {
    local({ namespace: "team-a" })
    await shutdown()
    local({ namespace: "team-b" })
    await using compute = await Compute.apply({ name: "my-compute" })
    assert.strictEqual(compute.namespace, "team-b")
  })

  it("gives what closes the client at the end of a block, Computes first", async () => {
    let compute: Compute
    {
      await using _client = local()
      compute = await Compute.create({ name: "my-compute" })
      assert.isTrue(await compute.isReady())
    }
    const error = await rejection(compute.sendTensors(Tensor.zeros([1])))
    assert.instanceOf(error, NotReady)
    assert.include(error.message, "has closed")
    init()
  })

  it("leaves another client alone that was configured after its own was shut down", async () => {
    const first = local()
    await shutdown()
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    await first[Symbol.asyncDispose]()
    assert.isTrue(await compute.isReady())
  })

  it("may be called after a first use that found no cluster", async () => {
    vi.stubEnv("KUBECONFIG", "/nowhere/config")
    vi.stubEnv("KUBERNETES_SERVICE_HOST", "")
    try {
      const error = await rejection(Compute.attach("my-compute"))
      assert.instanceOf(error, KubeConfigError)
      assert.include(error.message, "/nowhere/config")
    } finally {
      vi.unstubAllEnvs()
    }
    local()
    await using compute = await Compute.apply({ name: "my-compute" })
    assert.strictEqual(compute.name, "my-compute")
  })

  it("takes server and credentials, the namespace, and how Computes are dialled", async () => {
    const scope = Scope.makeUnsafe()
    try {
      const cluster = await Effect.runPromise(Scope.provide(LocalCluster.start({ namespaces: ["team-a"] }), scope))
      init({
        config: { server: cluster.url, token: cluster.token },
        namespace: "team-a",
        endpoint: Endpoint.layerGateway(cluster.gatewayAddress)
      })
      await using compute = await Compute.create({ name: "my-compute" })
      assert.strictEqual(compute.namespace, "team-a")
      // the Compute's own host and port win, as with `kubectl port-forward`
      const forwarded = cluster.resolve("team-a", "my-compute")!
      await using outside = await Compute.attach("my-compute", { host: forwarded.host, port: forwarded.port })
      await outside.ready()
      for (const each of [compute, outside]) {
        assert.strictEqual((await each.sendTensors(Tensor.zeros([1]))).message, "Received 1 tensor(s)")
      }
      await shutdown()
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  })

  it("and shutdown twice is no error", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    await Promise.all([shutdown(), shutdown()])
    await shutdown()
    assert.instanceOf(await rejection(compute.sendTensors(Tensor.zeros([1]))), NotReady)
  })

  it("names the field of a wrong configuration, and the next call tries anew", async () => {
    init({ namespace: "No Namespace", config: { server: "https://127.0.0.1:1", token: "secret" } })
    for (const _ of [1, 2]) {
      const error = await rejection(Compute.attach("my-compute"))
      assert.instanceOf(error, InvalidInput)
      assert.strictEqual(error.field, "namespace")
    }
  })
})

describe("Compute", () => {
  it("goes through its life", async () => {
    local()
    await using compute = await Compute.apply({ name: "my-compute", env: { LOG_LEVEL: "DEBUG" } })
    assert.strictEqual(compute.name, "my-compute")
    assert.instanceOf(await rejection(compute.sendTensors(Tensor.zeros([1]))), NotReady)
    await compute.ready({ timeout: "1 minute" })
    assert.isTrue(await compute.isReady())
    assert.include(
      (compute.resource.status?.conditions ?? []).map(({ status, type }) => `${type}=${status}`),
      "Ready=True"
    )
    await compute.suspend()
    assert.isFalse(await compute.isReady())
    assert.instanceOf(await rejection(compute.receiveTensors().toArray()), NotReady)
    await compute.resume()
    assert.deepStrictEqual(shapes(await compute.receiveTensors().toArray()), [[10, 10]])
    await compute.delete({ gracePeriod: "60 seconds" })
    const error = await rejection(Compute.attach("my-compute"))
    assert.strictEqual(error._tag, "KubernetesError")
    assert.strictEqual(error.reason._tag, "NotFound")
  })

  it("is deleted at the end of the block when it was created, and left when it was applied or attached", async () => {
    local()
    {
      await using applied = await Compute.apply({ name: "stays" })
      await applied.ready()
      await using created = await Compute.create({ name: "goes" })
      await using attached = await Compute.attach("goes")
      assert.strictEqual(attached.resource.metadata.uid, created.resource.metadata.uid)
    }
    await using stays = await Compute.attach("stays")
    assert.isTrue(await stays.isReady())
    assert.strictEqual((await rejection(Compute.attach("goes"))).reason._tag, "NotFound")
  })

  it("shows its states as they change, the current one first, until it is deleted", async () => {
    local()
    await using compute = await Compute.apply({ name: "my-compute" })
    const seen: Array<string> = []
    for await (const { status } of compute.changes()) {
      const ready = status?.conditions?.find(({ type }) => type === "Ready")?.status
      if (seen.at(-1) !== ready) seen.push(ready ?? "none")
      if (ready === "True") await compute.delete()
    }
    assert.strictEqual(seen.at(-1), "True")
  })

  it("rejects with the error itself, before anything is sent where the input is wrong", async () => {
    local()
    const error = await rejection(Compute.create({ name: "Not A Name" }))
    assert.instanceOf(error, InvalidInput)
    assert.strictEqual(error.field, "name")
  })

  it("deletes what an aborted creation has made, and rejects with the signal's reason", async () => {
    local({ controller: false })
    const aborting = new AbortController()
    const creating = Compute.create({ name: "my-compute", signal: aborting.signal })
    const found = async (): Promise<void> => Compute.attach("my-compute").then((it) => it[Symbol.asyncDispose](), found)
    await found()
    const reason = new Error("no longer wanted")
    aborting.abort(reason)
    assert.strictEqual(await rejection(creating), reason)
    assert.strictEqual((await rejection(Compute.attach("my-compute"))).reason._tag, "NotFound")
  })

  it("does nothing under a signal that is aborted already, whatever is called", async () => {
    local()
    const reason = new Error("too late")
    const signal = AbortSignal.abort(reason)
    await using compute = await Compute.create({ name: "my-compute" })
    const { metadata } = compute.resource
    let asked = 0
    const source = async function* () {
      asked += 1
      yield Tensor.zeros([1])
    }
    const calls: { readonly [name: string]: () => Promise<unknown> } = {
      create: () => Compute.create({ name: "other", signal }),
      apply: () => Compute.apply({ name: "other", signal }),
      attach: () => Compute.attach("my-compute", { signal }),
      ready: () => compute.ready({ signal }),
      isReady: () => compute.isReady({ signal }),
      suspend: () => compute.suspend({ signal }),
      resume: () => compute.resume({ signal }),
      delete: () => compute.delete({ signal }),
      changes: () => compute.changes({ signal }).toArray(),
      sendTensors: () => compute.sendTensors(source(), { signal }),
      receiveTensors: () => compute.receiveTensors({ signal }).toArray(),
      receiveTensorMessages: () => compute.receiveTensorMessages({ signal }).toArray(),
      streamTensors: () => compute.streamTensors(source(), { signal }).toArray(),
      streamTensorMessages: () => compute.streamTensorMessages(source(), { signal }).toArray()
    }
    for (const [name, call] of Object.entries(calls)) assert.strictEqual(await rejection(call()), reason, name)
    assert.strictEqual(asked, 0)
    assert.isTrue(await compute.isReady())
    assert.strictEqual(compute.resource.metadata.resourceVersion, metadata.resourceVersion)
    assert.strictEqual((await rejection(Compute.attach("other"))).reason._tag, "NotFound")
  })

  it("rejects with the signal's reason what is aborted on its way, and goes on to work", async () => {
    local({ startDelay: "5 seconds" })
    await using waiting = await Compute.apply({ name: "waiting" })
    const abortSoon = () => AbortSignal.timeout(50)
    for (const call of [
      () => waiting.ready({ signal: abortSoon() }),
      () => waiting.resume({ signal: abortSoon() }),
      () => waiting.changes({ signal: abortSoon() }).toArray()
    ]) {
      assert.strictEqual((await rejection(call())).name, "TimeoutError")
    }
    assert.isFalse(await waiting.isReady())
    await waiting.delete()
  })

  it("stops a send that is aborted on its way: source and server hear of it", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    let ended = false
    const source = async function* () {
      try {
        while (true) yield Tensor.zeros([1000])
      } finally {
        ended = true
      }
    }
    const aborting = new AbortController()
    const sending = compute.sendTensors(source(), { signal: aborting.signal })
    setTimeout(() => aborting.abort(new Error("enough")), 50)
    assert.strictEqual((await rejection(sending)).message, "enough")
    assert.isTrue(ended)
    assert.strictEqual((await compute.sendTensors(Tensor.zeros([1]))).message, "Received 1 tensor(s)")
  })

  it("is disposed of once, however often that is asked for", async () => {
    local()
    const compute = await Compute.create({ name: "my-compute" })
    await Promise.all([compute[Symbol.asyncDispose](), compute[Symbol.asyncDispose]()])
    await compute[Symbol.asyncDispose]()
    assert.strictEqual((await rejection(Compute.attach("my-compute"))).reason._tag, "NotFound")
    assert.instanceOf(await rejection(compute.sendTensors(Tensor.zeros([1]))), NotReady)
  })
})

describe("tensors", () => {
  it("come from the bytes of torch.save as a promise, which rejects with the typed error", async () => {
    const tensor = Tensor.randn([2, 3])
    assert.isTrue(Tensor.equals(await Tensor.fromTorch(Tensor.toTorch(tensor)), tensor))
    assert.instanceOf(await rejection(Tensor.fromTorch(new Uint8Array(10))), TensorDecodeError)
  })

  it("are sent one alone, several, or from an async iterable", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const one = await compute.sendTensors(Tensor.randn([100, 100]))
    assert.strictEqual(one.message, "Received 1 tensor(s)")
    const two = await compute.sendTensors([Tensor.randn([3]), { tensor: Tensor.randn([4]), id: "second" }])
    assert.strictEqual(two.receivedTensorIds[1], "second")
    const many = await compute.sendTensors(
      (async function* () {
        for (let size = 1; size <= 5; size++) yield Tensor.zeros([size])
      })()
    )
    assert.strictEqual(many.receivedTensorIds.length, 5)
  })

  it("are received and streamed through as they come", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const received = compute.receiveTensors({ count: 2, parameters: { shape: "20,20" } })
    assert.deepStrictEqual(shapes(await received.toArray()), [
      [20, 20],
      [20, 20]
    ])
    const input = [Tensor.randn([10, 10]), Tensor.randn([20, 20])]
    const output: Array<Tensor> = []
    for await (const tensor of compute.streamTensors(input)) output.push(tensor)
    assert.isTrue(output.length === 2 && output.every((tensor, index) => Tensor.equals(tensor, input[index]!)))
    const [message] = await compute.streamTensorMessages([{ tensor: input[0]!, id: "a" }]).toArray()
    assert.strictEqual(message?.id, "processed_a")
  })

  it("pass from one Compute to the next", async () => {
    local()
    await using first = await Compute.create({ name: "first" })
    await using second = await Compute.create({ name: "second" })
    const input = [Tensor.randn([7]), Tensor.randn([8])]
    const output = await second.streamTensors(first.streamTensors(input)).toArray()
    assert.isTrue(output.every((tensor, index) => Tensor.equals(tensor, input[index]!)))
  })

  it("are asked for only as they are taken", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const tensor = Tensor.zeros([4 * 2 ** 20], { dtype: "uint8" })
    const total = 100
    let asked = 0
    const source = async function* () {
      for (; asked < total; asked++) yield tensor
    }
    const iterator = compute.streamTensors(source(), { budgetBytes: 8 * 2 ** 20 })[Symbol.asyncIterator]()
    assert.isFalse((await iterator.next()).done)
    // Nobody takes more: sooner or later the source is asked no more, long before its end.
    let before = -1
    while (before !== asked) {
      before = asked
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    assert.isBelow(asked, total)
    let taken = 1
    while ((await iterator.next()).done !== true) taken += 1
    assert.strictEqual(taken, total)
  })

  it("stop being asked for when a loop is left", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    let returned: (() => void) | undefined
    const ended = new Promise<void>((resolve) => {
      returned = resolve
    })
    const source = async function* () {
      try {
        while (true) yield Tensor.zeros([1000])
      } finally {
        returned?.()
      }
    }
    for await (const tensor of compute.streamTensors(source())) {
      assert.deepStrictEqual(tensor.shape, [1000])
      break
    }
    await ended
  })

  it("end with the signal's reason when it is aborted, even while the next one is awaited", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const aborting = new AbortController()
    // One tensor, and then nothing for ever.
    const source = async function* () {
      yield Tensor.zeros([1])
      await new Promise(() => {})
    }
    const seen: Array<Tensor> = []
    const looping = (async () => {
      for await (const tensor of compute.streamTensors(source(), { signal: aborting.signal })) {
        seen.push(tensor)
        setTimeout(() => aborting.abort(new Error("enough")), 10)
      }
    })()
    assert.strictEqual((await rejection(looping)).message, "enough")
    assert.strictEqual(seen.length, 1)
  })

  it("end at once by return(), even while the next one is awaited", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const source = async function* () {
      yield Tensor.zeros([1])
      await new Promise(() => {})
    }
    const iterator = compute.streamTensors(source())[Symbol.asyncIterator]()
    await iterator.next()
    const pending = iterator.next()
    await iterator.return?.()
    assert.isTrue((await pending).done)
    assert.isTrue((await iterator.next()).done)
  })

  it("fail with the user's own error when their source does", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const mine = new Error("the disk is on fire")
    const source = async function* () {
      yield Tensor.zeros([1])
      throw mine
    }
    assert.strictEqual(await rejection(compute.sendTensors(source())), mine)
    assert.strictEqual(await rejection(compute.streamTensors(source()).toArray()), mine)
  })

  it("fail with the typed errors of the Effect client", async () => {
    local()
    await using compute = await Compute.create({ name: "my-compute" })
    const late = await rejection(compute.receiveTensors({ count: 1_000_000, deadline: "50 millis" }).toArray())
    assert.instanceOf(late, GrpcError)
    assert.strictEqual(late.code, "DEADLINE_EXCEEDED")
    const chunks = await rejection(compute.sendTensors(Tensor.zeros([1]), { chunkSize: 0 }))
    assert.instanceOf(chunks, InvalidInput)
    assert.strictEqual(chunks.field, "chunkSize")
    const resource = { kind: "Compute", namespace: "default", name: "my-compute" }
    for (const [field, call] of [
      ["count", compute.receiveTensors({ count: 0 }).toArray()],
      ["count", compute.receiveTensorMessages({ count: 1.5 }).toArray()],
      ["tensors[1]", compute.sendTensors([Tensor.zeros([1]), 7 as never])],
      ["tensors[0].id", compute.streamTensors([{ tensor: Tensor.zeros([1]), id: "" }]).toArray()]
    ] as const) {
      const error = await rejection(call)
      assert.instanceOf(error, InvalidInput)
      assert.strictEqual(error.field, field)
      assert.deepStrictEqual({ ...error.resource }, resource)
    }
  })
})

describe("a process of its own", () => {
  it("finds the cluster by its kubeconfig, and ends by itself when the block does", async () => {
    const scope = Scope.makeUnsafe()
    const folder = await mkdtemp(join(tmpdir(), "effect-kpu-promise-"))
    try {
      const cluster = await Effect.runPromise(Scope.provide(LocalCluster.start({ namespaces: ["team-a"] }), scope))
      const kubeconfig = join(folder, "config")
      await writeFile(kubeconfig, cluster.kubeconfig)
      const script = `
        import { Endpoint } from "effect-kpu"
        import { Compute, init, Tensor } from "effect-kpu/promise"
        init({ namespace: "team-a", endpoint: Endpoint.layerGateway("${cluster.gatewayAddress}") })
        await using compute = await Compute.create({ name: "my-compute" })
        const output = await compute.streamTensors([Tensor.randn([10, 10])]).toArray()
        console.log("shape", compute.namespace, output[0].shape.join())
      `
      const child = spawn(
        process.execPath,
        ["--conditions=effect-kpu-source", "--input-type=module-typescript", "--eval", script],
        { cwd: resolve(import.meta.dirname, "../.."), env: { ...process.env, KUBECONFIG: kubeconfig } }
      )
      let printed = ""
      child.stdout.on("data", (data) => {
        printed += data
      })
      child.stderr.on("data", (data) => {
        printed += data
      })
      const code = await new Promise((resolve) => child.once("close", resolve))
      assert.strictEqual(code, 0, printed)
      assert.include(printed, "shape team-a 10,10")
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await rm(folder, { recursive: true })
    }
  })
})
