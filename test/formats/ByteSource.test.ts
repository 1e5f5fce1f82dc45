/** What the three formats read from their sources, and in what pieces. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ByteSource, Npy, Safetensors, Tensor, TorchFile } from "../../src/index.ts"
import { StreamedFile } from "../../src/torch/StreamedFile.ts"

const large = Tensor.randn([300, 1000], { seed: 1 })
const small = Tensor.fromArray([1, 2, 3])

/** A source that keeps which ranges were asked for. */
const recorded = (bytes: Uint8Array) => {
  const inner = ByteSource.fromBytes(bytes)
  const ranges: Array<number> = []
  const source: ByteSource.ByteSource<never> = {
    size: inner.size,
    read: (offset, length) => {
      ranges.push(length)
      return inner.read(offset, length)
    }
  }
  return { source, read: () => ranges.reduce((total, length) => total + length, 0), ranges }
}

const joined = (blocks: ReadonlyArray<Tensor>): Uint8Array =>
  new Uint8Array(Buffer.concat(blocks.map(({ data }) => data)))

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-source-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

describe("a source of bytes", () => {
  it.effect("gives one small tensor of a large file without the rest", () =>
    Effect.gen(function* () {
      const pt = recorded(yield* TorchFile.toBytes({ large, small }))
      const torch = yield* TorchFile.fromSource(pt.source)
      assert.isTrue(Tensor.equals(yield* torch.read("small"), small))
      assert.isBelow(pt.read(), 100_000)
      const named = recorded(yield* Safetensors.toBytes({ large, small }))
      const safetensors = yield* Safetensors.fromSource(named.source)
      assert.isTrue(Tensor.equals(yield* safetensors.read("small"), small))
      assert.isBelow(named.read(), 1000)
      const array = recorded(yield* Npy.encode(large))
      const npy = yield* Npy.fromSource(array.source)
      assert.deepStrictEqual([npy.dtype, npy.shape, npy.byteLength], ["float32", [300, 1000], 1_200_000])
      assert.isBelow(array.read(), 1000)
    })
  )

  it.effect("gives the elements of a tensor in blocks, none of them larger than asked for", () =>
    Effect.gen(function* () {
      const blockBytes = 100_003
      const pt = recorded(yield* TorchFile.toBytes({ large, small }))
      const named = recorded(yield* Safetensors.toBytes({ large, small }))
      const array = recorded(yield* Npy.encode(large))
      const torch = yield* TorchFile.fromSource(pt.source)
      const safetensors = yield* Safetensors.fromSource(named.source)
      const npy = yield* Npy.fromSource(array.source)
      for (const [blocks, { ranges }] of [
        [torch.blocks("large", { blockBytes }), pt],
        [safetensors.blocks("large", { blockBytes }), named],
        [npy.blocks({ blockBytes }), array]
      ] as const) {
        ranges.length = 0
        const found = yield* Stream.runCollect(blocks)
        assert.deepStrictEqual(joined(found), large.data)
        assert.strictEqual(found.length, Math.ceil(1_200_000 / 100_000))
        assert.isTrue(found.every(({ dtype, shape }) => dtype === "float32" && shape.length === 1))
        assert.isAtMost(Math.max(...ranges), 100_000)
      }
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(torch.blocks("other"))))._tag, "InvalidInput")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(safetensors.blocks("other"))))._tag, "InvalidInput")
      const empty = yield* Npy.fromSource(ByteSource.fromBytes(yield* Npy.encode(Tensor.zeros([0, 3]))))
      assert.deepStrictEqual(yield* Stream.runCollect(empty.blocks()), [])
    })
  )

  it.effect("gives blocks in row-major order also where the file has another", () =>
    Effect.gen(function* () {
      const header = Buffer.from("{'descr': '>u4', 'fortran_order': True, 'shape': (2, 3)}")
      const elements = Buffer.from(new Uint32Array([1, 4, 2, 5, 3, 6]).buffer).swap32()
      const bytes = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), Buffer.from([header.length, 0]), header])
      const npy = yield* Npy.fromSource(ByteSource.fromBytes(new Uint8Array(Buffer.concat([bytes, elements]))))
      const blocks = yield* Stream.runCollect(npy.blocks({ blockBytes: 8 }))
      assert.deepStrictEqual(blocks.map(Tensor.toNestedArray), [
        [1, 2],
        [3, 4],
        [5, 6]
      ])
    })
  )

  it.effect("has the CRC of a tensor in blocks checked at their end, unless told not to", () =>
    Effect.gen(function* () {
      const bytes = yield* TorchFile.toBytes({ large })
      bytes[bytes.length >> 1]! ^= 1
      const blocks = (options?: { readonly verifyCrc: boolean }) =>
        Stream.unwrap(
          Effect.map(TorchFile.fromSource(ByteSource.fromBytes(bytes), options), (file) => file.blocks("large"))
        )
      assert.match((yield* Effect.flip(Stream.runDrain(blocks()))).message, /CRC/)
      yield* Stream.runDrain(blocks({ verifyCrc: false }))
    })
  )

  it.effect("that gives too little is told so, and none is asked for nothing", () =>
    Effect.gen(function* () {
      const bytes = yield* Safetensors.toBytes({ large, empty: Tensor.zeros([0]) })
      const inner = ByteSource.fromBytes(bytes)
      const source: ByteSource.ByteSource<never> = {
        size: inner.size,
        read: (offset, length) => {
          assert.isAbove(length, 0)
          return Effect.map(inner.read(offset, length), (found) => found.subarray(0, 1_000_000))
        }
      }
      const file = yield* Safetensors.fromSource(source)
      assert.deepStrictEqual((yield* file.read("empty")).shape, [0])
      const error = yield* Effect.flip(file.read("large"))
      assert.match(error.message, /1200000 bytes were asked for, and 1000000 were given/)
    })
  )

  it.live("reads a named pipe to its end, and what is no file not at all", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const pipe = join(path, "pipe")
      writeFileSync(join(path, "a.npy"), yield* Npy.encode(large))
      const writer = spawn("sh", ["-c", 'mkfifo "$1/pipe" && exec cat "$1/a.npy" > "$1/pipe"', "sh", path])
      yield* Effect.addFinalizer(() => Effect.sync(() => writer.kill()))
      const tensor = yield* Effect.retry(
        Effect.flatMap(Npy.open(pipe), ({ read }) => read),
        { times: 100, while: (error) => Effect.as(Effect.sleep("20 millis"), error._tag === "PlatformError") }
      )
      assert.isTrue(Tensor.equals(tensor, large))
      const error = yield* Effect.flip(Npy.open(path))
      assert.strictEqual(error._tag, "PlatformError")
      yield* Npy.write(join(path, "b.npy"), small)
      assert.isTrue(Tensor.equals(yield* (yield* Npy.open(join(path, "b.npy"))).read, small))
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )
})

