import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Npy from "../../src/formats/Npy.ts"
import * as Safetensors from "../../src/formats/Safetensors.ts"
import { TensorDecodeError } from "../../src/schema/KpuError.ts"
import { randn } from "../../src/schema/TensorRandom.ts"
import { encodeWhole } from "../../src/torch/Encoder.ts"
import { bounds, corpusOf, fuzzFile, fuzzStream, makeTally, mutate, ownSamples, Random, sampleOf } from "./fuzzing.ts"

// The long form, with files of PyTorch's own and measured times and memory: npm run fuzz -- --minutes 5
describe("mutated bytes", () => {
  it("of files give tensors or typed errors, and bounded work", () => {
    const samples = [...ownSamples(), sampleOf(encodeWhole(randn([40], { seed: 1 })))]
    const corpus = corpusOf(samples)
    const tally = makeTally()
    for (let seed = 0; seed < 4000; seed++) {
      try {
        fuzzFile(new Random(seed), samples, corpus, tally)
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    assert.isAbove(tally.refused, 1000)
    assert.isAbove(tally.accepted, 100)
    assert.isAbove(tally.problems.size, 60, "many kinds of refusals were met")
    assert.isAtMost(tally.bytesPerByte, bounds.bytesPerByte)
  }, 300_000)

  it("of .npy and safetensors files give tensors or typed errors", () => {
    const tensors = { a: randn([3, 4], { seed: 1 }), b: randn([5], { seed: 2, dtype: "float16" }) }
    const formats = [
      { sample: Effect.runSync(Npy.encode(tensors.a)), read: (bytes: Uint8Array) => Npy.decode(bytes) },
      {
        sample: Effect.runSync(Safetensors.toBytes(tensors, { metadata: { format: "pt" } })),
        read: (bytes: Uint8Array) =>
          Effect.flatMap(Safetensors.fromBytes(bytes), (file) => Stream.runCollect(file.readAll))
      }
    ]
    const corpus = formats.map(({ sample }) => sample)
    for (const { read, sample } of formats) {
      const met = { refused: 0, accepted: 0 }
      for (let seed = 0; seed < 3000; seed++) {
        // Anything but a typed error is a defect, which runSync throws.
        const result = Effect.runSync(
          Effect.result<unknown, TensorDecodeError, never>(read(mutate(new Random(seed), sample, corpus)))
        )
        if (result._tag === "Failure") {
          assert.instanceOf(result.failure, TensorDecodeError)
          met.refused++
        } else met.accepted++
      }
      assert.isAbove(met.refused, 500)
      assert.isAbove(met.accepted, 50)
    }
  }, 300_000)

  it("of chunk streams give the tensors that were sent or typed errors, and bounded memory", () => {
    const tally = makeTally()
    for (let seed = 0; seed < 4000; seed++) {
      try {
        fuzzStream(new Random(seed), tally)
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    assert.isAbove(tally.refused, 1000)
    assert.isAbove(tally.accepted, 500)
    assert.isAbove(tally.problems.size, 20)
  }, 300_000)
})
