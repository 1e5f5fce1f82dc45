/** Something that is done over and over while something else runs. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/**
 * Repeats `step` beside an effect, and runs `last` when the effect has ended. The effect keeps the scope that it is run
 * in: what it acquires outlives this.
 */
export const meanwhile =
  (step: Effect.Effect<void>, last: Effect.Effect<void>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.forkDetach(Effect.interruptible(Effect.forever(step))),
      () => effect,
      (fiber) => Effect.andThen(Fiber.interrupt(fiber), last)
    )
