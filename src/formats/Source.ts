/**
 * Where bytes of tensors are read from and written to: files by ranges, memory by views.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import { TensorDecodeError } from "../schema/KpuError.ts"

/** Bytes to read from: a file, or memory. */
export interface Source<E> {
  readonly size: number
  readonly read: (offset: number, length: number) => Effect.Effect<Uint8Array, E | TensorDecodeError>
}

/** Runs a step of reading, whose refusals are thrown. */
export const attempt = <A>(step: () => A): Effect.Effect<A, TensorDecodeError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(step())
    } catch (error) {
      return error instanceof TensorDecodeError ? Effect.fail(error) : Effect.die(error)
    }
  })

// One call to the system takes at most 2 GiB.
const callSlice = 256 * 2 ** 20

/** Writes pieces one after the other. */
export const writePieces = (
  file: FileSystem.File,
  pieces: Iterable<Uint8Array>
): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.gen(function* () {
    for (const piece of pieces) {
      for (let at = 0; at < piece.byteLength; at += callSlice) {
        yield* file.writeAll(piece.subarray(at, at + callSlice))
      }
    }
  })

const fileSource = (file: FileSystem.File, size: number): Source<PlatformError.PlatformError> => ({
  size,
  read: (offset, length) =>
    Effect.gen(function* () {
      const bytes = yield* Effect.try({
        try: () => new Uint8Array(Buffer.allocUnsafeSlow(length).buffer, 0, length),
        catch: () => new TensorDecodeError({ where: "the file", problem: `${length} bytes of it do not fit in memory` })
      })
      for (let at = 0; at < length; ) {
        const read = yield* file.read(bytes.subarray(at, Math.min(at + callSlice, length)), {
          position: BigInt(offset + at)
        })
        if (read === 0) {
          return yield* new TensorDecodeError({
            where: `byte ${offset + at} of the file`,
            problem: "is gone: it was cut"
          })
        }
        at += read
      }
      return bytes
    })
})

/** An open file, closed with the scope. */
export const openSource = (
  path: string
): Effect.Effect<
  Source<PlatformError.PlatformError>,
  PlatformError.PlatformError,
  FileSystem.FileSystem | Scope.Scope
> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path)
    const { size } = yield* file.stat
    return fileSource(file, Number(size))
  })

/** Bytes in memory, read as views. */
export const memorySource = (bytes: Uint8Array): Source<never> => ({
  size: bytes.byteLength,
  read: (offset, length) => Effect.sync(() => bytes.subarray(offset, offset + length))
})

/** Runs `body` on a new file that takes the place of `path` when it is whole, and is removed if it never is. */
export const writing = <E, R>(
  path: string,
  body: (file: FileSystem.File) => Effect.Effect<void, E, R>
): Effect.Effect<void, E | PlatformError.PlatformError, R | FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const partial = `${path}.${globalThis.crypto.randomUUID()}.partial`
    yield* Effect.scoped(Effect.flatMap(fs.open(partial, { flag: "wx" }), body)).pipe(
      Effect.andThen(fs.rename(partial, path)),
      Effect.onError(() => Effect.ignore(fs.remove(partial, { force: true })))
    )
  })
