import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { sparkline, statisticsOf, statisticsOfBlocks } from "../../../src/cli/output/statistics.ts"
import { dtypeInfo } from "../../../src/schema/DType.ts"
import { Tensor } from "../../../src/Tensor.ts"

const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)

describe("statistics", () => {
  it.effect.prop("agree with their definitions, for any finite elements", [Schema.Array(Schema.Finite)], ([values]) =>
    Effect.sync(() => {
      const float = values.map((value) => (Math.abs(value) > 1e100 ? 1 : value))
      const found = statisticsOf(
        Tensor.make({ dtype: "float64", shape: [float.length], data: new Float64Array(float) })
      )
      assert.strictEqual(found.count, float.length)
      assert.strictEqual(found.nanCount, 0)
      if (float.length === 0) return assert.strictEqual(found.min, undefined)
      assert.strictEqual(found.min, Math.min(...float))
      assert.strictEqual(found.max, Math.max(...float))
      const mean = sum(float.map((value) => value / float.length))
      const scale = Math.max(...float.map(Math.abs), 1e-300)
      assert.isBelow(Math.abs(found.mean! - mean) / scale, 1e-9)
      assert.isAtLeast(found.mean!, found.min!)
      assert.isAtMost(found.mean!, found.max!)
      // Every element is in one bin.
      assert.strictEqual(sum(found.histogram!.counts), float.length)
      assert.strictEqual(found.histogram!.edges.length, found.histogram!.counts.length + 1)
      assert.isTrue(found.histogram!.edges.every((edge, index, edges) => index === 0 || edge >= edges[index - 1]!))
    })
  )

  it.effect.prop("are the same of a tensor in blocks as of the whole", [Tensor.Schema], ([tensor]) =>
    Effect.gen(function* () {
      const { data, dtype } = tensor
      const { itemsize } = dtypeInfo(dtype)
      const blocks = Stream.range(0, data.byteLength / itemsize - 1).pipe(
        Stream.map((index) =>
          Tensor.make({ dtype, shape: [1], data: data.subarray(index * itemsize, (index + 1) * itemsize) })
        )
      )
      assert.deepStrictEqual(yield* statisticsOfBlocks(dtype, blocks), statisticsOf(tensor))
    })
  )

  it("leave out what no float64 can hold, and say nothing that is not finite", () => {
    const found = statisticsOf(
      Tensor.make({ dtype: "float64", shape: [3], data: new Float64Array([1.7e308, -1.7e308, 0]) })
    )
    assert.deepStrictEqual([found.min, found.max, found.mean, found.std], [-1.7e308, 1.7e308, undefined, undefined])
    assert.deepStrictEqual(sum(found.histogram!.counts), 3)
  })

  it("count NaN and infinities, and keep them out of the rest", () => {
    const found = statisticsOf(Tensor.fromArray([1, Number.NaN, 3, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]))
    assert.deepInclude(found, { count: 5, nanCount: 1, infCount: 2, min: 1, max: 3, mean: 2, std: 1 })
  })

  it("have nothing to say of a tensor without finite elements", () => {
    assert.deepStrictEqual(statisticsOf(Tensor.fromArray([Number.NaN])), { count: 1, nanCount: 1, infCount: 0 })
    assert.deepStrictEqual(statisticsOf(Tensor.zeros([0, 3])), { count: 0, nanCount: 0, infCount: 0 })
  })

  it("give few whole numbers a bin each", () => {
    const found = statisticsOf(Tensor.make({ dtype: "uint8", shape: [6], data: new Uint8Array([1, 2, 2, 3, 3, 3]) }))
    assert.deepStrictEqual(found.histogram, { edges: [0.5, 1.5, 2.5, 3.5], counts: [1, 2, 3] })
    assert.strictEqual(sparkline(found.histogram!), "▃▅█")
    const flags = statisticsOf(Tensor.make({ dtype: "bool", shape: [3], data: new Uint8Array([0, 1, 1]) }))
    assert.deepStrictEqual(flags.histogram!.counts, [1, 2])
  })

  it("hold the extremes of what a float64 can be", () => {
    const found = statisticsOf(
      Tensor.make({ dtype: "float64", shape: [2], data: new Float64Array([-Number.MAX_VALUE, Number.MAX_VALUE]) })
    )
    assert.deepStrictEqual([sum(found.histogram!.counts), found.histogram!.counts[0]], [2, 1])
  })

  it("look at complex elements by their absolute value, and at integers of 64 bits", () => {
    const complex = Tensor.make({ dtype: "complex64", shape: [1], data: new Float32Array([3, 4]) })
    assert.strictEqual(statisticsOf(complex).mean, 5)
    const large = Tensor.make({ dtype: "int64", shape: [2], data: new BigInt64Array([-4n, 4n]) })
    assert.deepInclude(statisticsOf(large), { min: -4, max: 4, mean: 0 })
  })

  it("go on over more elements than one block", () => {
    const found = statisticsOf(
      Tensor.make({ dtype: "float32", shape: [200_000], data: new Float32Array(200_000).fill(2) })
    )
    assert.deepInclude(found, { count: 200_000, min: 2, max: 2, mean: 2, std: 0 })
  })
})
