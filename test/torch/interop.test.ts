import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { dtypeInfo, dtypes } from "../../src/schema/DType.ts"
import { equals, make, type Tensor } from "../../src/schema/Tensor.ts"
import { fromNumbers } from "../../src/schema/TensorElements.ts"
import { TensorSchema } from "../../src/schema/TensorSchema.ts"
import * as TorchFile from "../../src/TorchFile.ts"
import { decodeTensor } from "../../src/torch/Decoder.ts"
import { encodeWhole } from "../../src/torch/Encoder.ts"
import { pickle, tensorPickle, tensorRecords, wholePickle, zip } from "../kit/Archive.ts"
import { describeWith } from "../kit/peers.ts"
import { isNewer, losesZeroSigns, matrix, sameNumbers } from "../kit/TensorMatrix.ts"
import { type Elements, TorchTool } from "../kit/TorchTool.ts"

const expected = (answer: Elements): Tensor =>
  make({
    dtype: answer.dtype as Tensor["dtype"],
    shape: answer.shape,
    data: new Uint8Array(readFileSync(answer.bytes))
  })

/** What is asked of each PyTorch: how many cases of the matrix it can make. */
const versions = [
  { peer: "pytorch", title: "PyTorch 2.9", tool: TorchTool.layer, cases: 1072 },
  { peer: "pytorch113", title: "PyTorch 1.13", tool: TorchTool.layer113, cases: 563 }
] as const

