/**
 * What this client counts. Effect's metrics are values in memory: nothing leaves the process until an exporter reads them
 * (`effect/observability`, `@effect/opentelemetry`, Prometheus).
 *
 * **The hard thing** is not to count on the hot path: a call adds up its bytes in plain numbers, and tells them once, when
 * it ends.
 */
import type * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { GrpcCode } from "../../schema/KpuError.ts"

/** Seconds; the boundaries that OpenTelemetry's conventions give for RPC and HTTP durations, and longer ones for streams. */
const seconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300]

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })

const sentBytes = counter("kpu.client.sent.bytes", "Bytes of messages sent to tensor servers")
const receivedBytes = counter("kpu.client.received.bytes", "Bytes of messages received from tensor servers")
const sentTensors = counter("kpu.client.sent.tensors", "Tensors sent")
const receivedTensors = counter("kpu.client.received.tensors", "Tensors received")
const callDuration = Metric.histogram("rpc.client.call.duration", {
  description: "Seconds from the start of a call to its end",
  boundaries: seconds
})
const requestDuration = Metric.histogram("kpu.client.kubernetes.request.duration", {
  description: "Seconds of a request to the Kubernetes API, its retries included",
  boundaries: seconds
})
const kubernetesRetries = counter("kpu.client.kubernetes.retries", "Requests to the Kubernetes API that were repeated")
const watchRestarts = counter("kpu.client.watch.restarts", "Watches that ended and were opened again")

/** gRPC connections that are open now. */
export const openChannels = Metric.gauge("kpu.client.channels.open", {
  description: "gRPC connections to tensor servers that are open"
})

/** What a call has done by its end. */
export interface CallTotals {
  readonly method: string
  readonly status: GrpcCode
  readonly seconds: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly tensorsSent: number
  readonly tensorsReceived: number
}

/** One update for each of the values of a call. */
export const countCall = (totals: CallTotals): ReadonlyArray<Effect.Effect<void>> => {
  const method = { "rpc.method": totals.method }
  const duration = Metric.withAttributes(callDuration, {
    "rpc.system": "grpc",
    "rpc.service": "kpu.torch.Service",
    ...method,
    "rpc.response.status_code": totals.status
  })
  const updates = [Metric.update(duration, totals.seconds)]
  const add = (metric: typeof sentBytes, amount: number) => {
    if (amount > 0) updates.push(Metric.update(Metric.withAttributes(metric, method), amount))
  }
  add(sentBytes, totals.bytesSent)
  add(receivedBytes, totals.bytesReceived)
  add(sentTensors, totals.tensorsSent)
  add(receivedTensors, totals.tensorsReceived)
  return updates
}

/** One request to the Kubernetes API has ended; `error` is the tag of its failure. */
export const countRequest = (verb: string, error: string | undefined, duration: number): Effect.Effect<void> =>
  Metric.update(
    Metric.withAttributes(requestDuration, {
      "k8s.verb": verb,
      ...(error === undefined ? {} : { "error.type": error })
    }),
    duration
  )

export const countRetry = (verb: string): Effect.Effect<void> =>
  Metric.update(Metric.withAttributes(kubernetesRetries, { "k8s.verb": verb }), 1)

export const countWatchRestart: Effect.Effect<void> = Metric.update(watchRestarts, 1)
