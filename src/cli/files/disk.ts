/**
 * Files as the command uses them: errors in a person's words, and partial files that a second Ctrl-C tells of.
 */
import { dirname } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as AtomicFile from "../../formats/AtomicFile.ts"
import * as ByteSource from "../../formats/ByteSource.ts"
import type { TensorDecodeError } from "../../schema/KpuError.ts"
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
  EMFILE: "too many files are open",
  ELOOP: "its symbolic links lead in a circle",
  ENAMETOOLONG: "its name is too long",
  ENXIO: "nothing is at its other end"
}

/** Why a file could not be used, in a person's words. */
export const fileProblem = (cause: unknown): string => {
  const { code, message } = cause as NodeJS.ErrnoException
  return (code === undefined ? undefined : errnos[code]) ?? message
}

/** The error for a file that could not be used. */
export const fileError = (verb: string, path: string, cause: unknown): CommandError =>
  new CommandError({
    problem: `cannot ${verb} ${path}: ${
      verb === "write" && (cause as NodeJS.ErrnoException).code === "ENOENT"
        ? `there is no folder ${dirname(path)}`
        : fileProblem(cause)
    }`,
    exitCode: exitCodes.files,
    cause
  })

/** Turns what the file system says into the command's words, and leaves the rest. */
export const inWords =
  (verb: string, path: string) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, Exclude<E, PlatformError.PlatformError> | CommandError, R> =>
    Effect.mapError(effect, (error) =>
      error instanceof PlatformError.PlatformError
        ? fileError(verb, path, error.reason.cause ?? error)
        : (error as Exclude<E, PlatformError.PlatformError>)
    )

const onDisk = <A, E, R>(effect: Effect.Effect<A, E, R | FileSystem.FileSystem>) =>
  Effect.provide(effect, NodeFileSystem.layer)

/** A file to read from, closed with the scope. */
export const openSource = (
  path: string
): Effect.Effect<ByteSource.ByteSource<CommandError | TensorDecodeError>, CommandError, Scope.Scope> =>
  ByteSource.open(path).pipe(
    onDisk,
    inWords("read", path),
    Effect.map((source) => ({
      size: source.size,
      read: (offset, length) => inWords("read", path)(source.read(offset, length))
    }))
  )

/** A file in the making: it is there when it is whole, and the scope's end removes what never is. */
export interface NewFile {
  readonly write: (pieces: Iterable<Uint8Array>) => Effect.Effect<void, CommandError>
  readonly commit: Effect.Effect<void, CommandError>
}

/** Begins a file. */
export const createFile = (
  path: string,
  options?: { readonly mode?: number | undefined }
): Effect.Effect<NewFile, CommandError, Leftovers | Scope.Scope> =>
  Effect.gen(function* () {
    const leftovers = yield* Leftovers
    const announce = (temporary: string) =>
      Effect.acquireRelease(leftovers.add(temporary, `the partial file ${temporary}: remove it`), () =>
        leftovers.remove(temporary)
      )
    const file = yield* onDisk(AtomicFile.open(path, { ...options, announce }))
    return {
      write: (pieces: Iterable<Uint8Array>) => inWords("write", path)(AtomicFile.writeAll(file, pieces)),
      commit: inWords("write", path)(file.commit)
    }
  }).pipe(inWords("write", path))

/** Writes a file: all of its pieces, or nothing. */
export const writeFile = (
  path: string,
  pieces: Iterable<Uint8Array>,
  options?: { readonly mode?: number | undefined }
): Effect.Effect<void, CommandError, Leftovers> =>
  Effect.scoped(Effect.flatMap(createFile(path, options), (file) => Effect.andThen(file.write(pieces), file.commit)))
