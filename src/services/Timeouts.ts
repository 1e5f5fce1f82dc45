/** How long things may take. A reference: every value has a default, `Kpu.layerWith({ timeouts })` changes some. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"

export interface TimeoutOptions {
  /** One Kubernetes request, the watch excepted; 30 s. */
  readonly request?: Duration.Input | undefined
  /** `ready` and `resume`, when the call does not say; 300 s. */
  readonly ready?: Duration.Input | undefined
  /** Until the operator acknowledges a suspend; 60 s. */
  readonly suspend?: Duration.Input | undefined
  /** A deletion, its retries included; 30 s. */
  readonly deletion?: Duration.Input | undefined
  /** How long a Pod may be in trouble that can heal (ImagePullBackOff, Unschedulable, …); 60 s. */
  readonly podGrace?: Duration.Input | undefined
  /**
   * How long a `Ready=True` that may speak of an older spec is doubted before it is believed: the operator writes
   * nothing where a change of spec changed nothing for it; 3 s.
   */
  readonly settle?: Duration.Input | undefined
}

export type TimeoutValues = { readonly [K in keyof Required<TimeoutOptions>]: Duration.Duration }

export const defaultTimeouts: TimeoutValues = {
  request: Duration.seconds(30),
  ready: Duration.seconds(300),
  suspend: Duration.seconds(60),
  deletion: Duration.seconds(30),
  podGrace: Duration.seconds(60),
  settle: Duration.seconds(3)
}

export const Timeouts = Context.Reference<TimeoutValues>("effect-kpu/Timeouts", {
  defaultValue: () => defaultTimeouts
})
