/**
 * The handle of one Compute, composed of its states (the watch), its requests (the API) and its connection.
 *
 * **The hard thing** is to believe neither too little nor too much. A wait follows the states from the apply on, by
 * uid. A `Ready=True` that an apply found already there may speak of the spec before it; it is doubted until the status
 * changes, or for the settle time where the operator had nothing to change.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { checkOptions, type DialOptions, defaultPort } from "../../../schema/ComputeOptions.ts"
import { type ComputeResource, kind } from "../../../schema/ComputeResource.ts"
import { formatCondition } from "../../../schema/Condition.ts"
import { ownedSpec } from "../../../schema/FieldOwnership.ts"
import { ComputeDeleted, type GrpcError, ReadyTimeout } from "../../../schema/KpuError.ts"
import { describe, isReady, isSuspended, isUntouched, sameStatus, statusMayBeStale } from "../../../schema/Readiness.ts"
import type { ComputeApi } from "../../../services/ComputeApi.ts"
import type { ComputeDiagnosis } from "../../../services/ComputeDiagnosis.ts"
import type { Handle, ReadyError, ReadyOptions, WaitError } from "../../../services/ComputeHandle.ts"
import type { ComputeWatch } from "../../../services/ComputeWatch.ts"
import type { Endpoint } from "../../../services/Endpoint.ts"
import type { TensorClient } from "../../../services/TensorClient.ts"
import type { TimeoutValues } from "../../../services/Timeouts.ts"
import { makeConnection } from "./computeConnection.ts"
import { deleteCompute } from "./computeDeletion.ts"
import { type Identity, livingStates, states } from "./computeStates.ts"

/** What a handle is made of. */
export interface Parts {
  readonly api: ComputeApi["Service"]
  readonly watch: ComputeWatch["Service"]
  readonly endpoint: Endpoint["Service"]
  readonly client: TensorClient["Service"]
  readonly diagnosis: ComputeDiagnosis["Service"]
  readonly timeouts: TimeoutValues
}

const isNewer = (a: ComputeResource, b: ComputeResource): boolean => {
  const [x, y] = [Number(a.metadata.resourceVersion), Number(b.metadata.resourceVersion)]
  return Number.isNaN(x) || Number.isNaN(y) || x >= y
}

/** How long the failure of a wait may be held up by a last look at the Pod. */
const summaryTime = Duration.seconds(1)

type Verdict = "waiting" | "doubtful" | "there"

