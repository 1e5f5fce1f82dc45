/**
 * The Go tensor server (`test/peers/go/kputensor`) for measurements: it never looks at a tensor's bytes, so that the
 * client is what is measured. ReceiveTensors drops them, SendTensors sends one prepared float32 tensor again and again,
 * StreamTensors gives each chunk back at once.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { need } from "./peers.ts"
import { start } from "./process.ts"

export interface Options {
  /** Bytes of a chunk that it sends: 1 MiB unless told otherwise. */
  readonly chunkSize?: number | undefined
  /** Bytes of a stream's receive window: 16 MiB unless told otherwise. */
  readonly window?: number | undefined
}

export interface Shape {
  readonly host: string
  readonly port: number
  /** `HOST:PORT` */
  readonly address: string
  readonly pid: number
}

/** Starts a server; see {@link GoServer} for the Layer. */
export const make = (options: Options = {}): Effect.Effect<Shape, never, Scope.Scope> =>
  Effect.gen(function* () {
    const running = yield* start(need("kputensor"), [
      "server",
      "--port=0",
      ...(options.chunkSize === undefined ? [] : [`--chunk-size=${options.chunkSize}`]),
      ...(options.window === undefined ? [] : [`--window=${options.window}`])
    ])
    const port = yield* running.line((line) => (JSON.parse(line) as { readonly port?: number }).port)
    return { host: "127.0.0.1", port, address: `127.0.0.1:${port}`, pid: running.child.pid! }
  })

/** A Go tensor server for a suite or a benchmark. */
export class GoServer extends Context.Service<GoServer, Shape>()("effect-kpu/test/GoServer") {
  static readonly layer: Layer.Layer<GoServer> = Layer.effect(GoServer, make())
  static readonly layerWith = (options: Options): Layer.Layer<GoServer> => Layer.effect(GoServer, make(options))
}
