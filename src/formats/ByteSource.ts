/**
 * Where files of tensors are read from: a file, memory, or anything else that gives ranges of bytes.
 *
 * **When to use**
 *
 * `TorchFile`, `Safetensors` and `Npy` open paths and bytes by themselves. A source of one's own lets them read elsewhere:
 * from an object store, say, by HTTP range requests, so that one tensor of a large file comes without the rest.
 *
 * **Details**
 *
 * `read` gives exactly the bytes that it is asked for, one at least, in memory that nothing else writes to: tensors are views
 * of it.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import { TensorDecodeError } from "../schema/KpuError.ts"

/**
 * Bytes that are read by ranges.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Safetensors } from "effect-kpu"
 *
 * const openUrl = (url: string, size: number) =>
 *   Safetensors.fromSource({
 *     size,
 *     read: (offset, length) =>
 *       Effect.promise(async (signal) => {
 *         const headers = { range: `bytes=${offset}-${offset + length - 1}` }
 *         const response = await fetch(url, { headers, signal })
 *         return new Uint8Array(await response.arrayBuffer())
 *       })
 *   })
 * ```
 */
export interface ByteSource<E = PlatformError.PlatformError> {
  /** How many bytes there are. */
  readonly size: number
  /** The bytes from `offset` on, exactly `length` of them. */
  readonly read: (offset: number, length: number) => Effect.Effect<Uint8Array, E | TensorDecodeError>
}

// One call to the system takes at most 2 GiB.
const callSlice = 256 * 2 ** 20

const ofFile = (file: FileSystem.File, size: number): ByteSource => ({
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

/**
 * A file, closed with the scope. What has no places to read at, such as a named pipe, is read to its end at once.
 *
 * @example `const source = yield* ByteSource.open("model.safetensors")`
 */
export const open = (
  path: string
): Effect.Effect<ByteSource, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { type } = yield* fs.stat(path)
    if (type !== "File") return fromBytes(yield* fs.readFile(path))
    const file = yield* fs.open(path)
    const { size } = yield* file.stat
    return ofFile(file, Number(size))
  })

/**
 * Bytes in memory, read as views.
 *
 * @example `const source = ByteSource.fromBytes(bytes)`
 */
export const fromBytes = (bytes: Uint8Array): ByteSource<never> => ({
  size: bytes.byteLength,
  read: (offset, length) => Effect.sync(() => bytes.subarray(offset, offset + length))
})
