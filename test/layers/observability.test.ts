import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { FetchHttpClient } from "effect/http"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Otlp } from "effect/observability"
import * as Stream from "effect/Stream"
import { Compute, LocalCluster, Tensor } from "effect-kpu"
import * as Example from "../../examples/observability.ts"
import * as OtlpReceiver from "../kit/OtlpReceiver.ts"
import * as TensorServer from "../kit/TensorServer.ts"

const { attributes } = OtlpReceiver

/** Runs a program with telemetry to a receiver; gives what it received once everything has been sent. */
const observed = <A, E>(program: Effect.Effect<A, E, Layer.Success<typeof LocalCluster.layer>>) =>
  Effect.gen(function* () {
    const receiver = yield* OtlpReceiver.make
    const layer = Otlp.layerJson({ baseUrl: receiver.url, resource: { serviceName: "test" } }).pipe(
      Layer.provide(FetchHttpClient.layer)
    )
    // The layer's end sends what is left.
    yield* program.pipe(Effect.provide(LocalCluster.layer), Effect.provide(layer, { local: true }), Effect.exit)
    return receiver
  })

describe("spans", () => {
  it.live("of a job are one trace, with OpenTelemetry's names for RPC, server and Kubernetes", () =>
    Effect.gen(function* () {
      const receiver = yield* observed(Example.program)
      const spans = receiver.spans()
      const job = spans.find(({ name }) => name === "job")!
      const ofJob = spans.filter(({ traceId }) => traceId === job.traceId)

      const send = ofJob.find(({ name }) => name === "kpu.torch.Service/ReceiveTensors")!
      const sent = attributes(send.attributes)
      assert.strictEqual(send.kind, 3)
      assert.strictEqual(sent["rpc.system"], "grpc")
      assert.strictEqual(sent["rpc.service"], "kpu.torch.Service")
      assert.strictEqual(sent["rpc.method"], "ReceiveTensors")
      assert.strictEqual(sent["rpc.grpc.status_code"], 0)
      assert.strictEqual(sent["k8s.namespace.name"], "default")
      assert.strictEqual(sent["kpu.compute.name"], "observability")
      assert.strictEqual(sent["server.address"], "127.0.0.1")
      assert.isNumber(sent["server.port"])
      assert.strictEqual(sent["kpu.sent.tensors"], 2)
      assert.isAbove(Number(sent["kpu.sent.bytes"]), (100 * 100 + 50 * 50) * 4)

      const stream = ofJob.find(({ name }) => name === "kpu.torch.Service/StreamTensors")!
      const streamed = attributes(stream.attributes)
      assert.strictEqual(streamed["kpu.sent.tensors"], 1)
      assert.strictEqual(streamed["kpu.received.tensors"], 1)
      assert.isAbove(Number(streamed["kpu.received.bytes"]), 400)

      const apply = ofJob.find(({ name }) => name === "Kubernetes.apply")!
      const applied = attributes(apply.attributes)
      assert.strictEqual(applied["http.request.method"], "PATCH")
      assert.strictEqual(applied["k8s.namespace.name"], "default")
      for (const name of ["Compute.scoped", "Compute.ready", "TensorClient.connect", "Kubernetes.delete"]) {
        assert.isDefined(
          spans.find((span) => span.name === name),
          name
        )
      }
    }).pipe(Effect.scoped)
  )

  it.live("of a failed call carry its status, and none carries a secret or an element", () =>
    Effect.gen(function* () {
      const receiver = yield* observed(
        Effect.gen(function* () {
          const compute = yield* Compute.scoped({ name: "my-compute", env: { PASSWORD: "hunter2" } })
          yield* compute.receiveTensors({ count: 100_000, deadline: "100 millis" }).pipe(Stream.runDrain, Effect.ignore)
          yield* compute.sendTensors([{ tensor: Tensor.zeros([1]), metadata: { secret: "hunter2" } }])
        }).pipe(Effect.scoped)
      )
      const call = receiver.spans().find(({ name }) => name === "kpu.torch.Service/SendTensors")!
      const values = attributes(call.attributes)
      assert.strictEqual(values["rpc.grpc.status_code"], 4)
      assert.strictEqual(values["error.type"], "DEADLINE_EXCEEDED")
      assert.strictEqual(call.status.code, 2)
      for (const { text } of receiver.bodies) assert.notInclude(text, "hunter2")
    }).pipe(Effect.scoped)
  )
})

