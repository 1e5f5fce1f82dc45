/** A tensor of 1 GiB to, from and through the Python server with torch, bit for bit, and what memory that takes here. */
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as PythonServer from "../kit/PythonServer.ts"
import { describeWith, root } from "../kit/peers.ts"
import { run } from "../kit/process.ts"

const MiB = 2 ** 20
const elements = (1024 * MiB) / 4

interface Outcome {
  readonly sent?: string
  readonly received: ReadonlyArray<string>
  readonly shapes: ReadonlyArray<ReadonlyArray<string | number>>
  readonly over: number
  readonly seconds: number
}

/**
 * The most memory on top of the tensor that is sent, which is there before: what is received, and what a transport holds
 * beside it.
 */
const beside = { http2: 100 * MiB, "grpc-js": 250 * MiB } as const

describeWith(["pytorch"], "a tensor of 1 GiB", () => {
  for (const transport of ["http2", "grpc-js"] as const) {
    it.live(
      `goes to PyTorch, comes from there, and goes through it bit-equal on ${transport}`,
      () =>
        Effect.gen(function* () {
          const server = yield* PythonServer.make({ digest: true, save: false })
          for (const [index, direction] of (["send", "receive", "bidirectional"] as const).entries()) {
            const { stdout } = yield* run(process.execPath, [
              "--conditions=effect-kpu-source",
              join(root, "test/interop/gigabyte.ts"),
              transport,
              String(server.port),
              direction,
              String(elements)
            ])
            const outcome = JSON.parse(stdout) as Outcome
            const there = server.events().flatMap((event) => ("sha256" in event ? [event.sha256!] : []))
            assert.strictEqual(there.length, index + 1)
            const digest = there[index]!
            console.log(
              `${transport}, ${direction}: ${outcome.seconds.toFixed(1)} s, ${Math.round(outcome.over / MiB)} MiB above the start`
            )
            assert.match(digest, /^[0-9a-f]{64}$/)
            if (direction !== "receive") assert.strictEqual(outcome.sent, digest)
            if (direction !== "send") {
              assert.deepStrictEqual(outcome.received, [digest])
              assert.deepStrictEqual(outcome.shapes, [["float32", elements]])
            }
            assert.isBelow(outcome.over, beside[transport] + (direction === "send" ? 0 : 1024 * MiB))
          }
        }),
      300_000
    )
  }
})
