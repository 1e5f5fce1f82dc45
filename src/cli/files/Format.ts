/** The file formats of tensors that the command reads and writes. A new one is one file and a line in `formats.ts`. */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ByteSource } from "../../formats/ByteSource.ts"
import type { DType } from "../../schema/DType.ts"
import type { InvalidInput, TensorDecodeError } from "../../schema/KpuError.ts"
import type { Tensor } from "../../schema/Tensor.ts"
import type { CommandError } from "../CommandError.ts"

export type FileFailure = TensorDecodeError | InvalidInput | CommandError

/** What is known of a tensor before it is read. */
export interface Info {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly byteLength: number
}

/** An open file. */
export interface TensorFile {
  readonly infos: ReadonlyArray<Info>
  /** The tensors, read one after the other as they are asked for. A file of one unnamed tensor has it under "". */
  readonly readAll: Stream.Stream<readonly [name: string, tensor: Tensor], FileFailure>
  /** The elements of one of them, a few MiB at a time. */
  readonly blocks: (name: string) => Stream.Stream<Tensor, FileFailure>
}

/** What is written: one tensor, or several by name or in a row. */
export type Content =
  | { readonly _tag: "One"; readonly tensor: Tensor }
  | { readonly _tag: "Named"; readonly tensors: ReadonlyArray<readonly [name: string, tensor: Tensor]> }
  | { readonly _tag: "List"; readonly tensors: ReadonlyArray<Tensor> }

/** The pieces of a file whose tensors are written as they come. */
export interface Streamed {
  readonly add: (tensor: Tensor) => Iterable<Uint8Array>
  /** The last pieces; without names the tensors are a list, or the one. */
  readonly finish: (names: ReadonlyArray<string> | undefined) => Iterable<Uint8Array>
}

export interface Format {
  readonly name: string
  /** With the dot. */
  readonly extensions: ReadonlyArray<string>
  /** Whether bytes begin so. */
  readonly matches: (head: Uint8Array) => boolean
  readonly open: (source: ByteSource<FileFailure>) => Effect.Effect<TensorFile, FileFailure>
  /** The whole file, as pieces that are gone through once. */
  readonly encode: (content: Content) => Effect.Effect<Iterable<Uint8Array>, InvalidInput>
  /** Where the format can be written without knowing what is to come. */
  readonly streamed?: (() => Streamed) | undefined
}

/** What a format says of its tensors, in their order. */
export const infosOf = (tensors: ReadonlyMap<string, Omit<Info, "name">>): ReadonlyArray<Info> =>
  [...tensors].map(([name, { byteLength, dtype, shape }]) => ({ name, byteLength, dtype, shape }))
