/** `kpu delete`: deletes Computes. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { computeNames, duration, orUndefined } from "../input/flags.ts"
import { changeEach } from "./common.ts"

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
    changeEach(names, {
      action: "deleted",
      label: (compute) => `deleting ${compute}`,
      change: (compute) => compute.delete({ gracePeriod }),
      ignoreAbsent: ignoreNotFound
    })
).pipe(
  Command.withDescription("Delete Computes, and wait until they are gone"),
  Command.withExamples([
    { command: "kpu delete my-compute", description: "Delete one" },
    { command: "kpu get -o name | xargs kpu delete", description: "Delete all of the namespace" }
  ])
)
