/**
 * Observability: spans, metrics and logs by OTLP to a collector (OpenTelemetry's, Jaeger, Grafana Alloy, …). One layer at
 * the edge; the program knows nothing of it. Calls carry the trace's context to the tensor server.
 *
 * `OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/observability.ts`
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Stream } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import { Compute, Kpu, Tensor } from "effect-kpu"

/** Everything to one collector. */
export const telemetry = (baseUrl: string) =>
  Otlp.layerJson({ baseUrl, resource: { serviceName: "observability-example" } }).pipe(
    Layer.provide(FetchHttpClient.layer)
  )

export const program = Effect.gen(function* () {
  const compute = yield* Compute.scoped({ name: "observability" })
  yield* compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
  const echoed = yield* compute.streamTensors([Tensor.randn([10, 10])]).pipe(Stream.runCollect)
  yield* Effect.log("done", { tensors: echoed.length })
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
