/** Reading parts of a file, or of bytes in memory, exactly. */
import { type FileHandle, open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { TensorDecodeError } from "../../schema/KpuError.ts"
import type { CommandError } from "../CommandError.ts"
import { fileError } from "../input/AtomicFile.ts"
import type { FileFailure, Source } from "./Format.ts"

export interface Reader {
  readonly size: number
  /** Exactly so many bytes; a failure where they are not there. */
  readonly read: (offset: number, length: number) => Effect.Effect<Uint8Array, FileFailure>
}

// One read call takes at most 2 GiB.
const slice = 2 ** 30

const readExactly = async (file: FileHandle, offset: number, length: number): Promise<Uint8Array | undefined> => {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(slice, length - at), offset + at)
    if (bytesRead === 0) return undefined
    at += bytesRead
  }
  return bytes
}

const cut = (where: number) => new TensorDecodeError({ where: `byte ${where}`, problem: "the file ends too early" })

/** A source, to read from. A file is closed with the scope. */
export const reader = (source: Source): Effect.Effect<Reader, CommandError, Scope.Scope> =>
  Effect.gen(function* () {
    if (source._tag === "Bytes") {
      const { bytes } = source
      return {
        size: bytes.byteLength,
        read: (offset: number, length: number) =>
          offset + length <= bytes.byteLength
            ? Effect.succeed(bytes.subarray(offset, offset + length))
            : Effect.fail(cut(bytes.byteLength))
      }
    }
    const { path } = source
    const failed = (cause: unknown) => fileError("read", path, cause)
    const file = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => open(path, "r"), catch: failed }),
      (file) => Effect.promise(() => file.close())
    )
    const { size } = yield* Effect.tryPromise({ try: () => file.stat(), catch: failed })
    return {
      size,
      read: (offset: number, length: number) =>
        offset + length > size
          ? Effect.fail(cut(size))
          : Effect.flatMap(
              Effect.tryPromise({ try: () => readExactly(file, offset, length), catch: failed }),
              (bytes) => (bytes === undefined ? Effect.fail(cut(size)) : Effect.succeed(bytes))
            )
    }
  })
