/** The file formats of tensors that the command reads and writes. A new one is one file and a line in `formats.ts`. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InvalidInput, TensorDecodeError } from "../../schema/KpuError.ts"
import type { Tensor } from "../../schema/Tensor.ts"
import type { CommandError } from "../CommandError.ts"

export type FileFailure = TensorDecodeError | InvalidInput | CommandError

/** What is known of a tensor before it is read. */
export interface Info {
  readonly name: string
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly byteLength: number
}

/** An open file. */
export interface TensorFile {
  readonly infos: ReadonlyArray<Info>
  /** The tensors, read one after the other as they are asked for. A file of one unnamed tensor has it under "". */
  readonly readAll: Stream.Stream<readonly [name: string, tensor: Tensor], FileFailure>
}

/** What is written: one tensor, or several by name or in a row. */
export type Content =
  | { readonly _tag: "One"; readonly tensor: Tensor }
  | { readonly _tag: "Named"; readonly tensors: ReadonlyArray<readonly [name: string, tensor: Tensor]> }
  | { readonly _tag: "List"; readonly tensors: ReadonlyArray<Tensor> }

/** Bytes, from a file that stays open or from memory. */
export type Source =
  | { readonly _tag: "Path"; readonly path: string }
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array; readonly name: string }

export interface Format {
  readonly name: string
  /** With the dot. */
  readonly extensions: ReadonlyArray<string>
  /** Whether bytes begin so. */
  readonly matches: (head: Uint8Array) => boolean
  readonly open: (source: Source) => Effect.Effect<TensorFile, FileFailure, Scope.Scope>
  /** The whole file, as pieces that are gone through once. */
  readonly encode: (content: Content) => Effect.Effect<Iterable<Uint8Array>, InvalidInput>
}
