/**
 * PyTorch itself, asked by tests (`test/peers/python/torch_tool.py`): makes files of tensors in every dtype and layout,
 * dumps the elements of files, compares files bit by bit. One process answers one question after another, since the
 * import of torch takes seconds. The same questions go to PyTorch 2.9 and 1.13.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { need, root } from "./peers.ts"
import { start } from "./process.ts"

export type Layout =
  | "contiguous"
  | "transposed"
  | "slice"
  | "step"
  | "expanded"
  | "channels_last"
  | "conj"
  | "neg"
  | "neg_view"
  | "conj_neg"
  | "parameter"
  | "requires_grad"

/** A tensor to make. `slice`, `step` and `expanded` need rank 1, `channels_last` rank 4, `conj` a complex dtype. */
export interface Case {
  /** The name of the file, without `.pt`. */
  readonly name: string
  /** PyTorch's name without `torch.`. */
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly layout?: Layout | undefined
  readonly seed?: number | undefined
  /** `bits`: any bit pattern, NaN payloads and -0 included (the default); `values`: 0, 1, 2, … 99, 0, … */
  readonly fill?: "bits" | "values" | undefined
  /** Write the format of before PyTorch 1.6. */
  readonly legacy?: boolean | undefined
}

/** A tensor as PyTorch sees it: `bytes` is the file of its elements, row-major and little-endian. */
export interface Elements {
  readonly name: string
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly bytes: string
}

/** What this PyTorch cannot make, and its words. */
export interface Skipped {
  readonly name: string
  readonly skipped: string
}

export type Kind =
  | "list"
  | "dict"
  | "nested"
  | "state_dict"
  | "transformer"
  | "checkpoint"
  | "tuple"
  | "parameters"
  | "shared"
  | "sparse"
  | "sparse_csr"
  | "sparse_csc"
  | "sparse_bsr"
  | "quantized"
  | "per_channel"
  | "quint4x2"
  | "bits"
  | "nested_tensor"
  | "meta"
  | "subclass"
  | "module"
  | "size"
  | "dtype"
  | "storage"
  | "set"
  | "script"
  | "ndarray"
  | "object"
  | "attributes"
  | "legacy"
  | "float4"

export interface Dumped extends Elements {
  readonly requires_grad: boolean
  readonly parameter: boolean
  readonly contiguous: boolean
  /** Bytes of the storage that the tensor is a view of. */
  readonly storage: number
}

export interface Compared {
  /** What `torch.equal` says; null for a dtype that it does not compare. */
  readonly equal: boolean | null
  /** Whether dtype, shape and every bit of the elements agree. */
  readonly bits: boolean
  readonly why?: string
}

export interface Shape {
  /** The version of torch. */
  readonly version: string
  /** A folder for files, gone with the tool. */
  readonly folder: string
  readonly make: (cases: ReadonlyArray<Case>) => Effect.Effect<ReadonlyArray<(Elements & { file: string }) | Skipped>>
  /** Files that hold something else than one plain tensor, with the tensors that a reader finds inside. */
  readonly makeSpecial: (
    kinds: ReadonlyArray<Kind>
  ) => Effect.Effect<ReadonlyArray<{ name: Kind; file: string; tensors: ReadonlyArray<Elements> } | Skipped>>
  /** What `torch.load` (`weights_only=True` unless told otherwise) makes of files, which it may map instead of reading. */
  readonly dump: (
    files: ReadonlyArray<string>,
    options?: { readonly weightsOnly?: boolean | undefined; readonly mmap?: boolean | undefined }
  ) => Effect.Effect<ReadonlyArray<{ file: string; error: string } | { file: string; tensors: ReadonlyArray<Dumped> }>>
  /** Compares the tensors of files, pair by pair. */
  readonly equal: (
    pairs: ReadonlyArray<readonly [string, string]>,
    options?: { readonly weightsOnly?: boolean | undefined }
  ) => Effect.Effect<ReadonlyArray<Compared>>
  /** What `torch.load` makes of files, saved again by `torch.save`. */
  readonly resave: (
    files: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<{ readonly file: string } | { readonly skipped: string }>>
}

/** Starts the tool on one of the two PyTorchs. */
export const make = (peer: "pytorch" | "pytorch113"): Effect.Effect<Shape, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-torch-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const running = yield* start(need(peer).python, ["-u", join(root, "test/peers/python/torch_tool.py")], {
      stdin: true
    })
    const one = yield* Semaphore.make(1)
    const ask = <A>(question: { readonly op: string; readonly [key: string]: unknown }): Effect.Effect<A> =>
      one
        .withPermits(1)(
          Effect.gen(function* () {
            const from = running.lines.length
            running.write(`${JSON.stringify(question)}\n`)
            const answer = yield* running.line((line) => JSON.parse(line) as { ok?: A; error?: string }, from)
            return answer.error === undefined
              ? answer.ok!
              : yield* Effect.die(new Error(`${question.op}: ${answer.error}`))
          })
        )
        .pipe(Effect.uninterruptible) // an answer that nobody waits for would be taken for the next one
    const { torch } = yield* ask<{ readonly torch: string }>({ op: "version" })
    return {
      version: torch,
      folder,
      make: (cases) => ask({ op: "make", folder, cases }),
      makeSpecial: (kinds) => ask({ op: "make_special", folder, kinds }),
      dump: (files, options) =>
        ask({ op: "dump", folder, files, weights_only: options?.weightsOnly ?? true, mmap: options?.mmap ?? false }),
      equal: (pairs, options) => ask({ op: "equal", pairs, weights_only: options?.weightsOnly ?? true }),
      resave: (files) => ask({ op: "resave", files })
    }
  })

/**
 * PyTorch for a suite.
 *
 * @example
 * describeWith(["pytorch113"], "files of PyTorch 1.13", () => {
 *   layer(TorchTool.layer113, { excludeTestServices: true })((it) => { … })
 * })
 */
export class TorchTool extends Context.Service<TorchTool, Shape>()("effect-kpu/test/TorchTool") {
  /** PyTorch 2.9. */
  static readonly layer: Layer.Layer<TorchTool> = Layer.effect(TorchTool, make("pytorch"))
  /** PyTorch 1.13. */
  static readonly layer113: Layer.Layer<TorchTool> = Layer.effect(TorchTool, make("pytorch113"))
}
