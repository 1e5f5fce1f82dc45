/**
 * `apply`, `scoped` and `attach`.
 *
 * **The hard thing** is that `scoped` leaves nothing behind. From the moment at which an apply may have reached the
 * server until the scope has closed there is no point at which a failure or an interruption loses the Compute: an apply
 * that is interrupted is awaited, one whose outcome is unknown is read back, and a failed wait deletes before it fails.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { checkComputeOptions, type ScopedOptions, toSpec } from "../schema/ComputeOptions.ts"
import { type ComputeResource, kind } from "../schema/ComputeResource.ts"
import { appliedBy } from "../schema/FieldOwnership.ts"
import { InvalidInput } from "../schema/KpuError.ts"
import { Conflict, KubernetesError } from "../schema/KubernetesError.ts"
import { type ApiError, ComputeApi, type ComputeRef } from "../services/ComputeApi.ts"
import { ComputeDiagnosis } from "../services/ComputeDiagnosis.ts"
import { ComputeWatch } from "../services/ComputeWatch.ts"
import { Endpoint } from "../services/Endpoint.ts"
import { Kpu } from "../services/Kpu.ts"
import { Namespace } from "../services/Namespace.ts"
import { TensorClient } from "../services/TensorClient.ts"
import { Timeouts } from "../services/Timeouts.ts"
import { deleteAtClose, removalCommand } from "./internal/compute/computeDeletion.ts"
import { defaultGracePeriod, makeHandle, type Parts } from "./internal/compute/computeHandle.ts"
import type { Identity } from "./internal/compute/computeStates.ts"

/** Whether a failed apply has certainly changed nothing: the server answered, and its answer was no. */
const isRefusal = (error: ApiError): boolean => {
  if (error._tag === "KubeConfigError") return true
  switch (error.reason._tag) {
    case "Transport":
    case "Unavailable":
    case "BadResponse":
      return false
    default:
      return true
  }
}

const identityOf = ({ metadata }: ComputeResource): Identity => ({
  namespace: metadata.namespace,
  name: metadata.name,
  uid: metadata.uid
})

