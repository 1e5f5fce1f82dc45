/**
 * Files that are there whole or not at all: written beside their place, flushed to the disk, and renamed into it.
 *
 * **Details**
 *
 * What is written to is a file of its own in the same folder (a rename is atomic within one file system only), made with
 * the mode of the file that it takes the place of. An interrupted or failed write leaves the old file and removes the new
 * one. Something that is no regular file, such as `/dev/null` or a named pipe, is written to as it is. A symbolic link stays
 * one: what it leads to is replaced.
 */
import { basename, dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Scope from "effect/Scope"

/** A file that is being written. */
export interface AtomicFile {
  /** Appends bytes. */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, PlatformError.PlatformError>
  /** Puts the file in its place. Without it, the scope's end removes what was written. */
  readonly commit: Effect.Effect<void, PlatformError.PlatformError>
}

export interface OpenOptions {
  /** The file's mode, where none is there yet; what the process gives to new files when absent. */
  readonly mode?: number | undefined
  /** Told the name of the partial file before that is there; what it adds to the scope is undone after that is gone. */
  readonly announce?: ((temporary: string) => Effect.Effect<void, never, Scope.Scope>) | undefined
}

// One call to the system takes at most 2 GiB.
const callSlice = 256 * 2 ** 20

const writer = (file: FileSystem.File) => (bytes: Uint8Array) =>
  Effect.gen(function* () {
    for (let at = 0; at < bytes.byteLength; at += callSlice) yield* file.writeAll(bytes.subarray(at, at + callSlice))
  })

/** Where a path leads, and what is there. */
const target = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, path: string) {
  const absent = (error: PlatformError.PlatformError) => error.reason._tag === "NotFound"
  // A link to nowhere is replaced: there is no place to write beside.
  const real = yield* fs.realPath(path).pipe(Effect.catchIf(absent, () => Effect.succeed(undefined)))
  if (real === undefined) return { path, mode: undefined, isRegular: true }
  const { mode, type } = yield* fs.stat(real)
  if (type === "Directory") {
    return yield* Effect.fail(
      PlatformError.systemError({
        _tag: "BadResource",
        module: "FileSystem",
        method: "open",
        pathOrDescriptor: path,
        description: "it is a folder",
        cause: Object.assign(new Error(`EISDIR: illegal operation on a directory, open '${path}'`), { code: "EISDIR" })
      })
    )
  }
  return { path: real, mode: mode & 0o777, isRegular: type === "File" }
})

/** So that the rename itself outlives a loss of power. Not every system opens folders; then its own order must do. */
const syncFolder = (fs: FileSystem.FileSystem, path: string) =>
  Effect.ignore(Effect.scoped(Effect.flatMap(fs.open(dirname(path)), (folder) => folder.sync)))

/** Begins a file. */
export const open = Effect.fnUntraced(function* (
  path: string,
  options?: OpenOptions
): Effect.fn.Return<AtomicFile, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const place = yield* target(fs, path)
  if (!place.isRegular) {
    // Appending: a pipe has no places to write at.
    const file = yield* fs.open(place.path, { flag: "a" })
    return { write: writer(file), commit: Effect.void }
  }
  const suffix = globalThis.crypto.randomUUID().slice(-12)
  const temporary = join(dirname(place.path), `.${basename(place.path)}.${suffix}.part`)
  if (options?.announce !== undefined) yield* options.announce(temporary)
  let isThere = true
  yield* Effect.addFinalizer(() => (isThere ? Effect.ignore(fs.remove(temporary, { force: true })) : Effect.void))
  const handle = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const file = yield* fs
    .open(temporary, { flag: "wx", mode: place.mode ?? options?.mode ?? 0o666 })
    .pipe(Scope.provide(handle))
  if (place.mode !== undefined) yield* fs.chmod(temporary, place.mode)
  return {
    write: writer(file),
    commit: Effect.gen(function* () {
      yield* file.sync
      yield* Scope.close(handle, Exit.void)
      yield* fs.rename(temporary, place.path)
      isThere = false
      yield* syncFolder(fs, place.path)
    }).pipe(Effect.uninterruptible)
  }
})

/** Writes a file: all that `body` writes, or nothing. */
export const writing = <E, R>(
  path: string,
  body: (file: Pick<AtomicFile, "write">) => Effect.Effect<void, E, R>,
  options?: OpenOptions
): Effect.Effect<void, E | PlatformError.PlatformError, Exclude<R, Scope.Scope> | FileSystem.FileSystem> =>
  Effect.scoped(Effect.flatMap(open(path, options), (file) => Effect.andThen(body(file), file.commit)))

/** Writes pieces, each of which is made when the one before is written. */
export const writeAll = (
  file: Pick<AtomicFile, "write">,
  pieces: Iterable<Uint8Array>
): Effect.Effect<void, PlatformError.PlatformError> =>
  Effect.gen(function* () {
    for (const piece of pieces) yield* file.write(piece)
  })

/** Writes a file of these pieces, or nothing. */
export const writePieces = (
  path: string,
  pieces: Iterable<Uint8Array>,
  options?: OpenOptions
): Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem> =>
  writing(path, (file) => writeAll(file, pieces), options)

/** All the pieces in one. */
export const joined = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => {
  const out = new Uint8Array(pieces.reduce((size, { byteLength }) => size + byteLength, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.byteLength
  }
  return out
}
