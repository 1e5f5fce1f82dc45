/** Who is measured. Each client is a program of its own; all but Go's speak `clients/protocol.ts`. */
import { execFileSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { need, peers, root } from "../test/kit/peers.ts"

/** What the clients are compiled to: the JavaScript that Node runs, ours as it would be published. */
const built = join(root, ".cache/bench/bench")

export const program = (path: string): string => join(built, path)

export interface Measured {
  readonly title: string
  /** The command, without the job; `undefined` where a peer is missing. */
  readonly command: () => readonly [string, ...ReadonlyArray<string>] | undefined
  readonly kind: "ours" | "JavaScript" | "Python" | "Go" | "bare"
}

const node = (title: string, kind: Measured["kind"], file: string, ...args: ReadonlyArray<string>): Measured => ({
  title,
  kind,
  command: () => [process.execPath, "--expose-gc", program(`clients/${file}.js`), ...args]
})

const descriptors = join(root, ".cache/bench/service.binpb")

export const clients = {
  "ours-http2": node("effect-kpu, layerHttp2", "ours", "ours", "http2"),
  "ours-http2-reused": node("effect-kpu, layerHttp2, memory used again", "ours", "ours", "http2", "reused"),
  "ours-grpc-js": node("effect-kpu, layerGrpcJs", "ours", "ours", "grpc-js"),
  "grpc-js": node("grpc-js, as documented", "JavaScript", "grpcJs", "plain"),
  "nice-grpc": node("nice-grpc, as documented", "JavaScript", "niceGrpc"),
  "connect-node": node("connect-node, as documented", "JavaScript", "connectNode", descriptors),
  "grpc-js-tuned": node("grpc-js, tuned by hand", "JavaScript", "grpcJs", "tuned"),
  python: {
    title: "Python (grpcio, torch)",
    kind: "Python",
    command: () =>
      peers.pytorch === undefined ? undefined : [need("pytorch").python, join(root, "bench/clients/client.py")]
  },
  go: {
    title: "Go (grpc-go)",
    kind: "Go",
    command: () => (peers.kputensor === undefined ? undefined : [need("kputensor"), "client"])
  },
  "http2-fresh": node("bare node:http2, fresh memory", "bare", "bareHttp2", "fresh"),
  "http2-crc": node("bare node:http2, with CRC-32", "bare", "bareHttp2", "crc"),
  "http2-reused": node("bare node:http2, memory used again", "bare", "bareHttp2", "reused"),
  "http2-dropped": node("bare node:http2, bytes dropped", "bare", "bareHttp2", "dropped"),
  "tcp-data": node("bare TCP, data events", "bare", "bareTcp", "data"),
  "tcp-onread": node("bare TCP, onread into one buffer", "bare", "bareTcp", "onread")
} as const satisfies Record<string, Measured>

export type ClientId = keyof typeof clients

/** The one that `Kpu.layer` uses. */
export const ours: ClientId = "ours-http2"

/** Compiles the clients and the package, and writes the descriptors that connect-node reads. */
export const build = (): void => {
  const bin = join(root, "node_modules/.bin")
  const settings = { cwd: root, stdio: "inherit" } as const
  mkdirSync(join(root, ".cache/bench"), { recursive: true })
  execFileSync(join(bin, "tsc"), ["-p", "bench/tsconfig.json"], settings)
  execFileSync(process.execPath, [join(root, "scripts/build.mjs")], settings)
  execFileSync(join(bin, "buf"), ["build", "proto", "-o", descriptors], settings)
}
