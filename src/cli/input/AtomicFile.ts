/**
 * Files that are there whole or not at all: written beside their place, flushed to the disk, and renamed into it.
 *
 * **Details.** What is written to is a file of its own in the same folder (a rename is atomic within one file system
 * only), made with the mode of the file that it takes the place of. An interrupted or failed write leaves the old file
 * and removes the new one. Something that is no regular file, such as `/dev/null` or a named pipe, is written to as it
 * is. A symbolic link stays one: what it leads to is replaced.
 */
import { randomBytes } from "node:crypto"
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { CommandError } from "../CommandError.ts"
import { exitCodes } from "../exitCodes.ts"
import { Leftovers } from "../Leftovers.ts"

const errnos: { readonly [code: string]: string } = {
  ENOENT: "there is no such file or folder",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is no folder",
  ENOSPC: "no space is left on the disk",
  EDQUOT: "the disk quota is used up",
  EROFS: "the file system is read-only",
  EFBIG: "it would be larger than the file system allows",
  EMFILE: "too many files are open"
}

/** Why a file could not be used, in a person's words. */
export const fileProblem = (cause: unknown): string => {
  const { code, message } = cause as NodeJS.ErrnoException
  return (code === undefined ? undefined : errnos[code]) ?? message
}

/** The error for a file that could not be used. */
export const fileError = (verb: string, path: string, cause: unknown): CommandError =>
  new CommandError({ problem: `cannot ${verb} ${path}: ${fileProblem(cause)}`, exitCode: exitCodes.files, cause })

const attempt = <A>(verb: string, path: string, body: () => Promise<A>): Effect.Effect<A, CommandError> =>
  Effect.tryPromise({ try: body, catch: (cause) => fileError(verb, path, cause) })

const writeAll = async (file: FileHandle, bytes: Uint8Array): Promise<void> => {
  let offset = 0
  while (offset < bytes.byteLength) {
    // One write takes at most 2 GiB on Linux.
    offset += (await file.write(bytes, offset, Math.min(bytes.byteLength - offset, 2 ** 30))).bytesWritten
  }
}

/** Where a path leads, and what is there. */
const target = async (path: string): Promise<{ path: string; mode: number | undefined; isRegular: boolean }> => {
  const found = await lstat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined
    throw cause
  })
  if (found === undefined) return { path, mode: undefined, isRegular: true }
  // A link to nowhere is replaced: there is no place to write beside.
  const real = found.isSymbolicLink() ? await realpath(path).catch(() => undefined) : path
  if (real === undefined) return { path, mode: undefined, isRegular: true }
  const info = await stat(real)
  if (info.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" })
  return { path: real, mode: info.mode & 0o777, isRegular: info.isFile() }
}

const syncFolder = async (path: string): Promise<void> => {
  // Not every system opens folders; then its own order must do.
  const folder = await open(dirname(path), "r").catch(() => undefined)
  try {
    await folder?.sync().catch(() => {})
  } finally {
    await folder?.close()
  }
}

/** Writes a file: all of its pieces, or nothing. */
export const writeFileAtomic = (
  path: string,
  pieces: Iterable<Uint8Array>
): Effect.Effect<void, CommandError, Leftovers> =>
  Effect.gen(function* () {
    const leftovers = yield* Leftovers
    const place = yield* attempt("write", path, () => target(path))
    if (!place.isRegular) {
      yield* Effect.acquireUseRelease(
        attempt("write", path, () => open(place.path, "w")),
        (file) => writePieces(path, file, pieces),
        (file) => Effect.promise(() => file.close())
      )
      return
    }
    const temporary = join(dirname(place.path), `.${basename(place.path)}.${randomBytes(6).toString("hex")}.part`)
    yield* Effect.acquireUseRelease(
      Effect.tap(
        attempt("write", path, () => open(temporary, "wx", place.mode ?? 0o666)),
        () => leftovers.add(temporary, `the partial file ${temporary}: remove it`)
      ),
      (file) =>
        Effect.gen(function* () {
          if (place.mode !== undefined) yield* attempt("write", path, () => file.chmod(place.mode!))
          yield* writePieces(path, file, pieces)
          yield* attempt("write", path, () => file.sync())
        }),
      (file, exit) =>
        Effect.gen(function* () {
          yield* attempt("write", path, () => file.close())
          yield* Exit.isSuccess(exit)
            ? attempt("write", path, () => rename(temporary, place.path).then(() => syncFolder(place.path)))
            : attempt("remove", temporary, () => rm(temporary, { force: true }))
          yield* leftovers.remove(temporary)
        })
    )
  })

const writePieces = (path: string, file: FileHandle, pieces: Iterable<Uint8Array>): Effect.Effect<void, CommandError> =>
  Effect.forEach(pieces, (piece) => attempt("write", path, () => writeAll(file, piece)), { discard: true })
