/** The steps in which files are read. */
import * as Effect from "effect/Effect"
import { TensorDecodeError } from "../schema/KpuError.ts"
import type { ByteSource } from "./ByteSource.ts"

/** A step whose refusals are thrown. */
export const attempt = <A>(step: () => A): Effect.Effect<A, TensorDecodeError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(step())
    } catch (error) {
      return error instanceof TensorDecodeError ? Effect.fail(error) : Effect.die(error)
    }
  })

/** A source that is never asked for nothing, and held to giving what it is asked for. */
export const checked = <E>(source: ByteSource<E>): ByteSource<E> => ({
  size: source.size,
  read: (offset, length) =>
    length === 0
      ? Effect.succeed(new Uint8Array(0))
      : Effect.flatMap(source.read(offset, length), (bytes) =>
          bytes.byteLength === length
            ? Effect.succeed(bytes)
            : Effect.fail(
                new TensorDecodeError({
                  where: `byte ${offset} of the source`,
                  problem: `${length} bytes were asked for, and ${bytes.byteLength} were given`
                })
              )
        )
})
