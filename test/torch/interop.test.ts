import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { dtypeInfo, dtypes } from "../../src/schema/DType.ts"
import { equals, make, type Tensor } from "../../src/schema/Tensor.ts"
import { fromNumbers, toFloat64Array } from "../../src/schema/TensorElements.ts"
import { TensorSchema } from "../../src/schema/TensorSchema.ts"
import * as TorchFile from "../../src/TorchFile.ts"
import { decodeTensor } from "../../src/torch/Decoder.ts"
import { encodeWhole } from "../../src/torch/Encoder.ts"
import { describeWith } from "../kit/peers.ts"
import { type Case, type Elements, type Layout, TorchTool } from "../kit/TorchTool.ts"

const shapes: ReadonlyArray<ReadonlyArray<number>> = [
  [],
  [0, 3],
  [7],
  [2, 3],
  [2, 3, 4],
  [2, 3, 4, 5],
  [1, 2, 1, 3, 2, 2, 1, 2],
  [129, 257]
]

const layoutsOf = (dtype: (typeof dtypes)[number], shape: ReadonlyArray<number>): ReadonlyArray<Layout> => {
  const { kind } = dtypeInfo(dtype)
  const rank = shape.length
  return [
    "contiguous",
    ...(rank >= 2 ? (["transposed"] as const) : []),
    ...(rank >= 1 ? (["slice", "step", "expanded"] as const) : []),
    ...(rank === 4 ? (["channels_last"] as const) : []),
    ...(kind === "complex" ? (["conj", "conj_neg"] as const) : []),
    ...(dtype === "float32" || dtype === "float64" || dtype === "float16" ? (["neg"] as const) : []),
    ...(kind === "float" && rank === 2 ? (["parameter", "requires_grad"] as const) : [])
  ]
}

const matrix: ReadonlyArray<Case> = dtypes.flatMap((dtype) =>
  shapes.flatMap((shape) =>
    layoutsOf(dtype, shape).map((layout) => ({
      name: `${dtype}-${shape.join("x")}-${layout}`,
      dtype,
      shape,
      layout,
      seed: shape.length + 1,
      // PyTorch's own negation, and its arithmetic on halves, do not always keep a NaN's payload.
      fill: /neg/.test(layout) || (layout === "conj" && dtype === "complex32") ? ("values" as const) : ("bits" as const)
    }))
  )
)

const expected = (answer: Elements): Tensor =>
  make({
    dtype: answer.dtype as Tensor["dtype"],
    shape: answer.shape,
    data: new Uint8Array(readFileSync(answer.bytes))
  })

// PyTorch 2.9 gives −0 or 0 for the negation of a conjugated zero, depending on how many elements it does at a time.
const isConjNeg = ({ name }: { readonly name: string }): boolean => name.endsWith("conj_neg")
const withoutZeroSigns = (tensor: Tensor) => toFloat64Array(tensor).map((value) => value + 0)

/** What PyTorch 1.13 does not have, or cannot save. */
const isNewer = (dtype: Tensor["dtype"]): boolean => dtypeInfo(dtype).storage === undefined

/** What is asked of each PyTorch: how many cases of the matrix it can make at least. */
const versions = [
  { peer: "pytorch", title: "PyTorch 2.9", tool: TorchTool.layer, atLeast: 860 },
  { peer: "pytorch113", title: "PyTorch 1.13", tool: TorchTool.layer113, atLeast: 463 }
] as const

for (const { atLeast, peer, title, tool } of versions) {
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
              if (isConjNeg(answer)) assert.deepEqual(withoutZeroSigns(tensor), withoutZeroSigns(expected(answer)))
              else assert.isTrue(Buffer.from(tensor.data).equals(readFileSync(answer.bytes)), answer.name)
              const ours = join(torch.folder, `${answer.name}.ours.pt`)
              writeFileSync(ours, encodeWhole(tensor))
              pairs.push([answer.file, ours])
            }
            const compared = yield* torch.equal(pairs)
            compared.forEach((answer, index) => {
              assert.isTrue(answer.bits || isConjNeg(made[index]!), `${pairs[index]![1]}: ${answer.why}`)
            })
            const dumped = yield* torch.dump(pairs.map(([, ours]) => ours))
            for (const [index, answer] of dumped.entries()) {
              if ("error" in answer) return assert.fail(answer.error)
              const [tensor] = answer.tensors
              assert.isTrue(tensor!.contiguous)
              assert.strictEqual(tensor!.storage, readFileSync(made[index]!.bytes).byteLength, "only its own elements")
            }
            assert.isAtLeast(made.length, atLeast)
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

      it.effect("that hold many tensors are read by name, and ours are read there", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          for (const answer of yield* torch.makeSpecial(["list", "dict", "nested", "state_dict", "shared"])) {
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
            quantized: /quantized tensor/,
            ndarray: /NumPy object/,
            object: /a Python object/,
            attributes: /_rebuild_from_type_v2.*Python attributes/,
            legacy: /before PyTorch 1\.6/,
            float4: /packed dtype/,
            dict: /holds a dict of 2, not one tensor; TorchFile reads several/,
            list: /holds a list of 2/
          } as const
          // PyTorch 1.13 drops a tensor's attributes when it saves.
          const kinds = (Object.keys(words) as Array<keyof typeof words>).filter(
            (kind) => kind !== "attributes" || peer === "pytorch"
          )
          for (const answer of yield* torch.makeSpecial(kinds)) {
            if (!("file" in answer)) continue
            const name = answer.name as keyof typeof words
            let message = "nothing was refused"
            try {
              decodeTensor(new Uint8Array(readFileSync(answer.file)))
            } catch (error) {
              message = String(error)
            }
            assert.match(message, words[name], name)
          }
        })
      )
    })
  })
}
