/** What `send`, `receive` and `stream` have in common: how they report, what they show of tensors. */
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../schema/KpuError.ts"
import type { SendReceipt } from "../../schema/SendReceipt.ts"
import type { Tensor } from "../../schema/Tensor.ts"
import type { Handle } from "../../services/ComputeHandle.ts"
import { writeFile } from "../files/disk.ts"
import { formatNames } from "../files/formats.ts"
import { type Sink, sinkFor } from "../files/incoming.ts"
import { list, orUndefined } from "../input/flags.ts"
import { outputVersion, type TransferResult } from "../output/json.ts"
import { report } from "../output/report.ts"
import { Screen } from "../output/Screen.ts"
import { formatShown, look, plotOf, type Shown, summaryOf } from "../output/summaries.ts"

/** Whether and where histograms are drawn. */
export const plot = Flag.String("plot").pipe(
  Flag.withMetavar("file.svg"),
  Flag.withDescription("Draw the tensors' histograms into an SVG file (- is standard output)"),
  orUndefined
)

/** Flags for what comes back. */
export const incomingFlags = {
  out: Flag.String("out").pipe(
    Flag.withMetavar("path"),
    Flag.withDescription("Where the tensors go: a file, a folder (name/) for a file each, or - for standard output"),
    orUndefined
  ),
  format: Flag.Literals("format", formatNames).pipe(
    Flag.withDescription("The format, where the file's ending does not say it (.pt, .npy, .safetensors)"),
    orUndefined
  ),
  show: Flag.Boolean("show").pipe(
    Flag.withDescription("Print what each tensor is and how its elements are spread (the default without --out)"),
    orUndefined
  ),
  plot
} as const

export const only = list("name").pipe(Flag.withDescription("Only the tensors of these names; may be repeated"))

export interface Received {
  readonly bytes: number
  readonly tensors: number
  readonly shown: ReadonlyArray<Shown>
}

/** Draws tensors into an SVG file, or onto standard output. */
export const writePlot = Effect.fnUntraced(function* (path: string, shown: ReadonlyArray<Shown>) {
  const screen = yield* Screen
  const svg = new TextEncoder().encode(plotOf(shown))
  if (path === "-") return yield* screen.write(svg)
  yield* writeFile(path, [svg])
  yield* screen.say(`plot written to ${path}`)
})

/** Where they are now, for the line at the end: where none came, no file was made. */
export const into = (out: string | undefined, { tensors }: Received): string =>
  out === undefined || out === "-" || tensors === 0 ? "" : ` into ${out}`

/** Takes received tensors: to their files, to the screen, into a plot. */
export const makeReceiver = Effect.fnUntraced(function* (options: {
  readonly out: string | undefined
  readonly format: string | undefined
  readonly show: boolean | undefined
  readonly plot: string | undefined
  readonly named: boolean
  readonly expected?: number | undefined
}) {
  if (options.out === "-" && options.plot === "-") {
    return yield* new InvalidInput({
      field: "--plot",
      problem: "standard output takes the tensors already; give a file"
    })
  }
  const sink: Sink = yield* sinkFor(options)
  const showing = options.show ?? (options.out === undefined && options.plot === undefined)
  const looking = showing || options.plot !== undefined
  const shown: Array<Shown> = []
  let bytes = 0
  let tensors = 0
  return {
    moved: () => ({ bytes, tensors }),
    add: (name: string, tensor: Tensor) =>
      Effect.gen(function* () {
        bytes += tensor.data.byteLength
        tensors += 1
        const file = yield* sink.add({ name, tensor })
        shown.push(look(name, tensor, { file, statistics: looking }))
      }),
    finish: Effect.gen(function* () {
      yield* sink.finish
      if (options.plot !== undefined) {
        yield* writePlot(options.plot, shown)
      }
      return { bytes, tensors, shown } satisfies Received
    }),
    showing,
    /** Whether standard output holds the tensors or the plot, so that nothing else may go there. */
    takesOutput: options.out === "-" || options.plot === "-"
  }
})

/** Reports a transfer: a line for people, one document for programs. */
export const reportTransfer = Effect.fnUntraced(function* (options: {
  readonly compute: Handle
  readonly line: string
  readonly sent?: { readonly tensors: number; readonly bytes: number } | undefined
  readonly received?: Received | undefined
  readonly seconds: number
  readonly receipt?: SendReceipt | undefined
  readonly showing: boolean
  readonly takesOutput: boolean
}) {
  const { compute, line, received, receipt, seconds, sent, showing, takesOutput } = options
  const screen = yield* Screen
  const uid = (yield* compute.resource).metadata.uid
  const data: TransferResult = {
    apiVersion: outputVersion,
    kind: "TransferResult",
    compute: { namespace: compute.namespace, name: compute.name, uid },
    ...(sent === undefined ? {} : { sent }),
    ...(received === undefined ? {} : { received: { tensors: received.tensors, bytes: received.bytes } }),
    seconds,
    ...(receipt === undefined
      ? {}
      : {
          receipt: {
            success: receipt.success,
            message: receipt.message,
            receivedTensorIds: receipt.receivedTensorIds
          }
        }),
    tensors: (received?.shown ?? []).map(summaryOf)
  }
  if (takesOutput) return yield* screen.say(line)
  const shown = showing ? (received?.shown ?? []).map((item) => formatShown(item, screen.out.style)) : []
  // Where tensors are shown they are the result, and how fast they came is said beside it.
  if (shown.length > 0) yield* screen.say(line)
  yield* report({ text: shown.length > 0 ? shown.join("\n") : line, data })
})
