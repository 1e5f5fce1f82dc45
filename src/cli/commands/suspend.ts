/** `kpu suspend`: scales Computes to zero. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { withClient } from "../client.ts"
import { computeNames, duration, orUndefined } from "../input/flags.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { actionResult, attach, forEachName } from "./common.ts"

export const suspend = Command.make(
  "suspend",
  {
    names: computeNames,
    timeout: duration("timeout").pipe(
      Flag.withDescription("How long to wait until the operator acknowledges (60s by default)"),
      orUndefined
    ),
    wait: Flag.Boolean("wait").pipe(
      Flag.withDescription("Wait until the operator acknowledges (the default)"),
      Flag.withDefault(true)
    )
  },
  ({ names, timeout, wait }) =>
    forEachName(names, (name) =>
      Effect.gen(function* () {
        const compute = yield* attach(name)
        yield* compute
          .suspend({ timeout, acknowledge: wait })
          .pipe(whileWaiting(`waiting for compute/${compute.name} to be suspended`))
        return actionResult("suspended", { ...compute, uid: (yield* compute.resource).metadata.uid })
      })
    ).pipe(withClient)
).pipe(
  Command.withDescription("Scale Computes to zero; their specifications stay"),
  Command.withExamples([{ command: "kpu suspend my-compute", description: "Suspend one, and wait for the operator" }])
)
