/**
 * What a Kubernetes API server answered, or why it could not.
 *
 * The error names the request (verb, resource) and carries one tagged `reason`; handle them all with
 * `Effect.catchTag("KubernetesError", …)`, or one with `Effect.catchReason("KubernetesError", "NotFound", …)`.
 */
import * as Schema from "effect/Schema"

/** What an error is about: a Compute, a Pod, a namespace's Computes as a whole. */
export const ResourceRef = Schema.Struct({
  kind: Schema.String,
  namespace: Schema.optional(Schema.String),
  name: Schema.optional(Schema.String)
})
export type ResourceRef = typeof ResourceRef.Type

/** `Compute team-a/my-compute`, as messages name it. */
export const formatResource = (ref: ResourceRef): string => {
  const name = [ref.namespace, ref.name].filter((part) => part !== undefined && part !== "").join("/")
  return name === "" ? ref.kind : `${ref.kind} ${name}`
}

/** One field that the API server found at fault, from `details.causes` of its Status. */
export const FieldCause = Schema.Struct({
  field: Schema.String,
  reason: Schema.String,
  message: Schema.String
})
export type FieldCause = typeof FieldCause.Type

const retryAfterSeconds = Schema.optional(Schema.Finite)

/** 401: the credentials are missing, wrong or expired. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", { message: Schema.String }) {
  readonly isRetryable = false
}

/** 403: the credentials are good and lack a permission; the server's words name verb and resource. */
export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", { message: Schema.String }) {
  readonly isRetryable = false
}

/** 404 for the object. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { message: Schema.String }) {
  readonly isRetryable = false
}

/** 404 for the whole API group: the Compute CRD is not installed in this cluster. */
export class CrdNotInstalled extends Schema.TaggedError<CrdNotInstalled>()("CrdNotInstalled", {
  message: Schema.String
}) {
  readonly isRetryable = false
}

/** 409: another field manager owns a field (`causes` name manager and field), or a precondition does not hold. */
export class Conflict extends Schema.TaggedError<Conflict>()("Conflict", {
  message: Schema.String,
  causes: Schema.Array(FieldCause)
}) {
  readonly isRetryable = false
}

/** 422 or 400: the API server's validation refused the object; `causes` name the fields. */
export class Invalid extends Schema.TaggedError<Invalid>()("Invalid", {
  message: Schema.String,
  causes: Schema.Array(FieldCause)
}) {
  readonly isRetryable = false
}

/** 429: too many requests; `retryAfterSeconds` is the server's `Retry-After`. */
export class Throttled extends Schema.TaggedError<Throttled>()("Throttled", {
  message: Schema.String,
  retryAfterSeconds
}) {
  readonly isRetryable = true
}

/** 500, 502, 503, 504: the server, or a proxy before it, cannot answer now. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  message: Schema.String,
  status: Schema.Int,
  retryAfterSeconds
}) {
  readonly isRetryable = true
}

/** Any other refusal (4xx). */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  message: Schema.String,
  status: Schema.Int,
  statusReason: Schema.optional(Schema.String)
}) {
  readonly isRetryable = false
}

/** An answer that is not the Kubernetes API's, such as a proxy's HTML page: its status and first bytes. */
export class BadResponse extends Schema.TaggedError<BadResponse>()("BadResponse", {
  message: Schema.String,
  status: Schema.Int,
  firstBytes: Schema.String
}) {
  get isRetryable(): boolean {
    return this.status >= 500
  }
}

/** No answer: refused, reset, unresolved, TLS failure, timeout. `code` is Node's or TLS's, such as `ECONNREFUSED`. */
export class Transport extends Schema.TaggedError<Transport>()("Transport", {
  message: Schema.String,
  code: Schema.optional(Schema.String),
  isRetryable: Schema.Boolean
}) {}

const Reason = Schema.Union([
  Unauthorized,
  Forbidden,
  NotFound,
  CrdNotInstalled,
  Conflict,
  Invalid,
  Throttled,
  Unavailable,
  Rejected,
  BadResponse,
  Transport
])
/** Why a Kubernetes request failed. */
export type KubernetesErrorReason = typeof Reason.Type

/**
 * A failed request to the Kubernetes API.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute } from "effect-kpu"
 *
 * const program = Compute.attach("nobody").pipe(
 *   Effect.asVoid,
 *   Effect.catchReason("KubernetesError", "NotFound", () => Effect.logInfo("there is no such Compute")),
 *   Effect.scoped
 * )
 * ```
 */
export class KubernetesError extends Schema.TaggedError<KubernetesError>()("KubernetesError", {
  /** The API verb: `get`, `list`, `watch`, `apply`, `patch`, `delete`. */
  verb: Schema.String,
  resource: ResourceRef,
  reason: Reason
}) {
  override get message(): string {
    return `${this.verb} ${formatResource(this.resource)}: ${this.reason.message}`
  }
  /** Whether the same request may succeed later. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
}
