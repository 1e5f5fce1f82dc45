/** What the measurements have to show: ratios of medians, each with the least or the most that it may be. */
import type { Mode } from "./clients/Client.ts"

export interface Bar {
  readonly mode: Mode
  readonly of: "throughput" | "CPU per GiB"
  readonly client: string
  readonly against: string
  readonly least?: number | undefined
  readonly most?: number | undefined
  /** Reported beside the bars; missing it fails nothing. */
  readonly goal?: boolean | undefined
}

const ours = "effect-kpu http2"
const reused = "effect-kpu http2 reused memory"

const least = (mode: Mode, against: string, ratio: number, more: Partial<Bar> = {}): Bar => ({
  mode,
  of: "throughput",
  client: ours,
  against,
  least: ratio,
  ...more
})

export const bars: ReadonlyArray<Bar> = [
  least("send", "grpc-js", 1.9),
  least("send", "Python grpcio + torch", 3.5),
  least("receive", "node:http2", 0.9),
  least("receive", "node:http2 reused memory", 0.9, { client: reused }),
  least("receive", "grpc-js", 2.5),
  least("receive", "nice-grpc", 2.5),
  least("receive", "connect-node", 2.5),
  least("receive", "grpc-js tuned", 1.3),
  least("receive", "Python grpcio + torch", 2),
  least("stream", "Go grpc", 0.5),
  least("stream", "grpc-js tuned", 1.3),
  least("stream", "Python grpcio + torch", 2.5),
  { mode: "send", of: "CPU per GiB", client: ours, against: "node:http2", most: 1.2 },
  { mode: "receive", of: "CPU per GiB", client: ours, against: "node:http2", most: 1.2 },
  { mode: "receive", of: "CPU per GiB", client: reused, against: "node:http2 reused memory", most: 1.2 },
  least("send", "Go grpc", 1, { goal: true }),
  least("receive", "Go grpc", 0.8, { goal: true, client: reused }),
  least("stream", "Go grpc", 0.8, { goal: true })
]
