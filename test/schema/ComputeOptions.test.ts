import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { checkComputeOptions, type ScopedOptions, toSpec } from "../../src/schema/ComputeOptions.ts"

const fieldAtFault = (options: unknown): string | undefined => {
  const result = checkComputeOptions(options as ScopedOptions)
  return Result.isFailure(result) ? result.failure.field : undefined
}

describe("checkComputeOptions", () => {
  it.each([
    [{}, "name"],
    [{ name: "" }, "name"],
    [{ name: "My-Compute" }, "name"],
    [{ name: "1st" }, "name"],
    [{ name: "a-" }, "name"],
    [{ name: "a.b" }, "name"],
    [{ name: "a".repeat(64) }, "name"],
    [{ name: 7 }, "name"],
    [{ name: "a", image: "" }, "image"],
    [{ name: "a", image: "  " }, "image"],
    [{ name: "a", image: "an image" }, "image"],
    [{ name: "a", command: "sh" }, "command"],
    [{ name: "a", args: ["-c", 1] }, "args[1]"],
    [{ name: "a", env: { "A=B": "c" } }, "env.A=B"],
    [{ name: "a", env: { "": "c" } }, "env."],
    [{ name: "a", env: { A: 1 } }, "env.A"],
    [{ name: "a", env: [] }, "env"],
    [{ name: "a", labels: { "not a key": "x" } }, "labels.not a key"],
    [{ name: "a", labels: { team: "not a value" } }, "labels.team"],
    [{ name: "a", annotations: { "/x": "y" } }, "annotations./x"],
    [{ name: "a", suspend: "yes" }, "suspend"],
    [{ name: "a", host: "http://x" }, "host"],
    [{ name: "a", host: "x:80" }, "host"],
    [{ name: "a", host: "" }, "host"],
    [{ name: "a", port: 0 }, "port"],
    [{ name: "a", port: 65536 }, "port"],
    [{ name: "a", port: 1.5 }, "port"],
    [{ name: "a", port: "50051" }, "port"],
    [{ name: "a", timeout: -1 }, "timeout"],
    [{ name: "a", timeout: Number.NaN }, "timeout"],
    [{ name: "a", timeout: "soon" }, "timeout"],
    [{ name: "a", gracePeriod: "-3 seconds" }, "gracePeriod"],
    [{ name: "a", ifExists: "maybe" }, "ifExists"],
    [undefined, "options"]
  ])("%j fails, naming %s", (options, field) => {
    assert.strictEqual(fieldAtFault(options), field)
  })

  it.each([
    { name: "a" },
    { name: "a".repeat(63) },
    { name: "my-compute-2", image: "localhost:5001/kpu-torch-server:latest", port: 65535, timeout: "Infinity" },
    { name: "a", host: "::1" },
    { name: "a", host: "[::1]" },
    { name: "a", host: "10.0.0.1" },
    { name: "a", env: { "with.dots-and-dashes": "=" }, labels: { "example.com/team": "" }, gracePeriod: 0 }
  ])("%j passes", (options) => {
    assert.strictEqual(fieldAtFault(options), undefined)
  })

  it("never shows the value of an environment variable", () => {
    const result = checkComputeOptions({ name: "a", env: { TOKEN: "secret\0" } })
    assert.isTrue(Result.isFailure(result))
    assert.notInclude(JSON.stringify(result), "secret")
  })

  const arbitraryName = Schema.String.check(Schema.isPattern(/^[a-z]([-a-z0-9]{0,10}[a-z0-9])?$/))

  it.effect.prop(
    "every name by the CRD's rule passes, and fails with an upper-case letter in it",
    [arbitraryName],
    ([name]) =>
      Effect.sync(() => {
        assert.strictEqual(fieldAtFault({ name }), undefined)
        assert.strictEqual(fieldAtFault({ name: `${name}X` }), "name")
      })
  )
})

describe("toSpec", () => {
  it("says what the options say, suspend always", () => {
    assert.deepStrictEqual(toSpec({ name: "a" }), { suspend: false })
    assert.deepStrictEqual(
      toSpec({
        name: "a",
        image: "i",
        env: { A: "1" },
        command: ["sh"],
        labels: { team: "ml" },
        suspend: true,
        port: 1
      }),
      { image: "i", env: [{ name: "A", value: "1" }], command: ["sh"], labels: { team: "ml" }, suspend: true }
    )
  })
})
