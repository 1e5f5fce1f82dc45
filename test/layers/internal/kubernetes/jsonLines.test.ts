import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { jsonLines, maxLineLength } from "../../../../src/layers/internal/kubernetes/jsonLines.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const parse = (...chunks: ReadonlyArray<Uint8Array>) => jsonLines(Stream.fromIterable(chunks)).pipe(Stream.runCollect)

describe("newline-delimited JSON", () => {
  it.effect.prop(
    "is the same however the bytes are cut",
    [
      Schema.Array(Schema.Union([Schema.String, Schema.Struct({ text: Schema.String })])),
      Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 })))
    ],
    ([values, sizes]) =>
      Effect.gen(function* () {
        const whole = bytes(values.map((value) => `${JSON.stringify(value)}\n`).join(""))
        const chunks: Array<Uint8Array> = []
        for (let at = 0, i = 0; at < whole.length; i++) {
          const size = sizes[i % (sizes.length || 1)] ?? 1
          chunks.push(whole.subarray(at, at + size))
          at += size
        }
        assert.deepStrictEqual(yield* parse(...chunks), [...values])
      })
  )

  it.effect("keeps a character that two pieces share", () =>
    Effect.gen(function* () {
      const whole = bytes(`"caf\u00e9 \u{1f600}"\n`)
      for (let cut = 1; cut < whole.length; cut++) {
        assert.deepStrictEqual(yield* parse(whole.subarray(0, cut), whole.subarray(cut)), ["caf\u00e9 \u{1f600}"])
      }
    })
  )

  it.effect("drops half an event at the end, and passes over empty lines", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* parse(bytes(`{"a":1}\n\n \r\n{"b":`)), [{ a: 1 }])
    })
  )

  it.effect("fails with a line that is not JSON, after the good ones", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const error = yield* jsonLines(Stream.make(bytes("1\n"), bytes("<html>\n2\n"))).pipe(
        Stream.runForEach((value) => Effect.sync(() => seen.push(value))),
        Effect.flip
      )
      assert.strictEqual(error._tag, "BadLine")
      assert.strictEqual(error.line, "<html>")
      assert.deepStrictEqual(seen, [1])
    })
  )

  it.effect("fails with a line that has no end, and does not keep it growing", () =>
    Effect.gen(function* () {
      const piece = new Uint8Array(1024 * 1024).fill(97)
      let pieces = 0
      const endless = Stream.fromEffectRepeat(
        Effect.sync(() => {
          pieces += 1
          return piece
        })
      )
      const error = yield* jsonLines(endless).pipe(Stream.runDrain, Effect.flip)
      assert.strictEqual(error._tag, "BadLine")
      assert.isAtMost(pieces, maxLineLength / piece.length + 2)
    })
  )
})
