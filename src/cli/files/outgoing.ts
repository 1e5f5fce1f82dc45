/** The tensors of the files on the command line, read one after the other as they are sent. */
import { basename, extname } from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Tensor } from "../../schema/Tensor.ts"
import { CommandError } from "../CommandError.ts"
import { exitCodes } from "../exitCodes.ts"
import type { FileFailure } from "./Format.ts"
import { openTensors } from "./formats.ts"

export interface FromFile {
  readonly file: string
  /** The name in the file, or the file's own where it holds one tensor without a name. */
  readonly name: string
  readonly tensor: Tensor
}

export const nameOfFile = (path: string): string =>
  path === "-" ? "stdin" : basename(path, extname(path)) || basename(path)

/** Opens all files, so that what is missing, broken or empty stops the command before anything is sent. */
export const outgoing = Effect.fnUntraced(function* (paths: ReadonlyArray<string>) {
  const files = yield* Effect.forEach(paths, (path) =>
    Effect.gen(function* () {
      const file = yield* openTensors(path)
      if (file.infos.length === 0) {
        return yield* new CommandError({ problem: `there is no tensor in ${path}`, exitCode: exitCodes.files })
      }
      return { path, file }
    })
  )
  const infos = files.flatMap(({ file }) => file.infos)
  const tensors: Stream.Stream<FromFile, FileFailure> = Stream.fromIterable(files).pipe(
    Stream.flatMap(({ file, path }) =>
      Stream.map(
        file.readAll,
        ([name, tensor]): FromFile => ({ file: path, name: name === "" ? nameOfFile(path) : name, tensor })
      )
    ),
    // One tensor in memory before it is sent, not a buffer of them.
    Stream.rechunk(1)
  )
  return {
    tensors,
    totalTensors: infos.length,
    totalBytes: infos.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }
})
