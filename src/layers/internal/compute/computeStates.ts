/**
 * One Compute's states, out of the shared watch: the identity by uid is settled here, so that nothing above confuses a
 * Compute with another one of the same name, or with what a DELETED event carries.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type ComputeResource, kind } from "../../../schema/ComputeResource.ts"
import { ComputeDeleted } from "../../../schema/KpuError.ts"
import { isDeleting } from "../../../schema/Readiness.ts"
import type { ApiError, ComputeRef } from "../../../services/ComputeApi.ts"
import type { ComputeWatch } from "../../../services/ComputeWatch.ts"

/** A Compute by name and uid. */
export interface Identity extends ComputeRef {
  readonly uid: string
}

const deleted = ({ name, namespace }: Identity, problem: string) =>
  new ComputeDeleted({ resource: { kind, namespace, name }, problem })

/** The states from `since` on, the current one first; ends when this Compute is no more. */
export const states = (
  watch: ComputeWatch["Service"],
  identity: Identity,
  since: string
): Stream.Stream<ComputeResource, ApiError | ComputeDeleted> =>
  watch.observe(identity, { since }).pipe(
    Stream.mapEffect((observation) => {
      if (observation._tag === "Absent") return Effect.fail(deleted(identity, "it was deleted while waited for"))
      const { resource } = observation
      return resource.metadata.uid === identity.uid
        ? Effect.succeed(resource)
        : Effect.fail(
            deleted(identity, `it was deleted, and another of the same name was created (uid ${resource.metadata.uid})`)
          )
    })
  )

/** The states of a Compute that is to live: somebody's request for its deletion fails too. */
export const livingStates = (
  watch: ComputeWatch["Service"],
  identity: Identity,
  since: string
): Stream.Stream<ComputeResource, ApiError | ComputeDeleted> =>
  states(watch, identity, since).pipe(
    Stream.tap((resource) =>
      isDeleting(resource)
        ? Effect.fail(
            deleted(
              identity,
              `its deletion was asked for at ${resource.metadata.deletionTimestamp}; it waits for finalizers: ${
                (resource.metadata.finalizers ?? []).join(", ") || "none"
              }`
            )
          )
        : Effect.void
    )
  )