const make = Effect.gen(function* () {
  const parts: Parts = {
    api: yield* ComputeApi,
    watch: yield* ComputeWatch,
    endpoint: yield* Endpoint,
    client: yield* TensorClient,
    diagnosis: yield* ComputeDiagnosis,
    timeouts: yield* Timeouts
  }
  const { api, timeouts, watch } = parts
  const namespace = (yield* Namespace).name

  const deletion = (options: ScopedOptions) => ({
    gracePeriod: options.gracePeriod === undefined ? defaultGracePeriod : Duration.fromInputUnsafe(options.gracePeriod),
    timeout: timeouts.deletion
  })

  const find = (ref: ComputeRef): Effect.Effect<ComputeResource | undefined, ApiError> =>
    api.get(ref).pipe(Effect.catchReason("KubernetesError", "NotFound", () => Effect.succeed(undefined)))

  /** Whether what stands there now is the work of an apply of ours that never answered. */
  const isOurs = (before: ComputeResource | undefined, now: ComputeResource): boolean => {
    const entry = appliedBy(now, api.fieldManager)
    if (entry === undefined) return false
    if (before === undefined || before.metadata.uid !== now.metadata.uid) return true
    const entryBefore = appliedBy(before, api.fieldManager)
    return entryBefore === undefined || entryBefore.time !== entry.time
  }

  /** Deletes what an apply of unknown outcome may have made. */
  const undo = (ref: ComputeRef, before: ComputeResource | undefined, options: ScopedOptions) =>
    find(ref).pipe(
      Effect.flatMap((now) =>
        now === undefined || !isOurs(before, now)
          ? Effect.void
          : deleteAtClose(api, watch, identityOf(now), deletion(options))
      ),
      Effect.timeout(timeouts.deletion),
      Effect.catchCause((cause) =>
        Effect.logError(
          `The apply of Compute ${ref.namespace}/${ref.name} was not answered, and whether it was created cannot be read back. If it remains, remove it with: ${removalCommand({ ...ref, uid: "" })}`,
          cause
        )
      )
    )

  const applyOwned = (
    options: ScopedOptions,
    ref: ComputeRef,
    before: ComputeResource | undefined,
    scope: Scope.Scope
  ) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const request = yield* Effect.forkDetach(api.apply({ ...ref, spec: toSpec(options) }))
        const waited = yield* Effect.exit(restore(Fiber.join(request)))
        if (Exit.isSuccess(waited)) {
          yield* Scope.addFinalizer(scope, deleteAtClose(api, watch, identityOf(waited.value), deletion(options)))
          return waited.value
        }
        if (!Cause.hasInterrupts(waited.cause)) {
          const error = Cause.findErrorOption(waited.cause)
          if (error._tag === "None" || !isRefusal(error.value)) yield* undo(ref, before, options)
          return yield* Effect.failCause(waited.cause)
        }
        // Interrupted while the request was on its way: what it makes is known best by its own answer.
        const answer = yield* Fiber.await(request).pipe(Effect.timeoutOption(timeouts.deletion))
        if (answer._tag === "Some" && Exit.isSuccess(answer.value)) {
          yield* deleteAtClose(api, watch, identityOf(answer.value.value), deletion(options))
        } else {
          yield* Fiber.interrupt(request)
          yield* undo(ref, before, options)
        }
        return yield* Effect.failCause(waited.cause)
      })
    )

  const apply = Effect.fn("Compute.apply")(function* (options: Parameters<Kpu["Service"]["apply"]>[0]) {
    const checked = yield* Effect.fromResult(checkComputeOptions(options))
    yield* Effect.annotateCurrentSpan({ "k8s.namespace.name": namespace, "kpu.compute.name": checked.name })
    const applied = yield* api.apply({ namespace, name: checked.name, spec: toSpec(checked) })
    return yield* makeHandle(parts, applied, checked, yield* Effect.scope)
  })

  const attach = Effect.fn("Compute.attach")(function* (
    name: string,
    options: Parameters<Kpu["Service"]["attach"]>[1] = {}
  ) {
    const checked = yield* Effect.fromResult(checkComputeOptions({ ...options, name }))
    yield* Effect.annotateCurrentSpan({ "k8s.namespace.name": namespace, "kpu.compute.name": name })
    const resource = yield* api.get({ namespace, name })
    return yield* makeHandle(parts, resource, checked, yield* Effect.scope)
  })

  const scoped = Effect.fn("Compute.scoped")(function* (options: ScopedOptions) {
    const checked = yield* Effect.fromResult(checkComputeOptions(options))
    const ref = { namespace, name: checked.name }
    const resource = { kind, ...ref }
    yield* Effect.annotateCurrentSpan({ "k8s.namespace.name": namespace, "kpu.compute.name": checked.name })
    if (checked.suspend === true) {
      return yield* new InvalidInput({
        field: "suspend",
        problem: "a scoped Compute is waited for until it serves, which a suspended one never does; use Compute.apply",
        resource
      })
    }
    const before = yield* find(ref)
    if (before !== undefined) {
      if (checked.ifExists === "fail") {
        const message = `it exists already (uid ${before.metadata.uid}); leave out ifExists: "fail" to take it over`
        return yield* new KubernetesError({ verb: "apply", resource, reason: new Conflict({ message, causes: [] }) })
      }
      yield* Effect.logWarning(
        `Compute ${namespace}/${checked.name} exists already (uid ${before.metadata.uid}): it is taken over, and deleted when the scope closes`
      )
    }
    // The Compute's own scope: closed with the user's, or at once when it does not become ready.
    const scope = yield* Scope.fork(yield* Effect.scope)
    return yield* Effect.gen(function* () {
      const applied = yield* applyOwned(checked, ref, before, scope)
      const handle = yield* makeHandle(parts, applied, checked, scope)
      yield* handle.ready({ timeout: checked.timeout })
      return handle
    }).pipe(Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void)))
  })

  return Kpu.of({ apply, attach, scoped })
})

/** The client's operations, on the services beneath them. */
export const layer: Layer.Layer<
  Kpu,
  never,
  ComputeApi | ComputeDiagnosis | ComputeWatch | Endpoint | Namespace | TensorClient
> = Layer.effect(Kpu, make)
