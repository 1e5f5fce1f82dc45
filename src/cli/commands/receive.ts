/** `kpu receive`: receives tensors that a Compute makes. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TransferMeter, withClient } from "../client.ts"
import { computeName, integer, record, waitTimeout } from "../input/flags.ts"
import { summaryLine, withProgress } from "../output/Progress.ts"
import { attach, serving } from "./common.ts"
import { incomingFlags, into, makeReceiver, reportTransfer } from "./transfers.ts"

export const receive = Command.make(
  "receive",
  {
    name: computeName,
    count: integer("count", { min: 1 }).pipe(
      Flag.withAlias("c"),
      Flag.withDescription("How many tensors (1 by default)"),
      Flag.withDefault(1)
    ),
    parameters: record("param").pipe(
      Flag.withAlias("p"),
      Flag.withDescription("A parameter for the server, such as shape=20,20; may be repeated")
    ),
    ...incomingFlags,
    timeout: waitTimeout
  },
  Effect.fnUntraced(function* ({ count, format, name, out, parameters, plot, show, timeout }) {
    const meter = yield* TransferMeter
    const receiver = yield* makeReceiver({ out, format, show, plot, named: false, expected: count })
    const compute = yield* attach(name)
    yield* serving(compute, { timeout })
    const { seconds } = yield* compute.receiveTensors({ count, parameters }).pipe(
      Stream.runForEach((tensor) => receiver.add(`${compute.name}-${receiver.moved().tensors}`, tensor)),
      withProgress({ label: "receiving", totalTensors: count }, () => ({
        bytes: meter.received,
        tensors: receiver.moved().tensors
      }))
    )
    const received = yield* receiver.finish
    yield* reportTransfer({
      compute,
      line: `received ${summaryLine({ ...received, seconds })}${into(out, received)}`,
      received,
      seconds,
      showing: receiver.showing,
      takesOutput: receiver.takesOutput
    })
  }, withClient)
).pipe(
  Command.withDescription("Receive tensors that a Compute makes, into files or onto the screen"),
  Command.withExamples([
    { command: "kpu receive my-compute --count 2 --param shape=20,20", description: "Look at two tensors" },
    { command: "kpu receive my-compute --count 8 --out batch/", description: "A file each" },
    { command: "kpu receive my-compute --out - --format npy | python consume.py", description: "Into a pipe" }
  ])
)
