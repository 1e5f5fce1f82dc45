/** Which format a file has: by its first bytes when it is read, by its extension when it is written. */
import { extname } from "node:path"
import { buffer } from "node:stream/consumers"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type ByteSource, fromBytes } from "../../formats/ByteSource.ts"
import { InvalidInput, TensorDecodeError } from "../../schema/KpuError.ts"
import type { CommandError } from "../CommandError.ts"
import { fileError, openSource } from "./disk.ts"
import type { FileFailure, Format, TensorFile } from "./Format.ts"
import { npy } from "./npy.ts"
import { pt } from "./pt.ts"
import { safetensors } from "./safetensors.ts"

export const formats: ReadonlyArray<Format> = [pt, npy, safetensors]

export const formatNames = ["pt", "npy", "safetensors"] as const

const extensions = formats.flatMap((format) => format.extensions).join(", ")

/** The format in which a file is written. */
export const formatFor = (path: string, wanted: string | undefined): Effect.Effect<Format, InvalidInput> => {
  const named = formats.find(({ name }) => name === wanted)
  if (named !== undefined) return Effect.succeed(named)
  if (path === "-") return Effect.succeed(pt)
  const extension = extname(path).toLowerCase()
  const found = formats.find((format) => format.extensions.includes(extension))
  return found !== undefined
    ? Effect.succeed(found)
    : Effect.fail(
        new InvalidInput({ field: path, problem: `its ending is none of ${extensions}; say the format with --format` })
      )
}

const headBytes = 16

const recognise = (path: string, head: Uint8Array): Effect.Effect<Format, FileFailure> => {
  const found = formats.find((format) => format.matches(head))
  if (found !== undefined) return Effect.succeed(found)
  // Files that begin with anything: the reader of what the ending names says what is wrong.
  const byName = formats.find((format) => format.extensions.includes(extname(path).toLowerCase()))
  return byName !== undefined && head.byteLength > 0
    ? Effect.succeed(byName)
    : Effect.fail(
        new TensorDecodeError({
          where: path,
          problem:
            head.byteLength === 0 ? "it is empty" : `its first bytes are of no format that is read here (${extensions})`
        })
      )
}

/** Names the file in what is wrong with it. */
const inFile =
  (path: string) =>
  (error: FileFailure): FileFailure =>
    error._tag === "TensorDecodeError" && !error.where.includes(path)
      ? new TensorDecodeError({ where: `${path}: ${error.where}`, problem: error.problem, resource: error.resource })
      : error

const standardInput: Effect.Effect<ByteSource<never>, CommandError> = Effect.map(
  Effect.tryPromise({
    try: () => buffer(process.stdin),
    catch: (cause) => fileError("read", "standard input", cause)
  }),
  ({ buffer, byteLength, byteOffset }) => fromBytes(new Uint8Array(buffer, byteOffset, byteLength))
)

/** Opens a file of tensors; `-` is standard input. It is closed with the scope. */
export const openTensors = (path: string): Effect.Effect<TensorFile, FileFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const isStandard = path === "-" || path === "/dev/stdin"
    const name = isStandard ? "standard input" : path
    const source: ByteSource<FileFailure> = isStandard ? yield* standardInput : yield* openSource(path)
    return yield* Effect.gen(function* () {
      const head = yield* source.read(0, Math.min(headBytes, source.size))
      const file = yield* (yield* recognise(name, head)).open(source)
      const named = Stream.mapError(inFile(name))
      return { infos: file.infos, readAll: named(file.readAll), blocks: (tensor: string) => named(file.blocks(tensor)) }
    }).pipe(Effect.mapError(inFile(name)))
  })
