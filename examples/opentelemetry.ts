/**
 * OpenTelemetry: the same spans through OpenTelemetry's own SDK, where the processors, samplers and exporters that it has
 * are wanted, or where other code of the process uses it already. One layer at the edge, like in `observability.ts`.
 *
 * `OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/opentelemetry.ts`
 */
// By module: the index leaves out the SDKs of Node and of browsers, so that each needs its own packages alone.
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { NodeRuntime } from "@effect/platform-node"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http"
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Config, Effect, Layer, Stream } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

/** Spans to one collector. The end of the layer sends what is left. */
export const telemetry = (baseUrl: string) =>
  NodeSdk.layer(() => ({
    resource: { serviceName: "opentelemetry-example" },
    spanProcessor: new BatchSpanProcessor(new OTLPTraceExporter({ url: `${baseUrl}/v1/traces` })),
    // As long as the exporter tries: with less, the last spans are lost to a collector that is slow to answer.
    shutdownTimeout: "10 seconds"
  }))

export const program = Effect.gen(function* () {
  const compute = yield* Compute.scoped({ name: "opentelemetry" })
  yield* compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
  const echoed = yield* compute.streamTensors([Tensor.randn([10, 10])]).pipe(Stream.runCollect)
  return echoed.length
}).pipe(Effect.scoped, Effect.withSpan("job"))

const endpoint = Config.String("OTEL_EXPORTER_OTLP_ENDPOINT").pipe(Config.withDefault("http://localhost:4318"))

if (import.meta.main) {
  program.pipe(
    Effect.provide(Kpu.layer),
    Effect.provide(Layer.unwrap(Effect.map(endpoint, telemetry))),
    NodeRuntime.runMain
  )
}
