import { assert, describe, it } from "@effect/vitest"
import { randn } from "../../src/schema/TensorRandom.ts"
import { encodeWhole } from "../../src/torch/Encoder.ts"
import { bounds, corpusOf, fuzzFile, fuzzStream, makeTally, ownSamples, Random, sampleOf } from "./fuzzing.ts"

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
  })

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
  })
})
