import { readFile } from "node:fs/promises"
import { resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { Compute, Endpoint, GrpcChannel, Kpu, KubeConfig, LocalCluster, Tensor } from "effect-kpu"
import { vi } from "vitest"
import * as Own from "../../examples/observability.ts"
import * as Sdk from "../../examples/opentelemetry.ts"
import * as FaultProxy from "../kit/FaultProxy.ts"
import * as OtlpReceiver from "../kit/OtlpReceiver.ts"
import * as TensorServer from "../kit/TensorServer.ts"

const { attributes, observed } = OtlpReceiver

const transports = [
  { transport: "layerGrpcJs", channel: GrpcChannel.layerGrpcJs },
  { transport: "layerHttp2", channel: GrpcChannel.layerHttp2 }
] as const

/** Echoes, and keeps the trace contexts that it was called with. */
const tracedServer = Effect.gen(function* () {
  const parents: Array<unknown> = []
  const server = yield* TensorServer.serve({
    stream: (call) => {
      parents.push(call.metadata.get("traceparent")[0])
      call.on("data", (chunk) => call.write(chunk))
      call.on("end", () => call.end())
    }
  })
  const job = Effect.gen(function* () {
    const compute = yield* Compute.scoped({ name: "my-compute", host: server.host, port: server.port })
    yield* compute.streamTensors([Tensor.zeros([4])]).pipe(Stream.runDrain)
  }).pipe(Effect.scoped)
  return { parents, job }
})

describe.each([
  { exporter: "Effect's own exporter", example: Own, name: "observability" },
  { exporter: "OpenTelemetry's SDK", example: Sdk, name: "opentelemetry" }
])("spans through $exporter", ({ example, name }) => {
  it.live("of a job are one trace, with OpenTelemetry's names for RPC, HTTP, server and Kubernetes", () =>
    Effect.gen(function* () {
      const { exit, receiver } = yield* observed(example.program, example.telemetry)
      assert.strictEqual(exit._tag, "Success")
      const spans = receiver.spans()
      const job = spans.find((span) => span.name === "job")!
      assert.notOk(job.parentSpanId)
      const ofJob = spans.filter(({ traceId }) => traceId === job.traceId)
      const one = (wanted: string) => {
        const found = ofJob.filter((span) => span.name === wanted)
        assert.strictEqual(found.length, 1, wanted)
        return { ...found[0]!, values: attributes(found[0]!.attributes) }
      }
      const parentOf = (child: OtlpReceiver.ReceivedSpan) =>
        ofJob.find(({ spanId }) => spanId === child.parentSpanId)?.name
      for (const span of ofJob) if (span !== job) assert.isDefined(parentOf(span), `the parent of ${span.name}`)

      const body = receiver.bodies.find(({ path }) => path === "/v1/traces")!
      const { resource } = JSON.parse(body.text).resourceSpans[0]
      assert.strictEqual(attributes(resource.attributes)["service.name"], `${name}-example`)

      const port = one("TensorClient.connect").values["server.port"]
      assert.isNumber(port)
      const call = (method: string) => ({
        "rpc.system": "grpc",
        "rpc.service": "kpu.torch.Service",
        "rpc.method": method,
        "rpc.grpc.status_code": 0,
        "k8s.namespace.name": "default",
        "kpu.compute.name": name,
        "server.address": "127.0.0.1",
        "server.port": port
      })
      const send = one("kpu.torch.Service/ReceiveTensors")
      assert.strictEqual(parentOf(send), "job")
      assert.strictEqual(send.kind, 3)
      assert.deepInclude(send.values, { ...call("ReceiveTensors"), "kpu.sent.tensors": 2, "kpu.received.tensors": 0 })
      assert.isAbove(Number(send.values["kpu.sent.bytes"]), (100 * 100 + 50 * 50) * 4)

      const stream = one("kpu.torch.Service/StreamTensors")
      assert.strictEqual(parentOf(stream), "job")
      assert.deepInclude(stream.values, {
        ...call("StreamTensors"),
        "kpu.sent.tensors": 1,
        "kpu.received.tensors": 1
      })
      assert.isAbove(Number(stream.values["kpu.received.bytes"]), 400)

      const apply = one("Kubernetes.apply")
      assert.strictEqual(apply.kind, 3)
      assert.deepInclude(apply.values, {
        "http.request.method": "PATCH",
        "http.response.status_code": 201,
        "url.path": `/apis/compute.kpu.dev/v1alpha1/namespaces/default/computes/${name}`,
        "k8s.resource.kind": "Compute",
        "k8s.resource.name": name,
        "k8s.namespace.name": "default",
        "server.address": "127.0.0.1"
      })
      assert.isNumber(apply.values["server.port"])
      assert.notProperty(apply.values, "error.type")
      for (const operation of ["Compute.scoped", "Compute.ready"]) {
        assert.deepInclude(one(operation).values, { "k8s.namespace.name": "default", "kpu.compute.name": name })
      }
      assert.strictEqual(parentOf(one("Compute.scoped")), "job")
      one("Kubernetes.delete")
    }).pipe(Effect.scoped)
  )

  it.live("of what failed carry its status", () =>
    Effect.gen(function* () {
      const { receiver } = yield* observed(
        Effect.gen(function* () {
          yield* Effect.ignore(Compute.attach("nobody"))
          const compute = yield* Compute.scoped({ name: "my-compute" })
          yield* compute.receiveTensors({ count: 100_000, deadline: "100 millis" }).pipe(Stream.runDrain, Effect.ignore)
          yield* compute.receiveTensors({ count: 100_000 }).pipe(Stream.take(1), Stream.runDrain)
        }).pipe(Effect.scoped),
        example.telemetry
      )
      const failed = (wanted: string) =>
        receiver.spans().filter(({ name, status }) => name === wanted && status.code === 2)
      const [get] = failed("Kubernetes.get")
      assert.deepInclude(attributes(get!.attributes), { "http.response.status_code": 404, "error.type": "NotFound" })
      const calls = receiver.spans().filter(({ name }) => name === "kpu.torch.Service/SendTensors")
      assert.deepStrictEqual(
        calls.map((call) => {
          const values = attributes(call.attributes)
          return [values["rpc.grpc.status_code"], values["error.type"]]
        }),
        [
          [4, "DEADLINE_EXCEEDED"],
          // A stream that is left early is cancelled.
          [1, "CANCELLED"]
        ]
      )
      assert.strictEqual(calls[0]!.status.code, 2)
    }).pipe(Effect.scoped)
  )

  it.live.each(transports)("are the parents of what a tensor server traces, over $transport", ({ channel }) =>
    Effect.gen(function* () {
      const { job, parents } = yield* tracedServer
      const { receiver } = yield* observed(job, example.telemetry, LocalCluster.layerWith({ channel }))
      const call = receiver.spans().find(({ name }) => name === "kpu.torch.Service/StreamTensors")!
      assert.deepStrictEqual(parents, [`00-${call.traceId}-${call.spanId}-01`])
    }).pipe(Effect.scoped)
  )
})

describe("secrets", () => {
  it.live("stand in no span, metric or log line, however much is logged and whatever fails", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const cluster = yield* LocalCluster
        const layer = Kpu.layerWith({
          config: KubeConfig.layerOptions({ server: cluster.url, token: cluster.token }),
          endpoint: Endpoint.layerGateway(cluster.gatewayAddress)
        })
        const refused = Kpu.layerWith({ config: KubeConfig.layerOptions({ server: cluster.url, token: "hunter2" }) })
        const dead = Kpu.layerWith({
          config: KubeConfig.layerOptions({ server: "https://127.0.0.1:1", token: "hunter2" }),
          channel: GrpcChannel.layerHttp2With({ tls: true, token: Redacted.make("hunter2") }),
          timeouts: { request: "1 second" }
        })
        for (const wrong of [refused, dead]) {
          yield* Compute.attach("my-compute").pipe(Effect.scoped, Effect.provide(wrong), Effect.exit)
        }
        yield* Effect.gen(function* () {
          const compute = yield* Compute.scoped({ name: "my-compute", env: { PASSWORD: "hunter2" } })
          yield* compute.sendTensors([{ tensor: Tensor.zeros([1]), metadata: { secret: "hunter2" } }])
          yield* compute.receiveTensors({ parameters: { secret: "hunter2" } }).pipe(Stream.runDrain)
          yield* compute.sendTensors([Tensor.zeros([1])], { deadline: 1 }).pipe(Effect.exit)
          yield* compute.suspend()
        }).pipe(Effect.scoped, Effect.provide(layer))
        return cluster.token
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "Trace"))
      const { exit, receiver } = yield* observed(program, Own.telemetry)
      assert.strictEqual(exit._tag, "Success")
      const token = exit._tag === "Success" ? exit.value : ""
      assert.isAbove(token.length, 8)
      // What carried the secrets is there, and is without them.
      const told = receiver.spans().map(({ name }) => name)
      assert.includeMembers(told, [
        "Kubernetes.apply",
        "kpu.torch.Service/ReceiveTensors",
        "kpu.torch.Service/SendTensors"
      ])
      assert.isAbove(receiver.logs().length, 3)
      for (const { text } of receiver.bodies) {
        assert.notInclude(text, "hunter2")
        assert.notInclude(text, token)
      }
    }).pipe(Effect.scoped)
  )
})

