import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { toNestedArray } from "../../src/schema/TensorElements.ts"
import * as TorchFile from "../../src/TorchFile.ts"
import { ByteWriter } from "../../src/torch/ByteWriter.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { archiveSize, ZipWriter } from "../../src/torch/ZipWriter.ts"
import { pickle, tensorPickle, wholePickle } from "../kit/Archive.ts"
import { describeWith } from "../kit/peers.ts"
import { TorchTool } from "../kit/TorchTool.ts"

const gibibyte = 2 ** 30

/** A file of records whose elements are a hole of zeros, but for some bytes: it takes no room on the disk. */
const holeFile = (path: string, size: number, marks: ReadonlyArray<readonly [at: number, byte: number]>): number => {
  const records = [
    {
      name: "archive/data.pkl",
      data: wholePickle(
        pickle.emptyDict,
        pickle.text("end"),
        tensorPickle({ storage: "ByteStorage", numel: size, offset: size - 4, shape: [4], strides: [1] }),
        pickle.setItem,
        pickle.text("middle"),
        tensorPickle({ storage: "ByteStorage", numel: size, offset: 3 * gibibyte, shape: [2, 2], strides: [1, 2] }),
        pickle.setItem,
        pickle.text("after"),
        tensorPickle({ key: "1", numel: 2, shape: [2], strides: [1] }),
        pickle.setItem
      )
    },
    { name: "archive/data/0", data: undefined },
    { name: "archive/data/1", data: new Uint8Array(new Float32Array([1.5, 2.5]).buffer) },
    { name: "archive/version", data: Buffer.from("3\n") }
  ]
  const file = openSync(path, "w")
  const out = new ByteWriter()
  const writer = new ZipWriter(out)
  let at = 0
  const write = (bytes: Uint8Array): void => {
    writeSync(file, bytes, 0, bytes.length, at)
    at += bytes.length
  }
  for (const { data, name } of records) {
    writer.begin(name, data?.length ?? size)
    write(out.take())
    if (data === undefined) {
      for (const [offset, byte] of marks) writeSync(file, Buffer.from([byte]), 0, 1, at + offset)
      at += size
      // The CRC of 5 GiB is not asked for when a part of them is read.
      writer.end(0)
    } else {
      write(data)
      writer.end(crc32(data))
    }
  }
  writer.finish()
  write(out.take())
  ftruncateSync(file, at)
  closeSync(file)
  assert.strictEqual(at, archiveSize(records.map(({ data, name }) => ({ name, size: data?.length ?? size }))))
  return at
}

describe("files beyond 4 GiB", () => {
  layer(NodeServices.layer)((it) => {
    it.effect("are read by ZIP64 fields, and only where they are asked to be", () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "effect-kpu-large-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
        const path = join(folder, "large.pt")
        const size = 5 * gibibyte
        assert.isAbove(
          holeFile(path, size, [
            [size - 3, 7],
            [3 * gibibyte + 1, 9]
          ]),
          size
        )
        const before = process.memoryUsage().arrayBuffers
        const file = yield* TorchFile.open(path)
        assert.deepStrictEqual(toNestedArray(yield* file.read("end")), [0, 7, 0, 0])
        assert.deepStrictEqual(toNestedArray(yield* file.read("middle")), [
          [0, 0],
          [9, 0]
        ])
        // Its header is beyond 4 GiB.
        assert.deepStrictEqual(toNestedArray(yield* file.read("after")), [1.5, 2.5])
        assert.isBelow(process.memoryUsage().arrayBuffers - before, 16 * 2 ** 20)
      })
    )
  })
})

describeWith(["pytorch"], "files beyond 4 GiB and PyTorch", () => {
  layer(Layer.merge(NodeServices.layer, TorchTool.layer), { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("are mapped by torch.load as this package writes them", () =>
      Effect.gen(function* () {
        const torch = yield* TorchTool
        const path = join(torch.folder, "large.pt")
        const size = 5 * gibibyte
        holeFile(path, size, [
          [size - 3, 7],
          [3 * gibibyte + 1, 9]
        ])
        const [answer] = yield* torch.dump([path], { mmap: true })
        if (answer === undefined || "error" in answer) return assert.fail(answer?.error)
        const ours = yield* TorchFile.open(path)
        assert.deepStrictEqual(
          answer.tensors.map(({ name }) => name),
          ["end", "middle", "after"]
        )
        assert.deepStrictEqual(
          answer.tensors.map(({ storage }) => storage),
          [size, size, 8]
        )
        for (const theirs of answer.tensors) {
          const tensor = yield* ours.read(theirs.name)
          assert.strictEqual(tensor.dtype, theirs.dtype)
          assert.isTrue(readFileSync(theirs.bytes).equals(tensor.data), theirs.name)
        }
      })
    )
  })
})
