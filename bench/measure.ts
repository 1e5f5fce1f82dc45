/**
 * One measurement in a process of its own: `measure.ts CLIENT MODE HOST PORT BYTES COUNT CHUNK [WARM-UP]`. Writes one line of JSON: seconds
 * and CPU seconds of the calls after a warm-up, and the peak of resident memory above the start's.
 */
import type { Client, Mode, Task } from "./clients/Client.ts"

const clients: { readonly [name: string]: () => Promise<Client> } = {
  "effect-kpu http2": async () => (await import("./clients/effectKpu.ts")).make("http2"),
  "effect-kpu http2 reused memory": async () => (await import("./clients/effectKpu.ts")).make("http2", true),
  "effect-kpu grpc-js": async () => (await import("./clients/effectKpu.ts")).make("grpc-js"),
  "grpc-js": async () => (await import("./clients/grpcJs.ts")).make("plain"),
  "grpc-js tuned": async () => (await import("./clients/grpcJs.ts")).make("tuned"),
  "nice-grpc": async () => (await import("./clients/niceGrpc.ts")).make(),
  "connect-node": async () => (await import("./clients/connectNode.ts")).make(),
  TCP: async () => (await import("./clients/tcp.ts")).make(),
  "node:http2": async () => (await import("./clients/http2Bare.ts")).make("fresh"),
  "node:http2 reused memory": async () => (await import("./clients/http2Bare.ts")).make("reused"),
  "node:http2 dropped": async () => (await import("./clients/http2Bare.ts")).make("dropped")
}

const [name = "", mode = "", host = "", port = "", bytes = "", count = "", chunkSize = "", warmUp = "1"] =
  process.argv.slice(2)
const client = await clients[name]!()
const task: Task = {
  host,
  port: Number(port),
  bytes: Number(bytes),
  count: Number(count),
  chunkSize: Number(chunkSize)
}
const run = client[mode as Mode]
if (run === undefined) {
  process.stdout.write("{}\n")
  process.exit(0)
}
await run({ ...task, count: Number(warmUp) })
const started = performance.now()
const cpu = process.cpuUsage()
const before = process.memoryUsage.rss()
await run(task)
const { user, system } = process.cpuUsage(cpu)
const seconds = (performance.now() - started) / 1000
const peak = process.resourceUsage().maxRSS * 1024
process.stdout.write(
  `${JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, mebibytesAbove: (peak - before) / 2 ** 20 })}\n`
)
await client.close()
