/** A condition of a Compute's status, as Kubernetes' `metav1.Condition` has it. */
import * as Schema from "effect/Schema"

export const ConditionStatus = Schema.Literals(["True", "False", "Unknown"])
export type ConditionStatus = typeof ConditionStatus.Type

/**
 * A condition of a Compute.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   const { status } = yield* compute.resource
 *   const ready = status?.conditions?.find((condition) => condition.type === "Ready")
 *   yield* Effect.log(ready?.message)
 * }).pipe(Effect.scoped)
 * ```
 */
export const Condition = Schema.Struct({
  type: Schema.String,
  status: ConditionStatus,
  reason: Schema.String,
  message: Schema.String,
  lastTransitionTime: Schema.String,
  /** The generation that the condition speaks of. The operator usually leaves it out. */
  observedGeneration: Schema.optional(Schema.Int)
})
/** A condition of a Compute. */
export type Condition = typeof Condition.Type

/** `Ready=False StatefulSetNotReady: StatefulSet has 0/1 ready replicas`, as messages and logs show it. */
export const formatCondition = (condition: Condition): string =>
  `${condition.type}=${condition.status} ${condition.reason}${condition.message === "" ? "" : `: ${condition.message}`}`
