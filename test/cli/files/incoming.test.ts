/** Received tensors on their way into files. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type SinkOptions, safeFileName, sinkFor } from "../../../src/cli/files/incoming.ts"
import * as Leftovers from "../../../src/cli/Leftovers.ts"
import { layer as screen } from "../../../src/cli/output/Screen.ts"
import { Tensor } from "../../../src/Tensor.ts"
import * as TorchFile from "../../../src/TorchFile.ts"
import { temporaryFolder } from "../../kit/folder.ts"

const services = Layer.merge(
  screen({ quiet: true }),
  Layer.sync(Leftovers.Leftovers, () => Leftovers.make())
)

const large = Tensor.randn([256, 1024], { seed: 3 })

const into = (options: Partial<SinkOptions> & { readonly out: string }, names: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const sink = yield* sinkFor({ format: undefined, named: true, ...options })
      for (const name of names) yield* sink.add({ name, tensor: large })
      yield* sink.finish
    })
  ).pipe(Effect.provide(services))

const kindOf = (path: string) =>
  Effect.map(TorchFile.fromBytes(new Uint8Array(readFileSync(path))), ({ kind, tensors }) => [kind, ...tensors.keys()])

describe("received tensors", () => {
  it.live("are in a .pt file as a tensor, by their names, or in a row where names clash", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const out = join(path, "x.pt")
      yield* into({ out }, ["a"])
      assert.deepStrictEqual(yield* kindOf(out), ["tensor", ""])
      yield* into({ out }, ["b", "a"])
      assert.deepStrictEqual(yield* kindOf(out), ["dict", "b", "a"])
      yield* into({ out }, ["a", "a"])
      assert.deepStrictEqual(yield* kindOf(out), ["list", "0", "1"])
      yield* into({ out, named: false }, ["a", "b"])
      assert.deepStrictEqual(yield* kindOf(out), ["list", "0", "1"])
      yield* into({ out: join(path, "none.pt") }, [])
      assert.deepStrictEqual(readdirSync(path), ["x.pt"])
    })
  )

  it.live("are on the disk before the next one is there, and gone where the last one never comes", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      yield* Effect.scoped(
        Effect.gen(function* () {
          const sink = yield* sinkFor({ out: join(path, "x.pt"), format: undefined, named: true })
          for (let n = 1; n <= 3; n++) {
            yield* sink.add({ name: String(n), tensor: large })
            const [partial] = readdirSync(path)
            assert.isAtLeast(statSync(join(path, partial!)).size, n * large.data.byteLength)
          }
        })
      ).pipe(Effect.provide(services))
      assert.deepStrictEqual(readdirSync(path), [])
    })
  )

  it("get names of files that lead nowhere else", () => {
    for (const [name, expected] of [
      ["layer.weight", "layer.weight"],
      ["../../etc/passwd", "__.._etc_passwd"],
      ["a b\nc", "a_b_c"],
      ["", "tensor"],
      ["..", "_"]
    ] as const) {
      assert.strictEqual(safeFileName(name).includes("/"), false)
      assert.strictEqual(safeFileName(name), expected)
    }
  })
})
