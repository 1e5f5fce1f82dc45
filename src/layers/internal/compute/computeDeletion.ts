/**
 * Deletion by uid, bounded. A Compute that is gone, or replaced by a stranger of the same name, counts as deleted.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { group, kind, plural } from "../../../schema/ComputeResource.ts"
import { type ComputeDeleted, ReadyTimeout } from "../../../schema/KpuError.ts"
import type { ApiError, ComputeApi } from "../../../services/ComputeApi.ts"
import type { ComputeWatch } from "../../../services/ComputeWatch.ts"
import { type Identity, states } from "./computeStates.ts"

/** How a person removes it by hand. */
export const removalCommand = ({ name, namespace }: Identity): string =>
  `kubectl delete ${plural}.${group} ${name} --namespace ${namespace}`

const retries = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")]).pipe(Schedule.jittered)

/** Deletes, and waits until the resource is gone: where finalizers hold it, acceptance is not the end. */
export const deleteCompute = Effect.fn("Compute.delete")(function* (
  api: ComputeApi["Service"],
  watch: ComputeWatch["Service"],
  identity: Identity,
  options: { readonly gracePeriod: Duration.Duration; readonly timeout: Duration.Duration }
): Effect.fn.Return<void, ApiError | ReadyTimeout> {
  const resource = { kind, namespace: identity.namespace, name: identity.name }
  let held = "the API server has not confirmed it"
  const request = api
    .delete({ ...identity, gracePeriodSeconds: Math.ceil(Duration.toSeconds(options.gracePeriod)) })
    .pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          held = error.message
        })
      ),
      Effect.retry({ schedule: retries, while: (error: ApiError) => error.isRetryable })
    )
  const gone = Effect.gen(function* () {
    const current = yield* api.get(identity)
    if (current.metadata.uid !== identity.uid) return
    held = `finalizers hold it: ${(current.metadata.finalizers ?? []).join(", ") || "none named"}`
    yield* states(watch, identity, current.metadata.resourceVersion).pipe(Stream.runDrain)
  }).pipe(
    Effect.catchReason("KubernetesError", "NotFound", () => Effect.void),
    Effect.catchTag("ComputeDeleted", (_: ComputeDeleted) => Effect.void)
  )
  const answer = Effect.flatMap(request, (answer) => (answer === "absent" ? Effect.void : gone))
  yield* answer.pipe(
    Effect.timeoutOrElse({
      duration: options.timeout,
      orElse: () =>
        Effect.fail(
          new ReadyTimeout({
            resource,
            timeoutMillis: Duration.toMillis(options.timeout),
            waitedFor: "deleted",
            conditions: [],
            problem: `${held}. See: ${removalCommand(identity)}`
          })
        )
    })
  )
})

/** Deletion at the close of a scope: never fails, and says what remains. */
export const deleteAtClose = (
  api: ComputeApi["Service"],
  watch: ComputeWatch["Service"],
  identity: Identity,
  options: { readonly gracePeriod: Duration.Duration; readonly timeout: Duration.Duration }
): Effect.Effect<void> =>
  deleteCompute(api, watch, identity, options).pipe(
    Effect.tap(Effect.logDebug(`Compute ${identity.namespace}/${identity.name} deleted`)),
    Effect.catchCause((cause) =>
      Effect.logError(
        `Compute ${identity.namespace}/${identity.name} (uid ${identity.uid}) may remain. Remove it with: ${removalCommand(identity)}`,
        cause
      )
    )
  )