describe("a file whose tensors come one after the other", () => {
  const written = (root: Parameters<StreamedFile["finish"]>[0], ...tensors: ReadonlyArray<Tensor>) => {
    const file = new StreamedFile()
    const pieces = [...tensors.flatMap((tensor) => [...file.add(tensor)]), ...file.finish(root)]
    return TorchFile.fromBytes(new Uint8Array(Buffer.concat(pieces)))
  }

  it.effect("is said at its end to be a tensor, a list or a dict", () =>
    Effect.gen(function* () {
      const one = yield* written({ kind: "tensor" }, large)
      assert.deepStrictEqual([one.kind, [...one.tensors.keys()]], ["tensor", [""]])
      assert.isTrue(Tensor.equals(yield* one.read(""), large))
      const list = yield* written({ kind: "list" }, large, small)
      assert.deepStrictEqual([list.kind, [...list.tensors.keys()]], ["list", ["0", "1"]])
      assert.isTrue(Tensor.equals(yield* list.read("1"), small))
      const dict = yield* written({ kind: "dict", names: ["b", "a"] }, large, small)
      assert.deepStrictEqual([dict.kind, [...dict.tensors.keys()]], ["dict", ["b", "a"]])
      assert.isTrue(Tensor.equals(yield* dict.read("a"), small))
      assert.strictEqual((yield* written({ kind: "dict", names: [] })).tensors.size, 0)
    })
  )
})
