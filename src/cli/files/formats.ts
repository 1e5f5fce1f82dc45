/** Which format a file has: by its first bytes when it is read, by its extension when it is written. */
import { open as openFile } from "node:fs/promises"
import { extname } from "node:path"
import { buffer } from "node:stream/consumers"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { InvalidInput, TensorDecodeError } from "../../schema/KpuError.ts"
import { fileError } from "../input/AtomicFile.ts"
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

const readHead = (path: string): Effect.Effect<Uint8Array, FileFailure> =>
  Effect.tryPromise({
    try: async () => {
      const file = await openFile(path, "r")
      try {
        const head = new Uint8Array(headBytes)
        const { bytesRead } = await file.read(head, 0, headBytes, 0)
        return head.subarray(0, bytesRead)
      } finally {
        await file.close()
      }
    },
    catch: (cause) => fileError("read", path, cause)
  })

const recognise = (path: string, head: Uint8Array): Effect.Effect<Format, FileFailure> => {
  const found = formats.find((format) => format.matches(head))
  if (found !== undefined) return Effect.succeed(found)
  // Files that begin with anything: the reader of what the ending names says what is wrong.
  const byName = formats.find((format) => format.extensions.includes(extname(path).toLowerCase()))
  return byName !== undefined
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

/** Opens a file of tensors; `-` is standard input. It is closed with the scope. */
export const openTensors = (path: string): Effect.Effect<TensorFile, FileFailure, Scope.Scope> =>
  Effect.gen(function* () {
    if (path === "-") {
      const bytes = yield* Effect.tryPromise({
        try: () => buffer(process.stdin),
        catch: (cause) => fileError("read", "standard input", cause)
      })
      const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      const format = yield* recognise("standard input", view.subarray(0, headBytes))
      return yield* format.open({ _tag: "Bytes", bytes: view, name: "standard input" })
    }
    const format = yield* recognise(path, yield* readHead(path))
    return yield* format.open({ _tag: "Path", path })
  }).pipe(Effect.mapError(inFile(path === "-" ? "standard input" : path)))
