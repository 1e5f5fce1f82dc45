/**
 * What the client logs, as lines on standard error: the conditions of a Compute as they change, retries, what is taken
 * over. `--quiet` keeps warnings, `--verbose` adds what is done and when.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { Screen } from "./output/Screen.ts"

const textOf = (message: unknown): string =>
  (Array.isArray(message) ? message : [message])
    .map((part) => (typeof part === "string" ? part : part instanceof Error ? part.message : JSON.stringify(part)))
    .join(" ")

/** Logs to the screen. */
export const loggingLayer = (options: { readonly verbose: boolean }): Layer.Layer<never, never, Screen> =>
  Layer.unwrap(
    Effect.map(Screen, (screen) => {
      const { style } = screen.err
      let last = ""
      // A request that is tried again for the same reason says the reason once.
      const shortened = (text: string): string => {
        const at = text.lastIndexOf("; trying again")
        const [reason, rest] = at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 2)]
        const isSame = rest !== "" && reason === last
        last = reason
        return isSame ? rest : text
      }
      const logger = Logger.make<unknown, void>(({ cause, date, logLevel, message }) => {
        const text = shortened(textOf(message))
        const reasons = options.verbose && cause.reasons.length > 0 ? `\n${Cause.pretty(cause)}` : ""
        const time = options.verbose ? style.dim(`${date.toISOString().slice(11, 23)} `) : ""
        const isWarning = logLevel === "Warn" || logLevel === "Error" || logLevel === "Fatal"
        Effect.runFork(
          isWarning
            ? screen.warn(`${time}${style.yellow("warning:")} ${text}${reasons}`)
            : screen.say(`${time}${style.dim(text)}${reasons}`)
        )
      })
      return Layer.merge(
        Logger.layer([logger]),
        Layer.succeed(References.MinimumLogLevel, options.verbose ? "Debug" : "Info")
      )
    })
  )
