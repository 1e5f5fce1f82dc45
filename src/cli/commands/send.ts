/** `kpu send`: sends the tensors of files to a Compute. */
import { randomUUID } from "node:crypto"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TransferMeter, withClient } from "../client.ts"
import { outgoing } from "../files/outgoing.ts"
import { computeName, integer, orUndefined, waitTimeout } from "../input/flags.ts"
import { summaryLine, withProgress } from "../output/Progress.ts"
import { attach, serving } from "./common.ts"
import { reportTransfer } from "./transfers.ts"

export const fileArguments = Argument.String("file").pipe(
  Argument.withDescription("Files of tensors (.pt, .npy, .safetensors); - is standard input"),
  Argument.atLeast(1)
)

export const chunkSize = integer("chunk-size", { min: 65_536, max: 3_145_728, metavar: "bytes" }).pipe(
  Flag.withDescription("Bytes of a chunk, from 64 KiB to 3 MiB (1 MiB by default)"),
  orUndefined
)

export const send = Command.make(
  "send",
  { name: computeName, files: fileArguments, chunkSize, timeout: waitTimeout },
  Effect.fnUntraced(function* ({ chunkSize, files, name, timeout }) {
    const meter = yield* TransferMeter
    const { tensors, totalBytes, totalTensors } = yield* outgoing(files)
    const compute = yield* attach(name)
    yield* serving(compute, { timeout })
    let bytes = 0
    let sent = 0
    const { seconds, value: receipt } = yield* compute
      .sendTensors(
        tensors.pipe(
          Stream.map(({ name, tensor }) => {
            bytes += tensor.data.byteLength
            sent += 1
            return { tensor, id: randomUUID(), metadata: { name } }
          })
        ),
        { chunkSize }
      )
      .pipe(withProgress({ label: "sending", totalBytes, totalTensors }, () => ({ bytes: meter.sent, tensors: sent })))
    yield* reportTransfer({
      compute,
      line: `sent ${summaryLine({ bytes, tensors: sent, seconds })}: ${receipt.message}`,
      sent: { tensors: sent, bytes },
      seconds,
      receipt,
      showing: false,
      takesOutput: false
    })
  }, withClient)
).pipe(
  Command.withDescription("Send the tensors of files to a Compute"),
  Command.withExamples([
    { command: "kpu send my-compute model.pt", description: "Every tensor of a state dict" },
    { command: "kpu send my-compute - < batch.npy", description: "From standard input" }
  ])
)
