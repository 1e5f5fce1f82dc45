import { assert, describe, it } from "@effect/vitest"
import { look, plotOf } from "../../../src/cli/output/summaries.ts"
import { Tensor } from "../../../src/Tensor.ts"

const svg = (name: string, tensor: Tensor) => plotOf([look(name, tensor, { statistics: true })])

/** Tags that open and close as they should, as XML wants them. */
const isWellFormed = (text: string): boolean => {
  const open: Array<string> = []
  for (const [, close, name, self] of text.replace(/<\?.*?\?>/g, "").matchAll(/<(\/?)([a-zA-Z]+)[^<>]*?(\/?)>/g)) {
    if (close === "/") {
      if (open.pop() !== name) return false
    } else if (self !== "/") open.push(name!)
  }
  return open.length === 0
}

describe("a plot", () => {
  it("is an SVG document with a bar for each bin", () => {
    const text = svg("weight", Tensor.randn([100, 100], { seed: 1 }))
    assert.match(text, /^<\?xml version="1\.0"/)
    assert.isTrue(isWellFormed(text))
    assert.strictEqual(text.match(/class="bar"/g)?.length, 20)
    assert.notMatch(text, /NaN[^ ]|undefined|Infinity/)
  })

  it("shows names as text, whatever is in them", () => {
    const text = svg(`<script>alert("&")</script>\u0000`, Tensor.zeros([2]))
    assert.isTrue(isWellFormed(text))
    assert.notInclude(text, "<script")
    assert.notInclude(text, "\u0000")
  })

  it("shows a tensor without finite elements as such", () => {
    const text = svg("empty", Tensor.zeros([0]))
    assert.isTrue(isWellFormed(text))
    assert.include(text, "0 elements, none finite")
  })
})
