/**
 * The Python tensor server (`test/peers/python/server.py`: grpcio and torch) for tests: started on a free port, ended
 * with the scope. It keeps the tensors that it receives as files, sends those of a folder, and tells what happens.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { need, root } from "./peers.ts"
import { start } from "./process.ts"

/** What the server writes about itself, in order. */
export type Event =
  | { readonly event: "listening"; readonly port: number; readonly torch: string | null; readonly grpc: string }
  | {
      readonly event: "call"
      readonly call: number
      readonly method: string
      readonly metadata: { readonly [key: string]: string }
      readonly peer: string
    }
  | {
      readonly event: "received"
      readonly call: number
      readonly id: string
      readonly bytes: number
      readonly metadata: { readonly [key: string]: string }
      readonly shape?: ReadonlyArray<number>
      /** PyTorch's name: `torch.float32`. */
      readonly dtype?: string
      /** What torch.save wrote of the tensor that torch.load gave. */
      readonly file?: string
      /** The bytes as they came. */
      readonly payload?: string
      /** Of the elements, under `digest`. */
      readonly sha256?: string
    }
  /** Noise that is about to be sent, under `digest`. */
  | { readonly event: "made"; readonly sha256: string }
  /** The call came to its end on the server's side. */
  | { readonly event: "ended"; readonly call: number; readonly method: string }
  /** The client went away, or cancelled, before that. */
  | { readonly event: "cancelled"; readonly call: number; readonly method: string }

export interface Options {
  /** Send the `.pt` files of this folder, in their names' order and again from the start, in place of noise. */
  readonly serve?: string | undefined
  /** Keep what is received as files: true unless told otherwise. */
  readonly save?: boolean | undefined
  /** Bytes per chunk: 1 MiB unless told otherwise. */
  readonly chunkSize?: number | undefined
  /** Hand bytes through without torch. */
  readonly passThrough?: boolean | undefined
  /** `torch.load` with `weights_only=False`. */
  readonly unsafeLoad?: boolean | undefined
  /** Tell the SHA-256 of the elements of each tensor that is received or made. */
  readonly digest?: boolean | undefined
  /** Without events of tensors received: for benchmarks. */
  readonly quiet?: boolean | undefined
}

export interface Shape {
  readonly host: string
  readonly port: number
  /** `HOST:PORT` */
  readonly address: string
  /** Its process, for its memory and its death. */
  readonly pid: number
  /** Everything that has happened so far. */
  readonly events: () => ReadonlyArray<Event>
  /** The first event, past or to come, that `pick` finds something in. */
  readonly event: <A>(pick: (event: Event) => A | undefined) => Effect.Effect<A>
  /** Ends it before the scope does: with SIGTERM, open calls given a second. */
  readonly stop: Effect.Effect<void>
}

/** Starts a server; see {@link PythonServer} for the Layer. */
export const make = (options: Options = {}): Effect.Effect<Shape, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-python-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const received = join(folder, "received")
    mkdirSync(received)
    const running = yield* start(need("pytorch").python, [
      join(root, "test/peers/python/server.py"),
      "--port=0",
      ...(options.save === false ? [] : [`--save=${received}`]),
      ...(options.serve === undefined ? [] : [`--serve=${options.serve}`]),
      ...(options.chunkSize === undefined ? [] : [`--chunk-size=${options.chunkSize}`]),
      ...(options.passThrough === true ? ["--pass-through"] : []),
      ...(options.unsafeLoad === true ? ["--unsafe-load"] : []),
      ...(options.digest === true ? ["--digest"] : []),
      ...(options.quiet === true ? ["--quiet"] : [])
    ])
    const event: Shape["event"] = (pick) => running.line((line) => pick(JSON.parse(line) as Event))
    const port = yield* event((event) => (event.event === "listening" ? event.port : undefined))
    return {
      host: "127.0.0.1",
      port,
      address: `127.0.0.1:${port}`,
      pid: running.child.pid!,
      events: () => running.lines.map((line) => JSON.parse(line) as Event),
      event,
      stop: running.stop
    }
  })

/**
 * A Python tensor server for a suite.
 *
 * @example
 * describeWith(["pytorch"], "against PyTorch", () => {
 *   layer(PythonServer.layer, { excludeTestServices: true })((it) => { … })
 * })
 */
export class PythonServer extends Context.Service<PythonServer, Shape>()("effect-kpu/test/PythonServer") {
  static readonly layer: Layer.Layer<PythonServer> = Layer.effect(PythonServer, make())
  static readonly layerWith = (options: Options): Layer.Layer<PythonServer> => Layer.effect(PythonServer, make(options))
}
