/** Results in the format that was asked for. */
import * as Effect from "effect/Effect"
import { globals } from "../globals.ts"
import { Screen } from "./Screen.ts"

/** A result, in each form that it can be asked for in. */
export interface Report {
  /** For people. */
  readonly text: string
  /** For `json` and `yaml`: plain data. */
  readonly data: unknown
  /** For `name`: one line a resource; the text where there is none. */
  readonly names?: string | undefined
}

/** YAML as kubectl writes it. */
export const toYaml = (data: unknown): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => import("yaml")),
    ({ stringify }) =>
      stringify(JSON.parse(JSON.stringify(data)), { lineWidth: 0, aliasDuplicateObjects: false }).trimEnd()
  )

const printUnlessEmpty = (screen: Screen["Service"], text: string): Effect.Effect<void> =>
  text === "" ? Effect.void : screen.print(text)

/** Prints a result. */
export const report = Effect.fnUntraced(function* ({ data, names, text }: Report) {
  const screen = yield* Screen
  const { output } = yield* globals
  switch (output) {
    case "json":
      return yield* screen.print(JSON.stringify(data, undefined, 2))
    case "yaml":
      return yield* screen.print(yield* toYaml(data))
    case "name":
      return yield* printUnlessEmpty(screen, names ?? text)
    case "text":
      return yield* printUnlessEmpty(screen, text)
  }
})