for (const { cases, peer, title, tool } of versions) {
  describeWith([peer], `files of ${title}`, () => {
    layer(tool, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
      it.effect(
        "are read bit by bit, and ours are read there, in every dtype, layout and size",
        () =>
          Effect.gen(function* () {
            const torch = yield* TorchTool
            const answers = yield* torch.make(matrix)
            const made = answers.filter((answer) => "file" in answer)
            const pairs: Array<readonly [string, string]> = []
            for (const answer of made) {
              const file = new Uint8Array(readFileSync(answer.file))
              const tensor = decodeTensor(file)
              assert.strictEqual(tensor.dtype, answer.dtype, answer.name)
              assert.deepStrictEqual(tensor.shape, answer.shape, answer.name)
              if (losesZeroSigns(answer)) assert.isTrue(sameNumbers(tensor, expected(answer)), answer.name)
              else assert.isTrue(Buffer.from(tensor.data).equals(readFileSync(answer.bytes)), answer.name)
              const ours = join(torch.folder, `${answer.name}.ours.pt`)
              writeFileSync(ours, encodeWhole(tensor))
              pairs.push([answer.file, ours])
            }
            const compared = yield* torch.equal(pairs)
            compared.forEach((answer, index) => {
              assert.isTrue(answer.bits || losesZeroSigns(made[index]!), `${pairs[index]![1]}: ${answer.why}`)
            })
            const dumped = yield* torch.dump(pairs.map(([, ours]) => ours))
            for (const [index, answer] of dumped.entries()) {
              if ("error" in answer) return assert.fail(answer.error)
              const [tensor] = answer.tensors
              assert.isTrue(tensor!.contiguous)
              assert.strictEqual(tensor!.storage, readFileSync(made[index]!.bytes).byteLength, "only its own elements")
            }
            // With weights_only=False, its default until 2.6, torch.load goes another way.
            const unsafe = yield* torch.equal(pairs, { weightsOnly: false })
            unsafe.forEach((answer, index) => {
              assert.isTrue(answer.bits || losesZeroSigns(made[index]!), `${pairs[index]![1]}: ${answer.why}`)
            })
            console.log(`${title}: ${made.length} of ${matrix.length} cases read and written bit-equal`)
            assert.strictEqual(made.length, cases)
          }),
        300_000
      )

      it.effect("are written as PyTorch 2.9 writes them, but for the serialization id", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          if (!torch.version.startsWith("2.9")) return
          for (const dtype of ["float32", "uint16", "complex64"]) {
            // torch.save names the archive after the file.
            const [answer] = yield* torch.make([{ name: "archive", dtype, shape: [2, 3] }])
            if (answer === undefined || !("file" in answer)) return assert.fail(answer?.skipped)
            const theirs = readFileSync(answer.file)
            const ours = Buffer.from(encodeWhole(expected(answer)))
            assert.strictEqual(ours.length, theirs.length)
            const id = ours.indexOf("serialization_id") + "serialization_id".length
            const differ = [...ours.keys()].filter((at) => ours[at] !== theirs[at])
            // The 40 digits, and their CRC-32 in two places.
            assert.isAtMost(differ.length, 48)
            assert.isTrue(differ.every((at) => at >= id))
          }
        })
      )

      it.effect("come back from there as they went, for generated tensors", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          const tensors = yield* Arbitrary.sampleEffect(Arbitrary.schema(TensorSchema), { count: 300, seed: 1 })
          const files = tensors.map((tensor, index) => {
            const file = join(torch.folder, `generated-${index}.pt`)
            writeFileSync(file, encodeWhole(tensor))
            return file
          })
          let returned = 0
          for (const [index, answer] of (yield* torch.resave(files)).entries()) {
            const tensor = tensors[index]!
            if (!("file" in answer)) {
              assert.isTrue(peer === "pytorch113" && isNewer(tensor.dtype), `${tensor.dtype}: ${answer.skipped}`)
              continue
            }
            assert.isTrue(equals(decodeTensor(new Uint8Array(readFileSync(answer.file))), tensor), files[index])
            returned++
          }
          assert.isAbove(returned, peer === "pytorch113" ? 100 : 299)
        })
      )

      it.effect("hold the numbers that our rounding gives, in every dtype", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          const numbers = Float64Array.from({ length: 100 }, (_, index) => index)
          const real = dtypes.filter((dtype) => !["bool", "int64", "uint64"].includes(dtype))
          const made = yield* torch.make(
            real.map((dtype) => ({ name: `numbers-${dtype}`, dtype, shape: [100], fill: "values" as const }))
          )
          for (const answer of made) {
            if (!("file" in answer)) continue
            const dtype = answer.dtype as Tensor["dtype"]
            const parts = dtypeInfo(dtype).kind === "complex" ? [...numbers].flatMap((number) => [number, 0]) : numbers
            assert.isTrue(equals(fromNumbers(parts, { dtype, shape: [100] }), expected(answer)), dtype)
          }
        })
      )

      it.effect("of big-endian machines are read as torch.load reads them, and where it does not swap, swapped", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          // 1.13 knows no byte order but its own.
          if (!torch.version.startsWith("2.9")) return
          const storage = Uint8Array.from({ length: 96 }, (_, index) => Math.imul(index + 1, 2654435761) >>> 24)
          const lazily = (key: string) =>
            Buffer.concat([pickle.emptyDict, pickle.text(key), pickle.true, pickle.setItem])
          const files = dtypes.flatMap((dtype) => {
            const { itemsize, kind, storage: typed, unit } = dtypeInfo(dtype)
            const numel = 96 / itemsize
            const columns = numel / 3
            const views = [
              { shape: [3, columns], strides: [columns, 1] },
              { shape: [columns, 3], strides: [1, columns] },
              { offset: 1, shape: [2, columns - 1], strides: [columns, 1] },
              ...(kind === "complex" && dtype !== "complex32"
                ? [{ shape: [numel], strides: [1], metadata: lazily("conj") }]
                : [])
            ]
            // Any bits: but a bool is 0 or 1.
            const data = dtype === "bool" ? storage.map((byte) => byte & 1) : storage
            return views.map((view, index) => {
              const whole = typed === undefined ? { numel: 96, dtype } : { numel, storage: typed }
              const file = join(torch.folder, `big-${dtype}-${index}.pt`)
              const records = tensorRecords(wholePickle(tensorPickle({ ...whole, ...view })), data)
              writeFileSync(file, zip([...records, { name: "archive/byteorder", data: Buffer.from("big") }]))
              // PyTorch 2.9 does not know what untyped bytes are, and leaves them as they lie.
              return { file, unit: typed === undefined ? unit : 1 }
            })
          })
          for (const [index, answer] of (yield* torch.dump(files.map(({ file }) => file))).entries()) {
            const { file, unit } = files[index]!
            if ("error" in answer) return assert.fail(`${file}: ${answer.error}`)
            const theirs = expected(answer.tensors[0]!)
            const bytes = Buffer.from(theirs.data)
            if (unit === 2) bytes.swap16()
            else if (unit === 4) bytes.swap32()
            else if (unit === 8) bytes.swap64()
            const tensor = decodeTensor(new Uint8Array(readFileSync(file)))
            assert.isTrue(equals(tensor, make({ ...theirs, data: new Uint8Array(bytes) })), file)
          }
          assert.strictEqual(files.length, 3 * dtypes.length + 2)
        })
      )

      it.effect("that hold many tensors are read by name, and ours are read there", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          for (const answer of yield* torch.makeSpecial([
            "list",
            "tuple",
            "parameters",
            "dict",
            "nested",
            "shared",
            "state_dict",
            "transformer",
            "checkpoint"
          ])) {
            if (!("file" in answer)) return assert.fail(`${answer.name}: ${answer.skipped}`)
            const file = yield* TorchFile.open(answer.file)
            assert.deepStrictEqual(
              [...file.tensors.keys()],
              answer.tensors.map(({ name }) => name)
            )
            const tensors = new Map(yield* Stream.runCollect(file.readAll))
            for (const each of answer.tensors) assert.isTrue(equals(tensors.get(each.name)!, expected(each)), each.name)
            if (answer.name === "nested")
              assert.deepStrictEqual(
                [...file.values],
                [
                  ["n", 1],
                  ["s", "text"]
                ]
              )
            if (answer.name === "parameters") {
              assert.isTrue([...file.tensors.values()].every(({ requiresGrad }) => requiresGrad))
            }
            if (answer.name === "transformer") {
              // A scalar of int64, and one storage under two names.
              assert.deepInclude(file.tensors.get("norm.num_batches_tracked"), { dtype: "int64", shape: [] })
              assert.isTrue(equals(tensors.get("out.weight")!, tensors.get("source.weight")!))
              assert.isAbove(file.tensors.size, 30)
            }
            if (answer.name === "checkpoint") {
              const values = {
                epoch: 3,
                loss: 0.25,
                best: null,
                note: "größe",
                seed: 2n ** 70n,
                "optimizer.param_groups.0.betas.1": 0.999,
                "optimizer.param_groups.0.amsgrad": false,
                "optimizer.param_groups.0.params.5": 5,
                "scheduler.last_epoch": 1
              }
              for (const [name, value] of Object.entries(values)) assert.deepEqual(file.values.get(name), value, name)
              assert.isTrue(file.tensors.has("optimizer.state.0.exp_avg"))
            }

            const written = join(torch.folder, `${answer.name}.ours.pt`)
            const streamed = join(torch.folder, `${answer.name}.streamed.pt`)
            yield* TorchFile.write(written, file.kind === "list" ? [...tensors.values()] : tensors)
            yield* TorchFile.writeStream(streamed, file.readAll)
            for (const dumped of yield* torch.dump([written, streamed])) {
              if ("error" in dumped) return assert.fail(`${dumped.file}: ${dumped.error}`)
              assert.deepStrictEqual(
                dumped.tensors.map(({ name }) => name),
                [...tensors.keys()]
              )
              for (const each of dumped.tensors)
                assert.isTrue(equals(expected(each), tensors.get(each.name)!), each.name)
            }
          }
        }).pipe(Effect.provide(NodeServices.layer))
      )

      it.effect("that hold something else than a tensor are refused by what it is", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          const words = {
            sparse: /_rebuild_sparse_tensor.*a sparse tensor/,
            sparse_csr: /_rebuild_sparse.*a sparse tensor/,
            sparse_csc: /_rebuild_sparse.*a sparse tensor/,
            sparse_bsr: /_rebuild_sparse.*a sparse tensor/,
            quantized: /_rebuild_qtensor.*a quantized tensor/,
            per_channel: /_rebuild_qtensor.*a quantized tensor/,
            quint4x2: /_rebuild_qtensor.*a quantized tensor/,
            bits: /"torch bits8": a packed dtype/,
            nested_tensor: /_rebuild_nested_tensor.*a nested tensor/,
            meta: /_rebuild_meta_tensor_no_storage.*a meta tensor/,
            subclass: /_rebuild_from_type_v2.*or of a subclass/,
            module: /"torch\.nn\.modules\.linear Linear": a Python object/,
            size: /"torch Size": a torch\.Size; save tuple\(size\)/,
            set: /"__builtin__ set": a Python object/,
            script: /constants\.pkl.*a TorchScript program/,
            ndarray: /NumPy object/,
            object: /a Python object/,
            attributes: /_rebuild_from_type_v2.*Python attributes/,
            legacy: /before PyTorch 1\.6/,
            float4: /"torch float4_e2m1fn_x2": a packed dtype/,
            dict: /holds a dict of 2, not one tensor; TorchFile reads several/,
            list: /holds a list of 2/
          } as const
          // PyTorch 1.13 drops a tensor's attributes when it saves.
          const kinds = (Object.keys(words) as Array<keyof typeof words>).filter(
            (kind) => kind !== "attributes" || peer === "pytorch"
          )
          const skipped: Array<string> = []
          for (const answer of yield* torch.makeSpecial(kinds)) {
            if (!("file" in answer)) {
              skipped.push(answer.name)
              continue
            }
            const name = answer.name as keyof typeof words
            let message = "nothing was refused"
            try {
              decodeTensor(new Uint8Array(readFileSync(answer.file)))
            } catch (error) {
              message = String(error)
            }
            assert.match(message, words[name], name)
          }
          // What 1.13 has not, or cannot save.
          const newer = ["sparse_csc", "sparse_bsr", "bits", "nested_tensor", "subclass", "float4"]
          assert.deepStrictEqual(skipped, peer === "pytorch113" ? newer : [])

          // In a file of several, what is neither a tensor nor a plain value is named.
          const inside = {
            dtype: /at "dtype": torch\.float32, which is neither/,
            storage: /at "weight": a storage, which is neither/
          } as const
          for (const answer of yield* torch.makeSpecial(["dtype", "storage"])) {
            if (!("file" in answer)) return assert.fail(answer.skipped)
            const error = yield* Effect.flip(TorchFile.fromBytes(new Uint8Array(readFileSync(answer.file))))
            assert.match(error.message, inside[answer.name as keyof typeof inside], answer.name)
          }
        })
      )
    })
  })
}
