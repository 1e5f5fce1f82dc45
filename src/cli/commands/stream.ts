/** `kpu stream`: sends tensors through a Compute and takes what it makes of them, at the same time. */
import { randomUUID } from "node:crypto"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TransferMeter, withClient } from "../client.ts"
import { outgoing } from "../files/outgoing.ts"
import { computeName, waitTimeout } from "../input/flags.ts"
import { summaryLine, withProgress } from "../output/Progress.ts"
import { attach, serving } from "./common.ts"
import { chunkSize, fileArguments } from "./send.ts"
import { incomingFlags, into, makeReceiver, reportTransfer } from "./transfers.ts"

/** The server answers to a tensor under this and its id. */
const processed = "processed_"

export const stream = Command.make(
  "stream",
  { name: computeName, files: fileArguments, ...incomingFlags, chunkSize, timeout: waitTimeout },
  Effect.fnUntraced(function* ({ chunkSize, files, format, name, out, plot, show, timeout }) {
    const meter = yield* TransferMeter
    const { tensors, totalBytes, totalTensors } = yield* outgoing(files)
    const receiver = yield* makeReceiver({ out, format, show, plot, named: true, expected: totalTensors })
    const compute = yield* attach(name)
    yield* serving(compute, { timeout })
    const names = new Map<string, string>()
    let bytes = 0
    let sent = 0
    const { seconds } = yield* compute
      .streamTensorMessages(
        tensors.pipe(
          Stream.map(({ name, tensor }) => {
            const id = randomUUID()
            names.set(id, name)
            bytes += tensor.data.byteLength
            sent += 1
            return { tensor, id, metadata: { name } }
          })
        ),
        { chunkSize }
      )
      .pipe(
        Stream.runForEach(({ id, tensor }) => {
          const own = id.startsWith(processed) ? id.slice(processed.length) : id
          const name = names.get(own)
          names.delete(own)
          return receiver.add(name ?? id, tensor)
        }),
        withProgress({ label: "streaming", totalBytes: totalBytes * 2, totalTensors }, () => ({
          bytes: meter.sent + meter.received,
          tensors: receiver.moved().tensors
        }))
      )
    const received = yield* receiver.finish
    yield* reportTransfer({
      compute,
      line: `sent ${summaryLine({ bytes, tensors: sent, seconds })}; received ${summaryLine({ ...received, seconds })}${into(out, received)}`,
      sent: { tensors: sent, bytes },
      received,
      seconds,
      showing: receiver.showing,
      takesOutput: receiver.takesOutput
    })
  }, withClient)
).pipe(
  Command.withDescription("Send tensors through a Compute and take what it makes of them, at the same time"),
  Command.withExamples([
    { command: "kpu stream my-compute in.pt --out out.pt", description: "From a file to a file" },
    { command: "kpu stream my-compute *.npy --out results/ --format npy", description: "A file for a file" },
    { command: "cat in.pt | kpu stream my-compute - --out - > out.pt", description: "In a pipe" }
  ])
)