describe("the trace's context", () => {
  const job = (server: TensorServer.TensorServer) =>
    Effect.gen(function* () {
      const compute = yield* Compute.scoped({ name: "my-compute", host: server.host, port: server.port })
      yield* compute.streamTensors([Tensor.zeros([4])]).pipe(Stream.runDrain)
    }).pipe(Effect.scoped)

  const withServer = (program: typeof job) =>
    Effect.gen(function* () {
      const parents: Array<unknown> = []
      const server = yield* TensorServer.serve({
        stream: (call) => {
          parents.push(call.metadata.get("traceparent")[0])
          call.on("data", (chunk) => call.write(chunk))
          call.on("end", () => call.end())
        }
      })
      return { server, parents, run: program(server) }
    })

  it.live("goes to the tensor server in the call's metadata", () =>
    Effect.gen(function* () {
      const { parents, run } = yield* withServer(job)
      const receiver = yield* observed(run)
      const call = receiver.spans().find(({ name }) => name === "kpu.torch.Service/StreamTensors")!
      assert.deepStrictEqual(parents, [`00-${call.traceId}-${call.spanId}-01`])
    }).pipe(Effect.scoped)
  )

  it.live("does not where nobody traces", () =>
    Effect.gen(function* () {
      const { parents, run } = yield* withServer(job)
      yield* run.pipe(Effect.provide(LocalCluster.layer))
      assert.deepStrictEqual(parents, [undefined])
    }).pipe(Effect.scoped)
  )
})

describe("metrics", () => {
  it.live("count bytes, tensors, durations, requests, and the channels that are open", () =>
    Effect.gen(function* () {
      const receiver = yield* observed(Example.program)
      const last = new Map(receiver.metrics().map((metric) => [metric.name, metric]))
      const total = (name: string) =>
        (last.get(name)?.sum?.dataPoints ?? last.get(name)?.gauge?.dataPoints ?? []).reduce(
          (sum, point) => sum + Number(point.asDouble ?? point.asInt ?? 0),
          0
        )
      assert.isAtLeast(total("kpu.client.sent.tensors"), 3)
      assert.isAtLeast(total("kpu.client.received.tensors"), 1)
      assert.isAbove(total("kpu.client.sent.bytes"), 50_000)
      assert.isAbove(total("kpu.client.received.bytes"), 400)
      assert.isDefined(last.get("kpu.client.channels.open"))
      assert.isDefined(last.get("kpu.client.kubernetes.request.duration")?.histogram)
      const calls = last
        .get("rpc.client.call.duration")
        ?.histogram?.dataPoints.map((point) => attributes(point.attributes))
      assert.include(
        (calls ?? []).map((call) => `${call["rpc.method"]} ${call["rpc.response.status_code"]}`),
        "ReceiveTensors OK"
      )
    }).pipe(Effect.scoped)
  )

  it.live("say which channels are open now, and that none is when all is done", () =>
    Effect.gen(function* () {
      const openChannels = Effect.map(
        Metric.snapshot,
        (all) =>
          (all.find(({ id }) => id === "kpu.client.channels.open")?.state as { value: number } | undefined)?.value ?? 0
      )
      const before = yield* openChannels
      yield* Effect.gen(function* () {
        yield* Compute.scoped({ name: "a" })
        yield* Compute.scoped({ name: "b" })
        assert.strictEqual((yield* openChannels) - before, 2)
      }).pipe(Effect.scoped, Effect.provide(LocalCluster.layer))
      assert.strictEqual(yield* openChannels, before)
    })
  )
})

describe("watch restarts", () => {
  it.live("are counted", () =>
    Effect.gen(function* () {
      const restarts = Effect.map(
        Metric.snapshot,
        (all) =>
          (all.find(({ id }) => id === "kpu.client.watch.restarts")?.state as { count: number } | undefined)?.count ?? 0
      )
      const before = yield* restarts
      yield* Effect.gen(function* () {
        const cluster = yield* LocalCluster
        const compute = yield* Compute.apply({ name: "my-compute" })
        yield* compute.ready()
        // Something must watch while the watches are cut.
        yield* Effect.forkScoped(Stream.runDrain(compute.changes))
        yield* Effect.sync(() => cluster.cutWatches()).pipe(
          Effect.delay("50 millis"),
          Effect.andThen(restarts),
          Effect.repeat({ until: (now) => now > before })
        )
      }).pipe(Effect.scoped, Effect.provide(LocalCluster.layer))
    })
  )
})

describe("logs", () => {
  it.live("are structured: which Compute they are about stands beside the words", () =>
    Effect.gen(function* () {
      const receiver = yield* observed(Example.program)
      const ready = receiver.logs().find(({ text }) => text.includes("Ready=True"))!
      assert.strictEqual(ready.attributes["k8s.namespace.name"], "default")
      assert.strictEqual(ready.attributes["kpu.compute.name"], "observability")
    }).pipe(Effect.scoped)
  )
})
