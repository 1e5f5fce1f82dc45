/**
 * The errors of this package: one closed, typed family. Each says what it is about, what was found and what to do next,
 * and whether the same call may succeed later (`isRetryable`). None carries a token, a key or a tensor's bytes.
 */
import * as Schema from "effect/Schema"
import { Condition } from "./Condition.ts"
import { formatResource, KubernetesError, ResourceRef } from "./KubernetesError.ts"
import { SendReceipt } from "./SendReceipt.ts"

const resource = Schema.optional(ResourceRef)

/**
 * An option breaks a rule, and nothing was sent; or one of the tensors to send does, and the call ended there.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Compute.scoped({ name: "Not A Name" }).pipe(
 *   Effect.catchTag("InvalidInput", ({ field, problem }) => Effect.logError(`${field}: ${problem}`)),
 *   Effect.scoped
 * )
 * ```
 */
export class InvalidInput extends Schema.TaggedError<InvalidInput>()("InvalidInput", {
  /** The option at fault, as the caller wrote it: `name`, `port`, `env.A=B`. */
  field: Schema.String,
  /** What is wrong with the value, and what would be right. */
  problem: Schema.String,
  resource
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${this.field}: ${this.problem}`
  }
}

/**
 * One place where cluster access was looked for, and why it did not serve.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute, Kpu } from "effect-kpu"
 *
 * const program = Compute.attach("my-compute").pipe(
 *   Effect.scoped,
 *   Effect.provide(Kpu.layer),
 *   Effect.catchTag("KubeConfigError", ({ tried }) =>
 *     Effect.forEach(tried, ({ problem, source }) => Effect.logError(`${source}: ${problem}`))
 *   )
 * )
 * ```
 */
export const KubeConfigAttempt = Schema.Struct({ source: Schema.String, problem: Schema.String })
export type KubeConfigAttempt = typeof KubeConfigAttempt.Type

/**
 * No way to a cluster, or a broken one.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute, Kpu } from "effect-kpu"
 *
 * const program = Compute.attach("my-compute").pipe(
 *   Effect.scoped,
 *   Effect.provide(Kpu.layer),
 *   Effect.catchTag("KubeConfigError", (error) => Effect.logError(error.message))
 * )
 * ```
 */
export class KubeConfigError extends Schema.TaggedError<KubeConfigError>()("KubeConfigError", {
  /** What is wrong and what to do. */
  problem: Schema.String,
  tried: Schema.Array(KubeConfigAttempt)
}) {
  readonly isRetryable = false
  override get message(): string {
    return [this.problem, ...this.tried.map(({ problem, source }) => `  - ${source}: ${problem}`)].join("\n")
  }
}

/**
 * The Compute was not ready in the time allowed.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Compute.scoped({ name: "my-compute", timeout: "1 minute" }).pipe(
 *   Effect.catchTag("ReadyTimeout", ({ conditions, problem }) => Effect.logError(problem, conditions)),
 *   Effect.scoped
 * )
 * ```
 */
export class ReadyTimeout extends Schema.TaggedError<ReadyTimeout>()("ReadyTimeout", {
  resource: ResourceRef,
  timeoutMillis: Schema.Finite,
  /** What was waited for: `ready`, `suspended`, `resumed`, `connected`. */
  waitedFor: Schema.String,
  /** The last conditions seen. */
  conditions: Schema.Array(Condition),
  /** What the conditions say, and what to do. */
  problem: Schema.String
}) {
  readonly isRetryable = true
  override get message(): string {
    return `${formatResource(this.resource)} was not ${this.waitedFor} within ${this.timeoutMillis / 1000} s: ${this.problem}`
  }
}

/**
 * The Compute was deleted, or replaced by another of the same name, while something waited for it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.apply({ name: "my-compute" })
 *   yield* compute.ready().pipe(
 *     Effect.catchTag("ComputeDeleted", ({ resource }) => Effect.logError(`${resource.name} is gone`))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 */
export class ComputeDeleted extends Schema.TaggedError<ComputeDeleted>()("ComputeDeleted", {
  resource: ResourceRef,
  problem: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${formatResource(this.resource)}: ${this.problem}`
  }
}

/**
 * The Compute's Pod cannot start, and waiting will not mend it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Compute.scoped({ name: "my-compute", image: "no-such-image" }).pipe(
 *   Effect.catchTag("ComputeFailed", ({ pod, reason }) => Effect.logError(`kubectl describe pod ${pod} (${reason})`)),
 *   Effect.scoped
 * )
 * ```
 */
export class ComputeFailed extends Schema.TaggedError<ComputeFailed>()("ComputeFailed", {
  resource: ResourceRef,
  /** The Pod, or the StatefulSet whose Pod could not be made. */
  pod: Schema.String,
  /** Kubernetes' reason: `ErrImageNeverPull`, `CrashLoopBackOff`, `FailedMount`, … */
  reason: Schema.String,
  problem: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${formatResource(this.resource)} cannot start: ${this.pod}: ${this.reason}: ${this.problem}`
  }
}

/**
 * A tensor call before `ready`, or after `suspend` or `delete`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute, Tensor } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.apply({ name: "my-compute" })
 *   yield* compute.sendTensors([Tensor.zeros([2, 2])]).pipe(
 *     Effect.catchTag("NotReady", ({ problem }) => Effect.logWarning(problem))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 */
export class NotReady extends Schema.TaggedError<NotReady>()("NotReady", {
  resource: ResourceRef,
  problem: Schema.String
}) {
  readonly isRetryable = true
  override get message(): string {
    return `${formatResource(this.resource)} is not ready: ${this.problem}`
  }
}

/**
 * The server answered `success=false`. The receipt says which tensors it has.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute, Tensor } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   yield* compute.sendTensors([Tensor.zeros([2, 2])]).pipe(
 *     Effect.catchTag("SendRejected", ({ receipt }) => Effect.logWarning(receipt.message, receipt.receivedTensorIds))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 */
export class SendRejected extends Schema.TaggedError<SendRejected>()("SendRejected", {
  resource,
  receipt: SendReceipt
}) {
  readonly isRetryable = false
  override get message(): string {
    const { message, receivedTensorIds } = this.receipt
    return `the server refused the tensors (it kept ${receivedTensorIds.length}): ${message}`
  }
}

/**
 * Bytes that are not a tensor that this package reads.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Tensor } from "effect-kpu"
 *
 * const program = Tensor.fromTorch(new TextEncoder().encode("not a tensor")).pipe(
 *   Effect.catchTag("TensorDecodeError", ({ problem, where }) => Effect.logError(`${where}: ${problem}`))
 * )
 * ```
 */
export class TensorDecodeError extends Schema.TaggedError<TensorDecodeError>()("TensorDecodeError", {
  /** Where: `zip central directory`, `data.pkl at byte 17`, `record archive/data/0`, `chunk 3 of tensor 1f…`. */
  where: Schema.String,
  problem: Schema.String,
  resource
}) {
  readonly isRetryable = false
  override get message(): string {
    return `not a tensor that can be read: ${this.where}: ${this.problem}`
  }
}

/**
 * A limit on size, count or time of a stream was passed.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   yield* compute.receiveTensors({ maxTensorBytes: 2 ** 20 }).pipe(
 *     Stream.runDrain,
 *     Effect.catchTag("TensorLimitError", ({ limit, problem }) => Effect.logError(`${limit}: ${problem}`))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 */
export class TensorLimitError extends Schema.TaggedError<TensorLimitError>()("TensorLimitError", {
  /** The limit: an option (`maxTensorBytes`, `maxOpenTensors`) or one that is fixed (`maxOpenBytes`, `maxEarlyChunks`, …). */
  limit: Schema.String,
  problem: Schema.String,
  resource
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${this.limit}: ${this.problem}`
  }
}

/**
 * The gRPC status names, by code.
 *
 * @example
 * ```ts
 * import { grpcCodes } from "effect-kpu"
 *
 * grpcCodes[14] // "UNAVAILABLE"
 * ```
 */
export const grpcCodes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED"
] as const
/** The name of a gRPC status. */
export type GrpcCode = (typeof grpcCodes)[number]

/**
 * The call to the tensor server failed.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute, Tensor } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   yield* compute.sendTensors([Tensor.zeros([2, 2])], { deadline: "1 minute" }).pipe(
 *     Effect.catchTag("GrpcError", ({ address, code, details }) => Effect.logError(`${address}: ${code}: ${details}`))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 */
export class GrpcError extends Schema.TaggedError<GrpcError>()("GrpcError", {
  /** The gRPC status name. */
  code: Schema.Literals(grpcCodes),
  /** The server's words. */
  details: Schema.String,
  /** The call, such as `kpu.torch.Service/StreamTensors`, or `connect`. */
  method: Schema.String,
  /** The address that was dialled. */
  address: Schema.String,
  /** Node's code, where no connection could be made: `ECONNREFUSED`, `ENOTFOUND` (the name does not resolve), … */
  errno: Schema.optional(Schema.String),
  resource
}) {
  override get message(): string {
    return `${this.method} at ${this.address}: ${this.code}: ${this.details}`
  }
  get isRetryable(): boolean {
    return this.code === "UNAVAILABLE" || this.code === "RESOURCE_EXHAUSTED" || this.code === "ABORTED"
  }
}

/**
 * Every error of this package, as a schema.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { InvalidInput, KpuError } from "effect-kpu"
 *
 * const error = new InvalidInput({ field: "name", problem: "is empty" })
 * const json = Schema.encodeSync(KpuError)(error)
 * ```
 */
export const KpuError = Schema.Union([
  InvalidInput,
  KubeConfigError,
  KubernetesError,
  ReadyTimeout,
  ComputeDeleted,
  ComputeFailed,
  NotReady,
  SendRejected,
  TensorDecodeError,
  TensorLimitError,
  GrpcError
])
/** Every error of this package. */
export type KpuError = typeof KpuError.Type
