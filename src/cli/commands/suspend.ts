/** `kpu suspend`: scales Computes to zero. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { computeNames, duration, orUndefined } from "../input/flags.ts"
import { changeEach } from "./common.ts"

export const suspend = Command.make(
  "suspend",
  {
    names: computeNames,
    timeout: duration("timeout").pipe(
      Flag.withDescription("How long to wait until the operator acknowledges (60s by default)"),
      orUndefined
    ),
    wait: Flag.Boolean("wait").pipe(
      Flag.withDescription("Wait until the operator acknowledges (the default); --no-wait does not"),
      Flag.withDefault(true)
    )
  },
  ({ names, timeout, wait }) =>
    changeEach(names, {
      action: "suspended",
      label: (compute) => `waiting for ${compute} to be suspended`,
      change: (compute) => compute.suspend({ timeout, acknowledge: wait })
    })
).pipe(
  Command.withDescription("Scale Computes to zero; their specifications stay"),
  Command.withExamples([{ command: "kpu suspend my-compute", description: "Suspend one, and wait for the operator" }])
)
