/** `kpu delete`: deletes Computes. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { withClient } from "../client.ts"
import { computeNames, duration, orUndefined } from "../input/flags.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { absent, actionResult, attach, forEachName, isAbsent } from "./common.ts"

export const deleteCommand = Command.make(
  "delete",
  {
    names: computeNames,
    gracePeriod: duration("grace-period").pipe(
      Flag.withDescription("What the deletion gives the Pod to end (30s by default)"),
      orUndefined
    ),
    ignoreNotFound: Flag.Boolean("ignore-not-found").pipe(
      Flag.withDescription("Count a Compute that is not there as deleted"),
      Flag.withDefault(false)
    )
  },
  ({ gracePeriod, ignoreNotFound, names }) =>
    forEachName(names, (name) =>
      Effect.gen(function* () {
        const compute = yield* attach(name)
        const { uid } = (yield* compute.resource).metadata
        yield* compute.delete({ gracePeriod }).pipe(whileWaiting(`deleting compute/${compute.name}`))
        return actionResult("deleted", { ...compute, uid })
      }).pipe(
        Effect.catchIf(
          (error) => ignoreNotFound && isAbsent(error),
          () => absent(name)
        )
      )
    ).pipe(withClient)
).pipe(
  Command.withDescription("Delete Computes, and wait until they are gone"),
  Command.withExamples([
    { command: "kpu delete my-compute", description: "Delete one" },
    { command: "kpu get -o name | xargs kpu delete", description: "Delete all of the namespace" }
  ])
)
