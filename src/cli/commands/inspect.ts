/** `kpu inspect`: what is in files of tensors. Needs no cluster. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../schema/KpuError.ts"
import { openTensors } from "../files/formats.ts"
import { nameOfFile } from "../files/outgoing.ts"
import { outputVersion } from "../output/json.ts"
import { count, formatBytes } from "../output/quantities.ts"
import { report } from "../output/report.ts"
import { Screen } from "../output/Screen.ts"
import { statisticsOfBlocks } from "../output/statistics.ts"
import { formatShown, type Shown, summaryOf } from "../output/summaries.ts"
import { visible } from "../output/visible.ts"
import { didYouMean } from "../suggestions.ts"
import { only, plot, writePlot } from "./transfers.ts"

export const inspect = Command.make(
  "inspect",
  {
    files: Argument.String("file").pipe(
      Argument.withDescription("Files of tensors (.pt, .npy, .safetensors); - is standard input"),
      Argument.atLeast(1)
    ),
    only,
    statistics: Flag.Boolean("stats").pipe(
      Flag.withDescription(
        "Read the elements and tell how they are spread (the default); --no-stats tells only what the file's head says"
      ),
      Flag.withDefault(true)
    ),
    plot
  },
  Effect.fnUntraced(function* ({ files, only, plot, statistics }) {
    const screen = yield* Screen
    if (plot !== undefined && !statistics) {
      return yield* new InvalidInput({ field: "--plot", problem: "needs the elements; leave out --no-stats" })
    }
    const wanted = only === undefined ? undefined : new Set(only)
    const shown: Array<Shown> = []
    const names = new Set<string>()
    const text: Array<string> = []
    for (const path of files) {
      if (files.length > 1) text.push(screen.out.style.dim(`${visible(path)}:`))
      const file = yield* openTensors(path)
      const named = (name: string) => (name === "" ? nameOfFile(path) : name)
      const isWanted = (name: string) => wanted === undefined || wanted.has(name)
      for (const { byteLength, dtype, name, shape } of file.infos) {
        names.add(named(name))
        if (!isWanted(named(name))) continue
        const item = {
          name: named(name),
          file: path,
          dtype,
          shape,
          bytes: byteLength,
          statistics: statistics ? yield* statisticsOfBlocks(dtype, file.blocks(name)) : undefined
        }
        shown.push(item)
        text.push(formatShown(item, screen.out.style))
      }
    }
    const missing = only?.find((name) => !shown.some((item) => item.name === name))
    if (missing !== undefined) {
      return yield* new InvalidInput({
        field: "--name",
        problem: `there is no tensor ${JSON.stringify(missing)} in ${files.join(", ")}${didYouMean(missing, names)}`
      })
    }
    if (plot !== undefined) {
      yield* writePlot(plot, shown)
      // It is the result.
      if (plot === "-") return
    }
    const total = shown.reduce((sum, { bytes }) => sum + bytes, 0)
    if (shown.length !== 1) text.push(`${count(shown.length, "tensor")}, ${formatBytes(total)}`)
    yield* report({
      text: text.join("\n"),
      names: shown.map(({ name }) => name).join("\n"),
      data: { apiVersion: outputVersion, kind: "TensorSummaryList", items: shown.map(summaryOf) }
    })
  }, Effect.scoped)
).pipe(
  Command.withDescription("Show what is in files of tensors: names, dtypes, shapes, and how the elements are spread"),
  Command.withExamples([
    { command: "kpu inspect model.pt", description: "Every tensor of a state dict" },
    { command: "kpu inspect a.npy b.npy --plot histograms.svg", description: "Two arrays, drawn" }
  ])
)