/** Makes the handle of a Compute as the API server has just answered it. */
export const makeHandle = Effect.fnUntraced(function* (
  parts: Parts,
  first: ComputeResource,
  dial: DialOptions,
  scope: Scope.Scope
): Effect.fn.Return<Handle> {
  const { api, client, diagnosis, endpoint, timeouts, watch } = parts
  const { name, namespace, uid } = first.metadata
  const identity: Identity = { namespace, name, uid }
  const resourceRef = { kind, namespace, name }
  const connection = yield* makeConnection(client, identity, scope)

  const attributes = { "k8s.namespace.name": namespace, "kpu.compute.name": name }

  let latest = first
  let doubted = statusMayBeStale(first) ? first : undefined
  let reported = ""

  const remember = (resource: ComputeResource): void => {
    if (resource.metadata.uid === uid && isNewer(resource, latest)) latest = resource
  }

  const report = (resource: ComputeResource): Effect.Effect<void> =>
    Effect.suspend(() => {
      const conditions = (resource.status?.conditions ?? []).map(formatCondition).join(", ")
      if (conditions === "" || conditions === reported) return Effect.void
      reported = conditions
      return Effect.annotateLogs(Effect.logInfo(`Compute ${namespace}/${name}: ${conditions}`), attributes)
    })

  const address =
    dial.host === undefined
      ? Effect.suspend(() => endpoint.resolve({ namespace, name, port: dial.port ?? defaultPort }))
      : Effect.succeed({
          host: dial.host,
          port: dial.port ?? defaultPort,
          hint: "The host option of this Compute names it.",
          mayResolveLater: false
        })

  /** Waits for a state, and then for `arrive`; leaves `arrive` when the state passes before it ends. */
  const waitFor = <E>(
    waitedFor: string,
    timeout: Duration.Duration,
    judge: (resource: ComputeResource) => Verdict,
    arrive: Effect.Effect<void, E>,
    obstacle: Effect.Effect<string>
  ): Effect.Effect<void, WaitError | E> =>
    livingStates(watch, identity, latest.metadata.resourceVersion).pipe(
      Stream.tap((resource) => {
        remember(resource)
        return report(resource)
      }),
      Stream.map(judge),
      Stream.changes,
      Stream.switchMap((verdict): Stream.Stream<void, E> => {
        switch (verdict) {
          case "waiting":
            return Stream.never
          case "doubtful":
            return Stream.fromEffect(Effect.andThen(Effect.sleep(timeouts.settle), arrive))
          case "there":
            return Stream.fromEffect(arrive)
        }
      }),
      Stream.runHead,
      Effect.flatMap(
        Option.match({
          onNone: () =>
            Effect.fail(
              new ComputeDeleted({ resource: resourceRef, problem: "its watch ended while it was waited for" })
            ),
          onSome: () => Effect.void
        })
      ),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () =>
          Effect.flatMap(obstacle, (problem) =>
            Effect.fail(
              new ReadyTimeout({
                resource: resourceRef,
                timeoutMillis: Duration.toMillis(timeout),
                waitedFor,
                conditions: latest.status?.conditions ?? [],
                problem
              })
            )
          )
      })
    )

  const judgeReady = (resource: ComputeResource): Verdict => {
    if (doubted !== undefined && !sameStatus(doubted, resource)) doubted = undefined
    if (!isReady(resource)) return "waiting"
    return doubted === undefined ? "there" : "doubtful"
  }

  const waitUntilServing = (
    waitedFor: string,
    timeout: Duration.Duration
  ): Effect.Effect<void, WaitError | GrpcError> =>
    Effect.suspend(() => {
      let refused: GrpcError | undefined
      const connect = connection
        .open(address, (error) => {
          refused = error
        })
        .pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              doubted = undefined
            })
          )
        )
      const obstacle = Effect.suspend(() => {
        if (isReady(latest)) {
          const reason = refused === undefined ? "the connection is not up yet" : refused.message
          return Effect.succeed(`the resource is Ready, but its tensor server cannot be reached: ${reason}`)
        }
        if (isUntouched(latest)) return Effect.succeed(describe(latest))
        if (latest.spec?.suspend === true) {
          return Effect.succeed(`it is suspended; resume() it first (${describe(latest)})`)
        }
        return diagnosis.summary(latest).pipe(
          Effect.timeoutOrElse({ duration: summaryTime, orElse: () => Effect.succeed("its Pod was not looked at") }),
          Effect.map((summary) => `${describe(latest)}; ${summary}`)
        )
      })
      return Effect.raceFirst(waitFor(waitedFor, timeout, judgeReady, connect, obstacle), diagnosis.watch(latest))
    })

  const checkTimeout = (options: ReadyOptions | undefined, fallback: Duration.Duration) =>
    Effect.map(Effect.fromResult(checkOptions({ timeout: options?.timeout }, identity)), ({ timeout }) =>
      timeout === undefined ? fallback : Duration.fromInputUnsafe(timeout)
    )

  /** Applies `suspend` together with all else that this field manager owns: what it leaves out would be removed. */
  const applySuspend = Effect.fnUntraced(function* (suspend: boolean) {
    const current = yield* api.get(identity)
    if (current.metadata.uid !== uid) {
      return yield* new ComputeDeleted({
        resource: resourceRef,
        problem: `another of the same name exists now (uid ${current.metadata.uid})`
      })
    }
    const spec = { ...ownedSpec(current, api.fieldManager), suspend }
    const applied = yield* api.apply({ ...identity, spec })
    remember(applied)
    return applied
  })

  const handle: Handle = {
    name,
    namespace,
    ready: (options) =>
      Effect.gen(function* (): Effect.fn.Return<void, ReadyError> {
        const timeout = yield* checkTimeout(options, timeouts.ready)
        yield* waitUntilServing("ready", timeout)
      }).pipe(Effect.withSpan("Compute.ready", { attributes })),
    isReady: Effect.suspend(() =>
      api.get(identity).pipe(
        Effect.map((resource) => {
          remember(resource)
          return resource.metadata.uid === uid && isReady(resource)
        }),
        Effect.catchReason("KubernetesError", "NotFound", () => Effect.succeed(false)),
        Effect.withSpan("Compute.isReady", { attributes })
      )
    ),
    resource: Effect.sync(() => latest),
    changes: Stream.suspend(() =>
      states(watch, identity, latest.metadata.resourceVersion).pipe(
        Stream.tap((resource) => Effect.sync(() => remember(resource))),
        Stream.changesWith((a, b) => a.metadata.resourceVersion === b.metadata.resourceVersion),
        Stream.catchTag("ComputeDeleted", () => Stream.empty)
      )
    ),
    sendTensors: (tensors, options) => Effect.flatMap(connection.get, (open) => open.sendTensors(tensors, options)),
    receiveTensors: (request) => Stream.unwrap(Effect.map(connection.get, (open) => open.receiveTensors(request))),
    receiveTensorMessages: (request) =>
      Stream.unwrap(Effect.map(connection.get, (open) => open.receiveTensorMessages(request))),
    streamTensors: (tensors, options) =>
      Stream.unwrap(Effect.map(connection.get, (open) => open.streamTensors(tensors, options))),
    streamTensorMessages: (tensors, options) =>
      Stream.unwrap(Effect.map(connection.get, (open) => open.streamTensorMessages(tensors, options))),
    receiveTensorsScoped: (request) =>
      Stream.unwrap(Effect.map(connection.get, (open) => open.receiveTensorsScoped(request))),
    streamTensorsScoped: (tensors, options) =>
      Stream.unwrap(Effect.map(connection.get, (open) => open.streamTensorsScoped(tensors, options))),
    suspend: (options) =>
      Effect.gen(function* (): Effect.fn.Return<void, WaitError> {
        const timeout = yield* checkTimeout(options, timeouts.suspend)
        const applied = yield* applySuspend(true)
        yield* connection.close("it is suspended; resume() it first")
        doubted = undefined
        if (options?.acknowledge === false) return
        yield* report(applied)
        yield* waitFor(
          "suspended",
          timeout,
          (resource) => (isSuspended(resource) ? "there" : "waiting"),
          Effect.void,
          Effect.sync(() => describe(latest))
        )
      }).pipe(Effect.withSpan("Compute.suspend", { attributes })),
    resume: (options) =>
      Effect.gen(function* (): Effect.fn.Return<void, ReadyError> {
        const timeout = yield* checkTimeout(options, timeouts.ready)
        const applied = yield* applySuspend(false)
        doubted = statusMayBeStale(applied) ? applied : undefined
        yield* waitUntilServing("resumed", timeout)
      }).pipe(Effect.withSpan("Compute.resume", { attributes })),
    delete: (options) =>
      Effect.gen(function* (): Effect.fn.Return<void, WaitError> {
        const { gracePeriod } = yield* Effect.fromResult(checkOptions({ gracePeriod: options?.gracePeriod }, identity))
        yield* connection.close("it is deleted")
        yield* deleteCompute(api, watch, identity, {
          gracePeriod: gracePeriod === undefined ? defaultGracePeriod : Duration.fromInputUnsafe(gracePeriod),
          timeout: timeouts.deletion
        })
      }).pipe(Effect.withSpan("Compute.delete", { attributes }))
  }

  return handle
})

/** What a deletion gives the Pod to end, when the caller does not say. */
export const defaultGracePeriod = Duration.seconds(30)
