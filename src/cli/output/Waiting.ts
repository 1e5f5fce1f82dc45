/** A line that says what is waited for and since when, on a terminal; nothing where there is none. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { meanwhile } from "./meanwhile.ts"
import { formatDuration } from "./quantities.ts"
import { Screen } from "./Screen.ts"
import { truncate } from "./Style.ts"

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]

/** Runs an effect under a line such as `⠹ waiting for compute/x to be ready  12s`. */
export const whileWaiting =
  (label: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Screen> =>
    Effect.gen(function* () {
      const screen = yield* Screen
      if (!screen.isLive) return yield* effect
      const started = yield* Clock.currentTimeMillis
      let frame = 0
      const show = Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const seconds = (now - started) / 1000
        const line = `${frames[frame++ % frames.length]} ${label}  ${seconds < 1 ? "" : formatDuration(Math.floor(seconds) < 10 ? Math.floor(seconds) : seconds)}`
        return screen.status(truncate(line.trimEnd(), screen.err.columns - 1))
      })
      return yield* meanwhile(Effect.andThen(show, Effect.sleep("120 millis")), screen.status(""))(effect)
    })
