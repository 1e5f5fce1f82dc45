import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeWith } from "./peers.ts"
import { TorchTool } from "./TorchTool.ts"

const everyLayout = [
  { name: "plain", dtype: "float32", shape: [2, 3] },
  { name: "scalar", dtype: "bool", shape: [] },
  { name: "empty", dtype: "int64", shape: [0, 3] },
  { name: "transposed", dtype: "bfloat16", shape: [2, 3, 4], layout: "transposed" },
  { name: "slice", dtype: "int16", shape: [4, 2], layout: "slice" },
  { name: "step", dtype: "uint8", shape: [2, 5], layout: "step" },
  { name: "expanded", dtype: "float64", shape: [3, 2], layout: "expanded" },
  { name: "channels_last", dtype: "float16", shape: [2, 3, 4, 5], layout: "channels_last" },
  { name: "conj", dtype: "complex64", shape: [4], layout: "conj" },
  { name: "neg", dtype: "float64", shape: [4], layout: "neg" },
  { name: "conj_neg", dtype: "complex128", shape: [4], layout: "conj_neg" },
  { name: "parameter", dtype: "float32", shape: [2], layout: "parameter" },
  { name: "requires_grad", dtype: "float32", shape: [2], layout: "requires_grad" }
] as const

for (const [peer, version, tool] of [
  ["pytorch", /^2\.9\./, TorchTool.layer],
  ["pytorch113", /^1\.13\./, TorchTool.layer113]
] as const) {
  describeWith([peer], `${peer}, asked by tests`, () => {
    layer(tool, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
      it.effect("makes tensors of every layout, whose file holds the elements that it says", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          assert.match(torch.version, version)
          const made = yield* torch.make(everyLayout)
          const files = made.filter((one) => "file" in one)
          const lost = made.filter((one) => "skipped" in one)
          assert.deepStrictEqual(
            lost.map(({ name }) => name),
            peer === "pytorch" ? [] : ["conj", "neg", "conj_neg"]
          )
          const dumped = yield* torch.dump(files.map(({ file }) => file))
          for (const [index, file] of files.entries()) {
            const answer = dumped[index]!
            if ("error" in answer) return assert.fail(answer.error)
            assert.deepStrictEqual(answer.tensors[0]!.shape, file.shape)
            assert.isTrue(readFileSync(answer.tensors[0]!.bytes).equals(readFileSync(file.bytes)), file.name)
          }
        })
      )

      it.effect("compares bit by bit, and says what differs", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          const made = yield* torch.make([
            { name: "one", dtype: "float32", shape: [5], seed: 1 },
            { name: "two", dtype: "float32", shape: [5], seed: 2 },
            { name: "three", dtype: "float32", shape: [5, 1], seed: 1 }
          ])
          const [one = "", two = "", three = ""] = made.map((answer) => ("file" in answer ? answer.file : ""))
          const compared = yield* torch.equal([
            [one, one],
            [one, two],
            [one, three]
          ])
          assert.deepStrictEqual(
            compared.map(({ bits, why }) => [bits, why]),
            [
              [true, undefined],
              [false, "the elements differ"],
              [false, "[5] and [5, 1]"]
            ]
          )
        })
      )

      it.effect("says what it cannot make", () =>
        Effect.gen(function* () {
          const torch = yield* TorchTool
          const made = yield* torch.make([{ name: "none", dtype: "float3", shape: [1] }])
          assert.deepStrictEqual(made, [{ name: "none", skipped: `PyTorch ${torch.version} has no float3` }])
        })
      )
    })
  })
}
