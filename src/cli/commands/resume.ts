/** `kpu resume`: scales suspended Computes up again. */
import * as Command from "effect/cli/Command"
import { computeNames, waitTimeout } from "../input/flags.ts"
import { changeEach } from "./common.ts"

export const resume = Command.make(
  "resume",
  {
    names: computeNames,
    timeout: waitTimeout
  },
  ({ names, timeout }) =>
    changeEach(names, {
      action: "resumed",
      label: (compute) => `waiting for ${compute} to be resumed`,
      change: (compute) => compute.resume({ timeout })
    })
).pipe(
  Command.withDescription("Scale suspended Computes up again, and wait until they serve"),
  Command.withExamples([{ command: "kpu resume my-compute --timeout 10m", description: "Resume one, and wait" }])
)
