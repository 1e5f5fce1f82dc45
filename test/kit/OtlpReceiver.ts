/** An OTLP receiver on loopback: what a collector would get, as JSON. */
import { createServer } from "node:http"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { LocalCluster } from "effect-kpu"
import { listening } from "./listening.ts"

type Value = { readonly stringValue?: string; readonly intValue?: number | string; readonly doubleValue?: number }
type Attribute = { readonly key: string; readonly value: Value }

/** Attributes as a record. */
export const attributes = (list: ReadonlyArray<Attribute> | undefined): Record<string, string | number | undefined> =>
  Object.fromEntries(
    (list ?? []).map(({ key, value }) => [
      key,
      value.stringValue ?? value.doubleValue ?? (value.intValue === undefined ? undefined : Number(value.intValue))
    ])
  )

export interface ReceivedSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly kind: number
  readonly attributes: ReadonlyArray<Attribute>
  readonly status: { readonly code: number; readonly message?: string }
}

interface Point {
  readonly attributes?: ReadonlyArray<Attribute>
  readonly asInt?: number | string
  readonly asDouble?: number
  readonly count?: number | string
}

export interface ReceivedMetric {
  readonly name: string
  readonly sum?: { readonly dataPoints: ReadonlyArray<Point> }
  readonly gauge?: { readonly dataPoints: ReadonlyArray<Point> }
  readonly histogram?: { readonly dataPoints: ReadonlyArray<Point> }
}

export interface OtlpReceiver {
  readonly url: string
  /** Everything received, as it came. */
  readonly bodies: ReadonlyArray<{ readonly path: string; readonly text: string }>
  readonly spans: () => ReadonlyArray<ReceivedSpan>
  readonly metrics: () => ReadonlyArray<ReceivedMetric>
  readonly logs: () => ReadonlyArray<{ readonly text: string; readonly attributes: Record<string, unknown> }>
}

export const make: Effect.Effect<OtlpReceiver, never, Scope.Scope> = Effect.gen(function* () {
  const bodies: Array<{ path: string; text: string }> = []
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      bodies.push({ path: request.url ?? "", text: Buffer.concat(chunks).toString() })
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  const port = yield* listening(server)
  const of = (path: string): ReadonlyArray<any> =>
    bodies.filter((body) => body.path === path).map(({ text }) => JSON.parse(text))
  return {
    url: `http://127.0.0.1:${port}`,
    bodies,
    spans: () =>
      of("/v1/traces").flatMap((body) =>
        body.resourceSpans.flatMap((r: any) => r.scopeSpans.flatMap((s: any) => s.spans))
      ),
    metrics: () =>
      of("/v1/metrics").flatMap((body) =>
        body.resourceMetrics.flatMap((r: any) => r.scopeMetrics.flatMap((s: any) => s.metrics))
      ),
    logs: () =>
      of("/v1/logs").flatMap((body) =>
        body.resourceLogs.flatMap((r: any) =>
          r.scopeLogs.flatMap((s: any) =>
            s.logRecords.map((record: any) => ({
              text: JSON.stringify(record.body),
              attributes: attributes(record.attributes)
            }))
          )
        )
      )
  }
})

/** Runs a program on the embedded cluster with telemetry to a receiver, and gives what that has received by its end. */
export const observed = <A, E>(
  program: Effect.Effect<A, E, Layer.Success<typeof LocalCluster.layer>>,
  telemetry: (url: string) => Layer.Layer<never>,
  cluster: Layer.Layer<Layer.Success<typeof LocalCluster.layer>, unknown> = LocalCluster.layer
): Effect.Effect<{ readonly exit: Exit.Exit<A, unknown>; readonly receiver: OtlpReceiver }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const receiver = yield* make
    // The layer's end sends what is left.
    const exit = yield* program.pipe(
      Effect.provide(cluster),
      Effect.provide(telemetry(receiver.url), { local: true }),
      Effect.exit
    )
    return { exit, receiver }
  })
