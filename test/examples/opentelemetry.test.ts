import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Compute, LocalCluster, Tensor } from "effect-kpu"
import * as Example from "../../examples/opentelemetry.ts"
import * as OtlpReceiver from "../kit/OtlpReceiver.ts"
import * as TensorServer from "../kit/TensorServer.ts"

const { attributes } = OtlpReceiver

/** Runs a program with the example's telemetry to a receiver; gives what it received once everything has been sent. */
const observed = <A, E>(program: Effect.Effect<A, E, Layer.Success<typeof LocalCluster.layer>>) =>
  Effect.gen(function* () {
    const receiver = yield* OtlpReceiver.make
    const exit = yield* program.pipe(
      Effect.provide(LocalCluster.layer),
      Effect.provide(Example.telemetry(receiver.url), { local: true }),
      Effect.exit
    )
    return { exit, receiver }
  })

describe("OpenTelemetry's SDK", () => {
  it.live("exports a job as one trace: names, attributes, kinds and parents arrive", () =>
    Effect.gen(function* () {
      const { exit, receiver } = yield* observed(Example.program)
      assert.strictEqual(exit._tag, "Success")
      const spans = receiver.spans()
      const one = (name: string) => {
        const found = spans.filter((span) => span.name === name)
        assert.strictEqual(found.length, 1, name)
        return found[0]!
      }
      const parentOf = (child: OtlpReceiver.ReceivedSpan) =>
        spans.find(({ spanId, traceId }) => spanId === child.parentSpanId && traceId === child.traceId)?.name

      const job = one("job")
      assert.notOk(job.parentSpanId)
      const resource = JSON.parse(receiver.bodies[0]!.text).resourceSpans[0].resource
      assert.strictEqual(attributes(resource.attributes)["service.name"], "opentelemetry-example")

      const send = one("kpu.torch.Service/ReceiveTensors")
      assert.strictEqual(parentOf(send), "job")
      assert.strictEqual(send.kind, 3)
      const sent = attributes(send.attributes)
      assert.strictEqual(sent["rpc.system"], "grpc")
      assert.strictEqual(sent["rpc.service"], "kpu.torch.Service")
      assert.strictEqual(sent["rpc.method"], "ReceiveTensors")
      assert.strictEqual(sent["rpc.grpc.status_code"], 0)
      assert.strictEqual(sent["k8s.namespace.name"], "default")
      assert.strictEqual(sent["kpu.compute.name"], "opentelemetry")
      assert.strictEqual(sent["server.address"], "127.0.0.1")
      assert.isNumber(sent["server.port"])
      assert.strictEqual(sent["kpu.sent.tensors"], 2)
      assert.isAbove(Number(sent["kpu.sent.bytes"]), (100 * 100 + 50 * 50) * 4)

      const stream = one("kpu.torch.Service/StreamTensors")
      assert.strictEqual(parentOf(stream), "job")
      const streamed = attributes(stream.attributes)
      assert.strictEqual(streamed["kpu.sent.tensors"], 1)
      assert.strictEqual(streamed["kpu.received.tensors"], 1)

      const scoped = one("Compute.scoped")
      assert.strictEqual(parentOf(scoped), "job")
      assert.strictEqual(attributes(scoped.attributes)["kpu.compute.name"], "opentelemetry")
      const apply = one("Kubernetes.apply")
      assert.strictEqual(apply.traceId, job.traceId)
      assert.strictEqual(attributes(apply.attributes)["http.request.method"], "PATCH")
      for (const span of spans.filter(({ traceId }) => traceId === job.traceId)) {
        if (span !== job) assert.isDefined(parentOf(span), `the parent of ${span.name}`)
      }
    }).pipe(Effect.scoped)
  )

  it.live("says which call failed and with which status, and carries no secret", () =>
    Effect.gen(function* () {
      const { receiver } = yield* observed(
        Effect.gen(function* () {
          const compute = yield* Compute.scoped({ name: "my-compute", env: { PASSWORD: "hunter2" } })
          yield* compute.receiveTensors({ count: 100_000, deadline: "100 millis" }).pipe(Stream.runDrain, Effect.ignore)
          yield* compute.sendTensors([{ tensor: Tensor.zeros([1]), metadata: { secret: "hunter2" } }])
        }).pipe(Effect.scoped)
      )
      const spans = receiver.spans()
      const call = spans.find(({ name }) => name === "kpu.torch.Service/SendTensors")!
      const values = attributes(call.attributes)
      assert.strictEqual(values["rpc.grpc.status_code"], 4)
      assert.strictEqual(values["error.type"], "DEADLINE_EXCEEDED")
      assert.strictEqual(call.status.code, 2)
      // The call that carried the secret did arrive as a span.
      assert.isDefined(spans.find(({ name }) => name === "kpu.torch.Service/ReceiveTensors"))
      for (const { text } of receiver.bodies) assert.notInclude(text, "hunter2")
    }).pipe(Effect.scoped)
  )

  it.live("gives the tensor server the exported span as the parent", () =>
    Effect.gen(function* () {
      const parents: Array<unknown> = []
      const server = yield* TensorServer.serve({
        stream: (call) => {
          parents.push(call.metadata.get("traceparent")[0])
          call.on("data", (chunk) => call.write(chunk))
          call.on("end", () => call.end())
        }
      })
      const { receiver } = yield* observed(
        Effect.gen(function* () {
          const compute = yield* Compute.scoped({ name: "my-compute", host: server.host, port: server.port })
          yield* compute.streamTensors([Tensor.zeros([4])]).pipe(Stream.runDrain)
        }).pipe(Effect.scoped)
      )
      const call = receiver.spans().find(({ name }) => name === "kpu.torch.Service/StreamTensors")!
      assert.deepStrictEqual(parents, [`00-${call.traceId}-${call.spanId}-01`])
    }).pipe(Effect.scoped)
  )
})
