/**
 * What would be left behind if the process left now: applied Computes that are to be deleted, partial files. A second
 * Ctrl-C leaves at once and says it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

export class Leftovers extends Context.Service<
  Leftovers,
  {
    /** Something exists now that the command means to remove. `description` says what it is and how to remove it. */
    readonly add: (key: string, description: string) => Effect.Effect<void>
    /** It is gone, or is meant to stay. */
    readonly remove: (key: string) => Effect.Effect<void>
    /** What is there now. */
    readonly list: () => ReadonlyArray<string>
  }
>()("effect-kpu/cli/Leftovers") {}

export const make = (): Leftovers["Service"] => {
  const entries = new Map<string, string>()
  return Leftovers.of({
    add: (key, description) => Effect.sync(() => void entries.set(key, description)),
    remove: (key) => Effect.sync(() => void entries.delete(key)),
    list: () => [...entries.values()]
  })
}
