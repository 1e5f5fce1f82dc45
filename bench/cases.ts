/** What is measured, in full and in short. */
import type { ClientId } from "./clients.ts"
import { type Case, MiB } from "./harness.ts"

export const directions = ["send", "receive", "bidirectional"] as const

const mine: ReadonlyArray<ClientId> = ["ours-http2", "ours-grpc-js"]
const documented: ReadonlyArray<ClientId> = ["grpc-js", "nice-grpc", "connect-node"]
const others: ReadonlyArray<ClientId> = ["grpc-js-tuned", "python", "go"]

/** The bare programs of a direction: memory plays no part in sending. */
const bare = {
  send: ["http2-fresh", "http2-crc", "tcp-data"],
  receive: ["http2-fresh", "http2-reused", "http2-dropped", "tcp-data", "tcp-onread"],
  bidirectional: ["http2-fresh", "http2-crc", "http2-reused"]
} as const satisfies Record<string, ReadonlyArray<ClientId>>

const float32 = (bytes: number): number => bytes / 4

const large = (rounds: number, count: number): ReadonlyArray<Case> =>
  directions.map((direction) => ({
    name: `64 MiB ${direction}`,
    server: "go",
    direction,
    elements: float32(64 * MiB),
    count,
    chunkSize: MiB,
    clients: [
      ...mine,
      ...(direction === "send" ? [] : (["ours-http2-reused"] as const)),
      ...documented,
      ...others,
      ...bare[direction]
    ],
    rounds
  }))

/** Sizes beside 64 MiB: their name, bytes and how many. */
export const sizes = [
  ["40 B", 40, 1000],
  ["4 KiB", 4096, 1000],
  ["1 MiB", MiB, 96],
  ["1 GiB", 1024 * MiB, 1]
] as const

const bySize: ReadonlyArray<Case> = sizes.flatMap(([name, bytes, count]) =>
  directions.map((direction): Case => {
    const apart = bytes > 64 * MiB
    return {
      name: `${name} ${direction}`,
      server: "go",
      direction,
      elements: float32(bytes),
      count,
      chunkSize: MiB,
      clients: [...mine, ...documented, ...others, "http2-fresh"],
      rounds: apart ? 2 : 3,
      apart
    }
  })
)

/** Chunk sizes beside 1 MiB. */
export const chunkSizes = [
  ["64 KiB", MiB / 16],
  ["256 KiB", MiB / 4],
  ["3 MiB", 3 * MiB]
] as const

const byChunk: ReadonlyArray<Case> = chunkSizes.flatMap(([name, chunkSize]) =>
  directions.map(
    (direction): Case => ({
      name: `chunks of ${name} ${direction}`,
      server: "go",
      direction,
      elements: float32(64 * MiB),
      count: 3,
      chunkSize,
      clients: [...mine, ...documented, ...others],
      rounds: 2
    })
  )
)

const python: ReadonlyArray<Case> = directions.map((direction) => ({
  name: `Python server ${direction}`,
  server: "python",
  direction,
  elements: float32(64 * MiB),
  count: 2,
  chunkSize: MiB,
  clients: [...mine, "grpc-js", "python", "go"],
  rounds: 3
}))

const small = (rounds: number): ReadonlyArray<Case> => [
  {
    name: "10×10 round trip",
    server: "go",
    direction: "roundtrip",
    elements: 100,
    count: 400,
    chunkSize: MiB,
    clients: [...mine, "grpc-js", "python"],
    rounds
  },
  ...directions.map(
    (direction): Case => ({
      name: `10×10 ${direction}`,
      server: "go",
      direction,
      elements: 100,
      count: 5000,
      chunkSize: MiB,
      clients: [...mine, "grpc-js", "python", "go"],
      rounds
    })
  )
]

const fairness: Case = {
  name: "100 calls at once",
  server: "go",
  direction: "fairness",
  elements: float32(256 * 1024),
  count: 20,
  chunkSize: MiB,
  clients: [...mine],
  rounds: 3
}

const far: ReadonlyArray<Case> = (["send", "receive"] as const).map((direction) => ({
  name: `far away ${direction}`,
  server: "far",
  direction,
  elements: float32(16 * MiB),
  count: 24,
  chunkSize: MiB,
  clients: [...mine, "grpc-js", "go"],
  // 64 KiB of window in 20 ms: 3 MiB a second.
  counts: direction === "receive" ? { "grpc-js": 1 } : {},
  rounds: 3
}))

/** Everything: what decides first. */
export const fullCases: ReadonlyArray<Case> = [
  ...large(5, 4),
  ...small(5),
  ...far,
  fairness,
  ...python,
  ...byChunk,
  ...bySize
]

/** The clients that the bars of a direction name. */
const barred = {
  send: ["ours-http2", "grpc-js", "python", "go", "http2-fresh", "http2-crc"],
  receive: [
    "ours-http2",
    "ours-http2-reused",
    ...documented,
    "grpc-js-tuned",
    "python",
    "go",
    "http2-fresh",
    "http2-reused"
  ],
  bidirectional: ["ours-http2", "grpc-js-tuned", "python", "go", "http2-fresh", "http2-crc"]
} as const satisfies Record<string, ReadonlyArray<ClientId>>

/** What the bars need, in under two minutes where nothing else runs. */
export const quickCases: ReadonlyArray<Case> = [
  ...directions.map(
    (direction): Case => ({
      name: `64 MiB ${direction}`,
      server: "go",
      direction,
      elements: float32(64 * MiB),
      count: 3,
      chunkSize: MiB,
      clients: barred[direction],
      rounds: 3
    })
  ),
  ...small(3).map((each) => ({
    ...each,
    clients: each.clients.filter((id) => id === "ours-http2" || id === "grpc-js")
  }))
]
