/** Durations as kubectl writes them (`300s`, `5m`, `1h30m`, `250ms`), a bare number being seconds. */
import * as Duration from "effect/Duration"

const millis: { readonly [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** The duration that the text says, or `undefined` where it says none. */
export const parseDuration = (text: string): Duration.Duration | undefined => {
  if (/^\d+(\.\d+)?$/.test(text)) return Duration.millis(Number(text) * 1000)
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined
  let total = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) total += Number(number) * millis[unit!]!
  return Duration.millis(total)
}

export const durationHelp = "a duration such as 300s, 5m, 1h30m or 250ms"