describe("where nobody traces", () => {
  it.live.each(transports)(
    "a tensor call has no trace context on the wire and makes no span, over $transport",
    ({ channel }) =>
      Effect.gen(function* () {
        const { job, parents } = yield* tracedServer
        const made = vi.spyOn(Tracer.nativeTracer, "span")
        yield* Effect.addFinalizer(() => Effect.sync(() => made.mockRestore()))
        yield* job.pipe(Effect.provide(LocalCluster.layerWith({ channel })))
        assert.deepStrictEqual(parents, [undefined])
        const names = made.mock.calls.map(([{ name }]) => name)
        assert.include(names, "Compute.scoped")
        assert.deepStrictEqual(
          names.filter((name) => name.includes("kpu.torch.Service")),
          []
        )
      }).pipe(Effect.scoped)
  )

  it.live("an unsampled trace goes on the wire as what it is", () =>
    Effect.gen(function* () {
      const { job, parents } = yield* tracedServer
      yield* job.pipe(Effect.withSpan("root", { sampled: false }), (program) => observed(program, Own.telemetry))
      assert.strictEqual(parents.length, 1)
      assert.match(String(parents[0]), /^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    }).pipe(Effect.scoped)
  )
})

describe("metrics", () => {
  it.live("count bytes, tensors, durations, requests, and the channels that are open", () =>
    Effect.gen(function* () {
      const { receiver } = yield* observed(Own.program, Own.telemetry)
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

describe("retries", () => {
  it.live("are counted by verb, and stand in the request's span", () =>
    Effect.gen(function* () {
      const { receiver } = yield* observed(
        Effect.gen(function* () {
          const cluster = yield* LocalCluster
          const proxy = yield* FaultProxy.make({ url: cluster.url })
          const body = FaultProxy.status(503, "ServiceUnavailable", "starting")
          const unavailable: FaultProxy.Fault = { _tag: "Answer", status: 503, body }
          yield* proxy.inject(() => true, unavailable, unavailable)
          const layer = Kpu.layerWith({
            config: KubeConfig.layerOptions({ server: proxy.url, token: cluster.token }),
            namespace: "default"
          })
          yield* Compute.attach("nobody").pipe(Effect.provide(layer), Effect.exit)
        }).pipe(Effect.scoped),
        Own.telemetry
      )
      const span = receiver.spans().find(({ name }) => name === "Kubernetes.get")!
      assert.deepInclude(attributes(span.attributes), { "http.request.resend_count": 2, "error.type": "NotFound" })
      const counted = receiver.metrics().findLast(({ name }) => name === "kpu.client.kubernetes.retries")
      const [point] = counted?.sum?.dataPoints ?? []
      assert.strictEqual(attributes(point?.attributes)["k8s.verb"], "get")
      assert.isAtLeast(Number(point?.asDouble ?? point?.asInt), 2)
    }).pipe(Effect.scoped)
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
      const { receiver } = yield* observed(Own.program, Own.telemetry)
      const ready = receiver.logs().find(({ text }) => text.includes("Ready=True"))!
      assert.strictEqual(ready.attributes["k8s.namespace.name"], "default")
      assert.strictEqual(ready.attributes["kpu.compute.name"], "observability")
    }).pipe(Effect.scoped)
  )
})

describe("docs/observability.md", () => {
  it.live("names each metric, span and attribute that there is", () =>
    Effect.gen(function* () {
      const read = (path: string) => Effect.promise(() => readFile(resolve(import.meta.dirname, "../..", path), "utf8"))
      const page = yield* read("docs/observability.md")
      const [, spans = "", metrics = ""] = /## Spans\n([\s\S]*)## Metrics\n([\s\S]*)## Logs/.exec(page) ?? []
      const named = (text: string) => new Set([...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name!))
      const { receiver } = yield* observed(Own.program, Own.telemetry)

      const source = yield* read("src/layers/internal/metrics.ts")
      const defined = [...source.matchAll(/\b(?:counter|gauge|histogram)\("([^"]+)"/g)].map(([, name]) => name!)
      assert.sameMembers(
        [...named(metrics)].filter((name) => /^kpu\.|^rpc\..*duration$/.test(name)),
        defined
      )
      for (const { name } of receiver.metrics()) assert.include(defined, name)

      const words = named(spans)
      for (const span of receiver.spans().filter(({ name }) => /^(Compute|Kubernetes|TensorClient|kpu)/.test(name))) {
        assert.isTrue(
          words.has(span.name) ||
            words.has(span.name.replace("kpu.torch.Service", "…")) ||
            /^Kubernetes\./.test(span.name),
          span.name
        )
        for (const { key } of span.attributes) {
          if (!key.startsWith("code.")) assert.isTrue(words.has(key), `${key} of ${span.name}`)
        }
      }
    }).pipe(Effect.scoped)
  )
})
