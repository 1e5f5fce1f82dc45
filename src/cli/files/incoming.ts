/**
 * Where received tensors go: one file, a folder with a file for each, or standard output. Each file is there whole or
 * not at all.
 */
import { mkdir, stat } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { InvalidInput } from "../../schema/KpuError.ts"
import type { Tensor } from "../../schema/Tensor.ts"
import type { CommandError } from "../CommandError.ts"
import type { Leftovers } from "../Leftovers.ts"
import { Screen } from "../output/Screen.ts"
import { createFile, fileError, type NewFile, writeFile } from "./disk.ts"
import type { Format, Streamed } from "./Format.ts"
import { formatFor, formats } from "./formats.ts"

export interface Incoming {
  readonly name: string
  readonly tensor: Tensor
}

export interface Sink {
  /** A tensor has come; gives the file that it is in, where it has one of its own or a place in a common one. */
  readonly add: (
    incoming: Incoming
  ) => Effect.Effect<string | undefined, CommandError | InvalidInput, Leftovers | Scope.Scope | Screen>
  /** No more come. */
  readonly finish: Effect.Effect<void, CommandError | InvalidInput, Leftovers | Scope.Scope | Screen>
}

const nowhere: Sink = { add: () => Effect.succeed(undefined), finish: Effect.void }

const isFolder = (path: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    stat(path).then(
      (info) => info.isDirectory(),
      () => false
    )
  )

/** A name as a file's name: nothing that leads elsewhere, whatever a server calls its tensors. */
export const safeFileName = (name: string): string => {
  const safe = name.replace(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, "_")
  return (safe === "" ? "tensor" : safe).slice(0, 200)
}

const intoFolder = (folder: string, format: Format): Sink => {
  const used = new Set<string>()
  return {
    add: ({ name, tensor }) =>
      Effect.gen(function* () {
        const base = safeFileName(name)
        let file = base
        for (let n = 2; used.has(file); n++) file = `${base}-${n}`
        used.add(file)
        const path = join(folder, file + format.extensions[0]!)
        yield* Effect.tryPromise({
          try: () => mkdir(folder, { recursive: true }),
          catch: (cause) => fileError("make", folder, cause)
        })
        yield* writeFile(path, yield* format.encode({ _tag: "One", tensor }))
        return path
      }),
    finish: Effect.void
  }
}

/** Names that a file can hold side by side; none where they would clash. */
const distinct = (names: ReadonlyArray<string>): ReadonlyArray<string> | undefined =>
  new Set(names).size === names.length ? names : undefined

/** Where the pieces of one file go. */
const destination = (path: string): Effect.Effect<NewFile, CommandError, Leftovers | Scope.Scope | Screen> =>
  path === "-"
    ? Effect.map(Screen, (screen) => ({
        write: (pieces) => Effect.forEach(pieces, screen.write, { discard: true }),
        commit: Effect.void
      }))
    : createFile(path)

const placeIn = (path: string): string | undefined => (path === "-" ? undefined : path)

/** One file that is written while tensors come: one of them at a time is in memory. */
const intoStreamed = (path: string, make: () => Streamed, named: boolean): Sink => {
  const names: Array<string> = []
  let begun: { readonly file: NewFile; readonly pieces: Streamed } | undefined
  return {
    add: ({ name, tensor }) =>
      Effect.gen(function* () {
        begun ??= { file: yield* destination(path), pieces: make() }
        yield* begun.file.write(begun.pieces.add(tensor))
        names.push(name)
        return placeIn(path)
      }),
    finish: Effect.gen(function* () {
      if (begun === undefined) return
      yield* begun.file.write(begun.pieces.finish(named ? distinct(names) : undefined))
      yield* begun.file.commit
    })
  }
}

/** One file of a format that begins with what is in it: the tensors are gathered first. */
const intoGathered = (path: string, format: Format, named: boolean): Sink => {
  const all: Array<Incoming> = []
  return {
    add: (incoming) =>
      Effect.sync(() => {
        all.push(incoming)
        return placeIn(path)
      }),
    finish: Effect.gen(function* () {
      if (all.length === 0) return
      const tensors = all.map(({ tensor }) => tensor)
      const names = named ? distinct(all.map(({ name }) => name)) : undefined
      const pieces = yield* format.encode(
        tensors.length === 1
          ? { _tag: "One", tensor: tensors[0]! }
          : names === undefined
            ? { _tag: "List", tensors }
            : { _tag: "Named", tensors: tensors.map((tensor, index) => [names[index]!, tensor] as const) }
      )
      const file = yield* destination(path)
      yield* file.write(pieces)
      yield* file.commit
    })
  }
}

export interface SinkOptions {
  /** A file, a folder (that is there, or ends in /), `-`, or nowhere. */
  readonly out: string | undefined
  readonly format: string | undefined
  /** Whether the tensors have names of their own, for a file that holds several. */
  readonly named: boolean
  /** How many are to come, where that is known. */
  readonly expected?: number | undefined
}

/** Where the tensors go. What cannot be written is an error before anything is asked of a server. */
export const sinkFor = Effect.fnUntraced(function* ({ expected, format, named, out }: SinkOptions) {
  if (out === undefined) return nowhere
  if (out.endsWith("/") || (yield* isFolder(out))) {
    return intoFolder(out, formats.find(({ name }) => name === format) ?? formats[0]!)
  }
  const chosen = yield* formatFor(out, format)
  if (chosen.name === "npy" && expected !== undefined && expected > 1) {
    return yield* new InvalidInput({
      field: "--out",
      problem: `an .npy file holds one tensor, and ${expected} are to come; give a folder (${out.replace(/\.npy$/, "")}/), or a .pt or .safetensors file`
    })
  }
  if (out === "-") {
    const screen = yield* Screen
    if (screen.out.isTerminal) {
      return yield* new InvalidInput({
        field: "--out",
        problem: "a tensor's bytes are not written to a terminal; redirect standard output, or give a file"
      })
    }
  }
  return chosen.streamed === undefined ? intoGathered(out, chosen, named) : intoStreamed(out, chosen.streamed, named)
})
