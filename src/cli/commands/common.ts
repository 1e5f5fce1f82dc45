/** What several commands do. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Compute from "../../Compute.ts"
import { group, kind, plural } from "../../schema/ComputeResource.ts"
import { NotReady } from "../../schema/KpuError.ts"
import { KubernetesError, NotFound } from "../../schema/KubernetesError.ts"
import { isReady } from "../../schema/Readiness.ts"
import { ComputeApi } from "../../services/ComputeApi.ts"
import type { Handle, ReadyOptions } from "../../services/ComputeHandle.ts"
import { Namespace } from "../../services/Namespace.ts"
import { dialOptions, withClient } from "../client.ts"
import { globals } from "../globals.ts"
import { type ActionResult, outputVersion } from "../output/json.ts"
import { report } from "../output/report.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { didYouMean } from "../suggestions.ts"

/** A Compute's name as kubectl's `-o name` writes it. */
export const resourceName = (name: string): string => `${plural.slice(0, -1)}.${group}/${name}`

/** How long a name that is near a mistyped one is looked for. */
const suggestionTime = "2 seconds"

/** The names of a namespace's Computes; none where they cannot be listed. */
const namesIn = (namespace: string) =>
  Effect.flatMap(ComputeApi, (api) => api.list({ namespace })).pipe(
    Effect.timeout(suggestionTime),
    Effect.map(({ items }) => items.map(({ metadata }) => metadata.name)),
    Effect.catch(() => Effect.succeed([])),
    Effect.provideService(References.MinimumLogLevel, "None")
  )

/** Where a Compute is not there: the name of the namespace's Computes that may have been meant is part of the error. */
export const suggesting = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | KubernetesError, R | ComputeApi> =>
  Effect.catch(effect, (error: E): Effect.Effect<never, E | KubernetesError, ComputeApi> => {
    if (!(error instanceof KubernetesError) || error.reason._tag !== "NotFound") return Effect.fail(error)
    const { reason, resource, verb } = error
    const { name = "", namespace = "" } = resource
    return Effect.flatMap(namesIn(namespace), (names) =>
      Effect.fail(
        new KubernetesError({
          verb,
          resource,
          reason: new NotFound({ message: `${reason.message}${didYouMean(name, names)}` })
        })
      )
    )
  })

/** The handle of a Compute that exists, dialled as the flags say. */
export const attach = (name: string) =>
  Effect.flatMap(globals, (flags) => suggesting(Compute.attach(stripKind(name), dialOptions(flags))))

/** `compute/x`, `computes/x` and `compute.compute.kpu.dev/x`, as `-o name` gives them, are `x`. */
export const stripKind = (name: string): string => name.replace(/^computes?(\.compute\.kpu\.dev)?\//, "")

/** Waits until it serves, and connects. */
export const ready = (compute: Handle, options?: ReadyOptions) =>
  Effect.gen(function* () {
    const waiting = compute.ready(options).pipe(whileWaiting(`waiting for compute/${compute.name} to be ready`))
    const resource = yield* compute.resource
    if (resource.spec?.suspend === true) {
      yield* Effect.logWarning(`compute/${compute.name} is suspended; start it with: kpu resume ${compute.name}`)
    }
    // That what is ready is ready is no news.
    return yield* isReady(resource) ? Effect.provideService(waiting, References.MinimumLogLevel, "Warn") : waiting
  })

/** `ready`, for a command that has tensors to move now: a suspended Compute is not waited for. */
export const serving = (compute: Handle, options?: ReadyOptions) =>
  Effect.gen(function* () {
    const { spec } = yield* compute.resource
    if (spec?.suspend === true) {
      const resource = { kind, namespace: compute.namespace, name: compute.name }
      return yield* new NotReady({ resource, problem: "it is suspended" })
    }
    yield* ready(compute, options)
  })

/** Whether an error says that there is no such Compute. */
export const isAbsent = (error: { readonly _tag: string; readonly reason?: unknown }): boolean =>
  error._tag === "KubernetesError" && (error.reason as { readonly _tag?: string } | undefined)?._tag === "NotFound"

/** What there is to say of a Compute that was gone before it was looked at. */
export const absent = (name: string) =>
  Effect.map(Namespace, (namespace) => actionResult("deleted", { namespace: namespace.name, name: stripKind(name) }))

export const actionResult = (
  action: ActionResult["action"],
  compute: { readonly namespace: string; readonly name: string; readonly uid?: string | undefined }
): ActionResult => ({
  apiVersion: outputVersion,
  kind: "ActionResult",
  action,
  compute: { namespace: compute.namespace, name: compute.name, uid: compute.uid }
})

/** Reports what was done to Computes: one document for one of them, a list for several. */
export const reportActions = (results: ReadonlyArray<ActionResult>) =>
  report({
    text: results.map(({ action, compute }) => `compute/${compute.name} ${action}`).join("\n"),
    names: results.map(({ compute }) => resourceName(compute.name)).join("\n"),
    data: results.length === 1 ? results[0] : { apiVersion: outputVersion, kind: "ActionResultList", items: results }
  })

/** Looks at each name once, and gives what was found and what failed: all of it, not the first. */
export const forEachDistinct = <A, E, R>(
  names: ReadonlyArray<string>,
  body: (name: string) => Effect.Effect<A, E, R>
): Effect.Effect<{ readonly done: ReadonlyArray<A>; readonly failed: Effect.Effect<void, E> }, never, R> =>
  Effect.map(
    Effect.forEach(new Set(names.map(stripKind)), (name) => Effect.exit(body(name)), { concurrency: 8 }),
    (exits) => {
      const reasons = exits.flatMap((exit) => (exit._tag === "Failure" ? exit.cause.reasons : []))
      return {
        done: exits.flatMap((exit) => (exit._tag === "Success" ? [exit.value] : [])),
        failed: reasons.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(reasons))
      }
    }
  )

/**
 * Does the same to several Computes, at most so many at once, each in a scope of its own; reports those that it was done
 * to even where others fail, whose errors are the command's.
 */
export const forEachName = <E, R>(
  names: ReadonlyArray<string>,
  body: (name: string) => Effect.Effect<ActionResult, E, R>
) =>
  Effect.flatMap(
    forEachDistinct(names, (name) => Effect.scoped(body(name))),
    ({ done, failed }) => Effect.andThen(done.length > 0 ? reportActions(done) : Effect.void, failed)
  )

/** Changes several Computes the same way, waits until each is so, and reports it. */
export const changeEach = <E, R>(
  names: ReadonlyArray<string>,
  options: {
    readonly action: ActionResult["action"]
    /** What is shown meanwhile. */
    readonly label: (name: string) => string
    readonly change: (compute: Handle) => Effect.Effect<void, E, R>
    /** Counts a Compute that is not there as done. */
    readonly ignoreAbsent?: boolean | undefined
  }
) =>
  forEachName(names, (name) =>
    Effect.gen(function* () {
      const compute = yield* attach(name)
      const { uid } = (yield* compute.resource).metadata
      yield* whileWaiting(options.label(`compute/${compute.name}`))(options.change(compute))
      return actionResult(options.action, { ...compute, uid })
    }).pipe(
      Effect.catchIf(
        (error) => options.ignoreAbsent === true && isAbsent(error as Parameters<typeof isAbsent>[0]),
        () => absent(name)
      )
    )
  ).pipe(withClient)
