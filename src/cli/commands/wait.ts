/** `kpu wait`: waits until Computes are in a state. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { formatCondition } from "../../schema/Condition.ts"
import { ReadyTimeout } from "../../schema/KpuError.ts"
import { describe, isSuspended } from "../../schema/Readiness.ts"
import type { Handle } from "../../services/ComputeHandle.ts"
import { withClient } from "../client.ts"
import { computeNames, waitTimeout } from "../input/flags.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { absent, actionResult, attach, forEachName, isAbsent, ready } from "./common.ts"

const defaultTimeout = Duration.seconds(300)

/** Follows a Compute's states until one is the wanted one, or they end. */
const follow = (compute: Handle, waitedFor: "suspended" | "deleted", timeout: Duration.Duration) =>
  compute.changes.pipe(
    Stream.tap((resource) =>
      Effect.logInfo(
        `Compute ${compute.namespace}/${compute.name}: ${(resource.status?.conditions ?? []).map(formatCondition).join(", ")}`
      )
    ),
    Stream.takeUntil((resource) => waitedFor === "suspended" && isSuspended(resource)),
    Stream.runDrain,
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () =>
        Effect.flatMap(compute.resource, (latest) =>
          Effect.fail(
            new ReadyTimeout({
              resource: { kind: "Compute", namespace: compute.namespace, name: compute.name },
              timeoutMillis: Duration.toMillis(timeout),
              waitedFor,
              conditions: latest.status?.conditions ?? [],
              problem: waitedFor === "deleted" ? "it is still there" : describe(latest)
            })
          )
        )
    }),
    whileWaiting(`waiting for compute/${compute.name} to be ${waitedFor}`)
  )

export const wait = Command.make(
  "wait",
  {
    names: computeNames,
    for: Flag.Literals("for", ["ready", "suspended", "deleted"]).pipe(
      Flag.withDescription("The state to wait for"),
      Flag.withDefault("ready")
    ),
    timeout: waitTimeout
  },
  ({ for: waitedFor, names, timeout }) =>
    forEachName(names, (name) =>
      Effect.gen(function* () {
        const compute = yield* attach(name)
        if (waitedFor === "ready") yield* ready(compute, { timeout })
        else yield* follow(compute, waitedFor, timeout ?? defaultTimeout)
        return actionResult(waitedFor, { ...compute, uid: (yield* compute.resource).metadata.uid })
      }).pipe(
        // Gone already is what was waited for.
        Effect.catchIf(
          (error) => waitedFor === "deleted" && isAbsent(error),
          () => absent(name)
        )
      )
    ).pipe(withClient)
).pipe(
  Command.withDescription("Wait until Computes serve (and can be dialled from here), are suspended or are gone"),
  Command.withExamples([
    { command: "kpu wait my-compute --timeout 10m", description: "Wait until one serves" },
    { command: "kpu wait my-compute --for deleted", description: "Wait until one is gone" }
  ])
)
