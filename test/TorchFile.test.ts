import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Safetensors, Tensor, TorchFile } from "../src/index.ts"
import { InvalidInput, TensorDecodeError } from "../src/schema/KpuError.ts"
import { pickle, tensorPickle, tensorRecords, wholePickle, zip } from "./kit/Archive.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-file-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** The real file system, counting the bytes that are read. */
const counted = { bytes: 0 }
const counting = Layer.effect(
  FileSystem.FileSystem,
  Effect.map(FileSystem.FileSystem, (fs) => ({
    ...fs,
    open: (path: string, options?: Parameters<typeof fs.open>[1]) =>
      Effect.map(
        fs.open(path, options),
        (file) =>
          new Proxy(file, {
            get: (target, key) =>
              key === "read"
                ? (buffer: Uint8Array, readOptions?: FileSystem.File.ReadOptions) =>
                    Effect.tap(target.read(buffer, readOptions), (read) =>
                      Effect.sync(() => {
                        counted.bytes += read
                      })
                    )
                : Reflect.get(target, key)
          })
      )
  }))
).pipe(Layer.provideMerge(NodeServices.layer))

const weight = Tensor.randn([64, 32], { seed: 1 })
const bias = Tensor.fromArray([1, 2, 3], { dtype: "int64" })

describe("TorchFile", () => {
  layer(counting)((it) => {
    it.effect("writes a dict of tensors and reads it back, by name", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "model.pt")
        yield* TorchFile.write(path, { "layer.weight": weight, "layer.bias": bias })
        const file = yield* TorchFile.open(path)
        assert.strictEqual(file.kind, "dict")
        assert.deepStrictEqual([...file.tensors.keys()], ["layer.weight", "layer.bias"])
        assert.deepStrictEqual(file.tensors.get("layer.bias"), {
          dtype: "int64",
          shape: [3],
          byteLength: 24,
          requiresGrad: false
        })
        assert.isTrue(Tensor.equals(yield* file.read("layer.weight"), weight))
        assert.isTrue(Tensor.equals(yield* file.read("layer.bias"), bias))
        const missing = yield* Effect.flip(file.read("layer.other"))
        assert.instanceOf(missing, InvalidInput)
      })
    )

    it.effect("writes a list, and one tensor, and reads them back", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "list.pt")
        yield* TorchFile.write(path, [weight, bias, weight])
        const list = yield* TorchFile.open(path)
        assert.strictEqual(list.kind, "list")
        assert.deepStrictEqual([...list.tensors.keys()], ["0", "1", "2"])
        assert.isTrue(Tensor.equals(yield* list.read("2"), weight))
        yield* TorchFile.write(path, bias)
        const one = yield* TorchFile.open(path)
        assert.strictEqual(one.kind, "tensor")
        assert.isTrue(Tensor.equals(yield* one.read(""), bias))
        assert.isTrue(Tensor.equals(yield* Tensor.fromTorch(new Uint8Array(readFileSync(path))), bias))
      })
    )

    it.effect("reads one tensor of a large file without reading the rest", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "large.pt")
        const large = Tensor.zeros([4 * 2 ** 20])
        yield* TorchFile.write(path, { large, weight, larger: Tensor.zeros([8 * 2 ** 20]) })
        counted.bytes = 0
        const file = yield* TorchFile.open(path)
        assert.isTrue(Tensor.equals(yield* file.read("weight"), weight))
        assert.isBelow(counted.bytes, 100_000)
        assert.isAbove(counted.bytes, weight.data.byteLength)
      })
    )

    it.effect("reads a view without the rest of its storage", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "view.pt")
        const storage = new Uint8Array(16 * 2 ** 20).map((_, index) => index % 251)
        const pickled = wholePickle(
          pickle.emptyDict,
          pickle.text("row"),
          tensorPickle({ storage: "ByteStorage", numel: storage.length, offset: 5_000_000, shape: [3], strides: [1] }),
          pickle.setItem,
          pickle.text("steps"),
          tensorPickle({ storage: "ByteStorage", numel: storage.length, offset: 9, shape: [3], strides: [1000] }),
          pickle.setItem
        )
        writeFileSync(path, zip(tensorRecords(pickled, storage)))
        counted.bytes = 0
        const file = yield* TorchFile.open(path)
        assert.deepStrictEqual(
          [...(yield* file.read("row")).data],
          [5_000_000, 5_000_001, 5_000_002].map((at) => at % 251)
        )
        assert.deepStrictEqual(
          [...(yield* file.read("steps")).data],
          [9, 1009, 2009].map((at) => at % 251)
        )
        assert.isBelow(counted.bytes, 100_000)
      })
    )

    it.effect("stores tensors over the same memory once", () =>
      Effect.gen(function* () {
        const once = yield* TorchFile.toBytes({ a: weight })
        const twice = yield* TorchFile.toBytes({ a: weight, b: weight })
        assert.isBelow(twice.byteLength, once.byteLength + 1000)
        const file = yield* TorchFile.fromBytes(twice)
        assert.isTrue(Tensor.equals(yield* file.read("b"), weight))
      })
    )

    it.effect("copies a file tensor by tensor, as a stream", () =>
      Effect.gen(function* () {
        const at = yield* folder
        yield* TorchFile.write(join(at, "a.pt"), { weight, bias })
        const file = yield* TorchFile.open(join(at, "a.pt"))
        yield* TorchFile.writeStream(join(at, "b.pt"), file.readAll)
        const copy = yield* TorchFile.open(join(at, "b.pt"))
        assert.isTrue(Tensor.equals(yield* copy.read("weight"), weight))
        assert.isTrue(Tensor.equals(yield* copy.read("bias"), bias))
      })
    )

    it.effect("leaves the old file, and nothing else, when writing fails", () =>
      Effect.gen(function* () {
        const at = yield* folder
        const path = join(at, "a.pt")
        yield* TorchFile.write(path, { weight })
        const before = readFileSync(path)
        const failing = Stream.concat(Stream.make(["bias", bias] as const), Stream.fail("the user's own"))
        assert.deepStrictEqual(yield* Effect.exit(TorchFile.writeStream(path, failing)), Exit.fail("the user's own"))
        const twice = Stream.make(["bias", bias] as const, ["bias", bias] as const)
        assert.instanceOf(yield* Effect.flip(TorchFile.writeStream(path, twice)), InvalidInput)
        assert.deepStrictEqual(readdirSync(at), ["a.pt"])
        assert.isTrue(readFileSync(path).equals(before))
      })
    )

    it.effect("leaves the old file, and nothing else, when writing is interrupted", () =>
      Effect.gen(function* () {
        const at = yield* folder
        const path = join(at, "a.pt")
        yield* TorchFile.write(path, { weight })
        yield* Safetensors.write(join(at, "a.safetensors"), { weight })
        const before = readFileSync(path)
        const begun = yield* Deferred.make<void>()
        const endless = Stream.concat(
          Stream.make(["bias", bias] as const),
          Stream.fromEffect(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
        )
        const fiber = yield* Effect.forkChild(TorchFile.writeStream(path, endless))
        yield* Deferred.await(begun)
        assert.lengthOf(readdirSync(at), 3)
        yield* Fiber.interrupt(fiber)
        // As soon as they have begun.
        for (const write of [
          TorchFile.write(path, { bias }),
          TorchFile.writeStream(path, Stream.make(["bias", bias] as const)),
          Safetensors.write(join(at, "a.safetensors"), { bias })
        ]) {
          yield* Fiber.interrupt(yield* Effect.forkChild(write, { startImmediately: true }))
        }
        assert.deepStrictEqual(readdirSync(at).sort(), ["a.pt", "a.safetensors"])
        assert.isTrue(readFileSync(path).equals(before))
        assert.isTrue(Tensor.equals(yield* (yield* Safetensors.open(join(at, "a.safetensors"))).read("weight"), weight))
        // A place that cannot be written to is a PlatformError.
        const nowhere = yield* Effect.flip(TorchFile.write(join(at, "no", "b.pt"), { bias }))
        assert.strictEqual(nowhere._tag, "PlatformError")
      })
    )

    it.effect("reads of a file that is cut while it is open: an error that says so", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "cut.pt")
        yield* TorchFile.write(path, { bias, weight })
        const file = yield* TorchFile.open(path)
        truncateSync(path, 2000)
        const error = yield* Effect.flip(file.read("weight"))
        assert.instanceOf(error, TensorDecodeError)
        assert.match(error.message, /is gone: it was cut/)
      })
    )

    it.effect("refuses to write what is no tensor, naming it", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "no.pt")
        for (const [tensors, field] of [
          [{ a: bias, b: 1 }, 'tensors["b"]'],
          [[bias, null], "tensors[1]"],
          [new Map<string, unknown>([["x", "text"]]), 'tensors["x"]']
        ] as const) {
          const error = yield* Effect.flip(TorchFile.write(path, tensors as never))
          assert.instanceOf(error, InvalidInput)
          assert.strictEqual(error.field, field)
        }
      })
    )

    it.effect("says what is wrong with a damaged tensor, and still reads the others", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "damaged.pt")
        yield* TorchFile.write(path, { weight, bias })
        const bytes = readFileSync(path)
        const at = bytes.indexOf(Buffer.from(weight.data.buffer, 0, 16))
        bytes[at + 5]! ^= 1
        writeFileSync(path, bytes)
        const file = yield* TorchFile.open(path)
        assert.isTrue(Tensor.equals(yield* file.read("bias"), bias))
        const error = yield* Effect.flip(file.read("weight"))
        assert.instanceOf(error, TensorDecodeError)
        assert.match(error.message, /data\/0.*damaged/)
        const unchecked = yield* TorchFile.open(path, { verifyCrc: false })
        assert.isFalse(Tensor.equals(yield* unchecked.read("weight"), weight))
      })
    )

    it.effect("refuses what is no such file", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "no.pt")
        for (const [content, words] of [
          ["", /empty/],
          ["hello, this is no file of tensors", /not those of a torch.save file/],
          ["PK\u0003\u0004 but no more than that", /zip end record/]
        ] as const) {
          writeFileSync(path, content)
          const error = yield* Effect.flip(TorchFile.open(path))
          assert.match(error.message, words)
        }
      })
    )
  })
})
