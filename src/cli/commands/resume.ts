/** `kpu resume`: scales suspended Computes up again. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { withClient } from "../client.ts"
import { computeNames, waitTimeout } from "../input/flags.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { actionResult, attach, forEachName } from "./common.ts"

export const resume = Command.make(
  "resume",
  {
    names: computeNames,
    timeout: waitTimeout
  },
  ({ names, timeout }) =>
    forEachName(names, (name) =>
      Effect.gen(function* () {
        const compute = yield* attach(name)
        yield* compute.resume({ timeout }).pipe(whileWaiting(`waiting for compute/${compute.name} to be resumed`))
        return actionResult("resumed", { ...compute, uid: (yield* compute.resource).metadata.uid })
      })
    ).pipe(withClient)
).pipe(
  Command.withDescription("Scale suspended Computes up again, and wait until they serve"),
  Command.withExamples([{ command: "kpu resume my-compute --timeout 10m", description: "Resume one, and wait" }])
)
