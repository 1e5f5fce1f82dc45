import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { expandArguments } from "../../../src/cli/input/arguments.ts"
import { parseDuration } from "../../../src/cli/input/durations.ts"
import { bar, progressLine, summaryLine } from "../../../src/cli/output/Progress.ts"
import { formatAge, formatBytes, formatDuration, formatNumber } from "../../../src/cli/output/quantities.ts"
import { coloured, truncate, unstyled, width } from "../../../src/cli/output/Style.ts"
import { formatTable, widened } from "../../../src/cli/output/table.ts"
import { wrapHelp } from "../../../src/cli/output/wrap.ts"
import { nearest } from "../../../src/cli/suggestions.ts"

describe("text", () => {
  it("shows bytes, durations, ages and numbers as people read them", () => {
    assert.deepStrictEqual([0, 512, 1536, 1024 ** 2 * 200].map(formatBytes), ["0 B", "512 B", "1.5 KiB", "200 MiB"])
    assert.deepStrictEqual([0, 0.029, 0.44, 12, 200, 7500, 100_000].map(formatDuration), [
      "0.0s",
      "29ms",
      "0.4s",
      "12s",
      "3m20s",
      "2h5m",
      "1d3h"
    ])
    const now = Date.parse("2026-01-02T00:00:00Z")
    assert.strictEqual(formatAge("2026-01-01T00:00:00Z", now), "24h")
    assert.strictEqual(formatAge("2026-01-03T00:00:00Z", now), "0s")
    assert.strictEqual(formatAge(undefined, now), "<unknown>")
    assert.deepStrictEqual([1, 1 / 3, 1e300, Number.NaN, 16777217, 2 ** 53, 1234567.5].map(formatNumber), [
      "1",
      "0.333333",
      "1e+300",
      "NaN",
      "16777217",
      "9.0072e+15",
      "1.23457e+6"
    ])
  })

  it("lines a table up, colours or not, without spaces at its ends", () => {
    const text = formatTable(
      ["NAME", "STATUS"],
      [
        [coloured.bold("a"), "Ready"],
        ["long-name", ""]
      ]
    )
    assert.deepStrictEqual(unstyled(text).split("\n"), ["NAME        STATUS", "a           Ready", "long-name"])
  })

  it("makes room for rows that come later, and none less for those that came", () => {
    assert.deepStrictEqual(widened([4, 6, 0], ["long-name", "a", "x"]), [9, 6, 1])
  })

  it("lets what is explained go on under its own column, or below where there is no room", () => {
    const help = "FLAGS\n  --timeout duration    How long to wait until the operator acknowledges (60s by default)"
    assert.strictEqual(
      wrapHelp(help, 60),
      [
        "FLAGS",
        "  --timeout duration    How long to wait until the operator",
        "                        acknowledges (60s by default)"
      ].join("\n")
    )
    assert.strictEqual(
      wrapHelp(help, 40),
      [
        "FLAGS",
        "  --timeout duration",
        "      How long to wait until the",
        "      operator acknowledges (60s by",
        "      default)"
      ].join("\n")
    )
    const example = "EXAMPLES\n  # From flags, and wait until it serves\n  kpu apply my-compute --image server:1 --wait"
    assert.strictEqual(wrapHelp(example, 20), example)
  })

  it.effect.prop("cuts to a width and never beyond it", [Schema.String, Schema.Int], ([text, n]) =>
    Effect.sync(() => {
      const columns = Math.abs(n) % 100
      assert.isAtMost(width(truncate(text, columns)), Math.max(columns, 0))
    })
  )

  it("reads durations as kubectl writes them", () => {
    const millis = (text: string) => {
      const value = parseDuration(text)
      return value === undefined ? undefined : Duration.toMillis(value)
    }
    assert.deepStrictEqual(
      ["300s", "5m", "1h30m", "250ms", "1.5", "0"].map(millis),
      [300_000, 300_000, 5_400_000, 250, 1500, 0]
    )
    for (const bad of ["", "-1s", "5x", "s", "1 m", "1m5", "NaN"]) assert.strictEqual(millis(bad), undefined, bad)
  })

  it("takes short flags with their value attached, and leaves what follows -- alone", () => {
    assert.deepStrictEqual(expandArguments(["get", "-nteam", "-ojson", "-w", "-o=yaml", "--", "-nx"]), [
      "get",
      "-n=team",
      "-o=json",
      "-w",
      "-o=yaml",
      "--",
      "-nx"
    ])
    assert.deepStrictEqual(expandArguments(["get", "-wojson"]), ["get", "-w", "-o=json"])
    assert.deepStrictEqual(expandArguments(["get", "-wqn", "team"]), ["get", "-w", "-q", "-n", "team"])
    assert.deepStrictEqual(expandArguments(["apply", "-eLOG=1", "-verbose", "--", "help"]), [
      "apply",
      "-e=LOG=1",
      "-verbose",
      "--",
      "help"
    ])
  })

  it.effect.prop(
    "finds the name that was meant behind one mistake",
    [Schema.Array(Schema.String), Schema.Int],
    ([names, n]) =>
      Effect.sync(() => {
        const meant = "my-compute"
        const at = Math.abs(n) % meant.length
        const others = names.filter((name) => name.length > meant.length + 3)
        const changed = `${meant.slice(0, at)}_${meant.slice(at + 1)}`
        const left = meant.slice(0, at) + meant.slice(at + 1)
        const swapped = meant.slice(0, at) + (meant[at + 1] ?? "") + meant[at] + meant.slice(at + 2)
        for (const typed of [meant, changed, left, swapped])
          assert.strictEqual(nearest(typed, [...others, meant]), meant)
      })
  )

  it("suggests nothing that is not near", () => {
    assert.strictEqual(nearest("nobody", ["my-compute", "", "no"]), undefined)
    assert.strictEqual(nearest("a", ["bc", "abc"]), undefined)
    assert.strictEqual(nearest("secnod", ["first", "second"]), "second")
    assert.strictEqual(nearest("x", []), undefined)
  })
})

describe("progress", () => {
  it("shows bar, rate and time left where the whole is known", () => {
    const line = progressLine(
      { label: "sending", totalBytes: 4 * 1024 ** 2 },
      { bytes: 1024 ** 2, tensors: 0, seconds: 2 }
    )
    assert.strictEqual(line, "sending  [######..................]  25%  1.0 MiB/4.0 MiB  512 KiB/s  6.0s left")
  })

  it("never passes the whole: the wire carries a little more than the elements", () => {
    const line = progressLine({ label: "sending", totalBytes: 1000 }, { bytes: 1400, tensors: 1, seconds: 1 })
    assert.include(line, "100%")
    assert.notInclude(line, "left")
  })

  it("counts tensors where bytes are not known", () => {
    const line = progressLine({ label: "receiving", totalTensors: 4 }, { bytes: 2048, tensors: 1, seconds: 1 })
    assert.strictEqual(line, "receiving  [######..................]  25%  1/4 tensors  2.0 KiB  2.0 KiB/s  3.0s left")
  })

  it("says nothing that is not so at the start", () => {
    const line = progressLine({ label: "sending", totalBytes: 10 }, { bytes: 0, tensors: 0, seconds: 0 })
    assert.notMatch(line, /NaN|Infinity|left/)
    assert.strictEqual(summaryLine({ bytes: 0, tensors: 0, seconds: 0 }), "0 tensors, 0 B in 0.0s")
  })

  it.effect.prop("draws a bar of one width for any share", [Schema.Finite], ([share]) =>
    Effect.sync(() => assert.strictEqual(bar(share).length, bar(0).length))
  )
})
