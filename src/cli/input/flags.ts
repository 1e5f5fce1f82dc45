/** Flags and arguments that several commands have. */

import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { durationHelp, parseDuration } from "./durations.ts"

/** A flag with a duration. */
export const duration = (name: string): Flag.Flag<Duration.Duration> =>
  Flag.String(name).pipe(
    Flag.withMetavar("duration"),
    Flag.mapEffect((text) => {
      const value = parseDuration(text)
      return value === undefined
        ? Effect.fail(new CliError.InvalidValue({ option: name, value: text, expected: durationHelp, kind: "flag" }))
        : Effect.succeed(value)
    })
  )

/** A flag with a whole number. */
export const integer = (
  name: string,
  {
    max = Number.MAX_SAFE_INTEGER,
    metavar = "number",
    min
  }: {
    readonly min: number
    readonly max?: number | undefined
    readonly metavar?: string | undefined
  }
): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.mapEffect((text) => {
      const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
      const expected = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`
      return value >= min && value <= max
        ? Effect.succeed(value)
        : Effect.fail(
            new CliError.InvalidValue({
              option: name,
              value: text,
              expected: `a whole number, ${expected}`,
              kind: "flag"
            })
          )
    })
  )

/** A flag with a port. */
export const port = (name: string): Flag.Flag<number> => integer(name, { min: 1, max: 65535 })

/** A flag that may be given many times, each with `KEY=VALUE`; the last one of a key counts. */
export const record = (name: string): Flag.Flag<Readonly<Record<string, string>> | undefined> =>
  Flag.String(name).pipe(
    Flag.withMetavar("KEY=VALUE"),
    Flag.atLeast(0),
    Flag.mapEffect((entries) => {
      // The value is not shown: environment variables hold secrets.
      const bad = entries.find((entry) => entry.indexOf("=") < 1)
      return bad === undefined
        ? Effect.succeed(
            entries.length === 0
              ? undefined
              : Object.fromEntries(
                  entries.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)])
                )
          )
        : Effect.fail(
            new CliError.InvalidValue({
              option: name,
              value: bad.startsWith("=") ? "=…" : bad,
              expected: "KEY=VALUE",
              kind: "flag"
            })
          )
    })
  )

/** A flag that may be given many times. */
export const list = (name: string): Flag.Flag<ReadonlyArray<string> | undefined> =>
  Flag.String(name).pipe(
    Flag.atLeast(0),
    Flag.map((values) => (values.length === 0 ? undefined : values))
  )

/** A flag that may be left out. */
export const orUndefined = <A>(flag: Flag.Flag<A>): Flag.Flag<A | undefined> =>
  Flag.withDefault(flag as Flag.Flag<A | undefined>, undefined)

/** The Compute that a command is about. */
export const computeName = Argument.String("name").pipe(Argument.withDescription("The Compute's name"))

/** The Computes that a command is about, one at least. */
export const computeNames = Argument.String("name").pipe(
  Argument.withDescription("The Computes' names"),
  Argument.atLeast(1)
)

/** How long a command waits. */
export const waitTimeout = duration("timeout").pipe(
  Flag.withDescription("How long to wait (300s by default)"),
  orUndefined
)
