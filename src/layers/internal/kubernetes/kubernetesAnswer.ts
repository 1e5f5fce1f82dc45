/**
 * From what an API server answered, or failed to, to a `KubernetesError`: the one place where they are made. Each message
 * carries the server's own words and what a person can do.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { apiVersion, kind, plural } from "../../../schema/ComputeResource.ts"
import {
  BadResponse,
  Conflict,
  CrdNotInstalled,
  type FieldCause,
  Forbidden,
  Invalid,
  KubernetesError,
  type KubernetesErrorReason,
  NotFound,
  Rejected,
  type ResourceRef,
  Throttled,
  Transport,
  Unauthorized,
  Unavailable
} from "../../../schema/KubernetesError.ts"
import type { KubeConfig } from "../../../services/KubeConfig.ts"
import type { HttpAnswer } from "./httpExchange.ts"

/** What the error is about and whom was asked. */
export interface Asked {
  readonly verb: string
  readonly resource: ResourceRef
  readonly config: Pick<KubeConfig["Service"], "server" | "source" | "proxy">
}

/** `metav1.Status`, as far as errors need it. */
const Status = Schema.Struct({
  kind: Schema.Literal("Status"),
  message: Schema.optional(Schema.String),
  reason: Schema.optional(Schema.String),
  code: Schema.optional(Schema.Number),
  details: Schema.optional(
    Schema.Struct({
      name: Schema.optional(Schema.String),
      kind: Schema.optional(Schema.String),
      retryAfterSeconds: Schema.optional(Schema.Number),
      causes: Schema.optional(
        Schema.Array(
          Schema.Struct({
            field: Schema.optional(Schema.String),
            reason: Schema.optional(Schema.String),
            message: Schema.optional(Schema.String)
          })
        )
      )
    })
  )
})
type Status = typeof Status.Type

const decodeStatus = Schema.decodeUnknownResult(Status)

const shownOfBody = 200

const firstBytes = (text: string): string => text.slice(0, shownOfBody).replace(/\s+/g, " ").trim()

const causesOf = (status: Status): ReadonlyArray<FieldCause> =>
  (status.details?.causes ?? []).map(({ field, message, reason }) => ({
    field: field ?? "",
    reason: reason ?? "",
    message: message ?? ""
  }))

// the server's message of a long validation failure already lists its causes; of a conflict it does not always
const withCauses = (message: string, causes: ReadonlyArray<FieldCause>): string => {
  const missing = causes.filter((cause) => !message.includes(cause.message) || !message.includes(cause.field))
  return [message, ...missing.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`))].join("; ")
}

const make = (asked: Asked, reason: KubernetesErrorReason): KubernetesError =>
  new KubernetesError({ verb: asked.verb, resource: asked.resource, reason })

/** An answer that is not the API's. */
export const badResponse = (asked: Asked, status: number, text: string, what: string): KubernetesError =>
  make(
    asked,
    new BadResponse({
      message: `${asked.config.server} answered ${status} with ${what} (${JSON.stringify(firstBytes(text))}): is that the API server of ${asked.config.source}, and is there a proxy or login page before it?`,
      status,
      firstBytes: firstBytes(text)
    })
  )

const crdNotInstalled = (): KubernetesErrorReason =>
  new CrdNotInstalled({
    message: `this cluster does not know the resource ${plural} of ${apiVersion}: install the KPU operator with its CustomResourceDefinition (see it with: kubectl get crd ${plural}.${apiVersion.split("/")[0]})`
  })

/** `Retry-After` is seconds, or a date (RFC 9110, 10.2.3); proxies send dates. By the sender's clock where it tells it. */
const retryAfterOf = (status: Status | undefined, answer: HttpAnswer | undefined): number | undefined => {
  const header = answer?.retryAfter
  if (header !== undefined && /^\d+$/.test(header)) return Number(header)
  if (header !== undefined) {
    const sent = Date.parse(answer?.date ?? "")
    const seconds = Math.ceil((Date.parse(header) - (Number.isNaN(sent) ? Date.now() : sent)) / 1000)
    if (!Number.isNaN(seconds)) return Math.max(0, seconds)
  }
  const value = status?.details?.retryAfterSeconds
  return value !== undefined && Number.isFinite(value) && value >= 0 ? value : undefined
}

/**
 * The API server answers 500 to a server-side apply that does not fit the schema, and names the field in its message:
 * "failed to create typed patch object (…): .spec.image: expected string, got …".
 */
const schemaViolation = /^failed to create typed patch object \(.*?\): (\.[^\s:]+): (.*)$/s

const reasonOf = (
  asked: Asked,
  code: number,
  status: Status,
  answer: HttpAnswer | undefined
): KubernetesErrorReason => {
  const message = status.message ?? status.reason ?? `status ${code}`
  const retryAfterSeconds = retryAfterOf(status, answer)
  const [, field, problem] = (code === 500 && schemaViolation.exec(message)) || []
  if (field !== undefined && problem !== undefined) {
    const cause = { field: field.slice(1), reason: "FieldValueTypeInvalid", message: problem }
    return new Invalid({ message, causes: [cause] })
  }
  switch (code) {
    case 401:
      return new Unauthorized({
        message: `${asked.config.server} refused the credentials of ${asked.config.source}: they are missing, wrong or expired; log in again or renew them (${message})`
      })
    case 403:
      return new Forbidden({
        message: `${message}; ask for a Role that allows this, docs/kubernetes.md shows it`
      })
    case 404:
      // without a name it is the resource type that is unknown, not the object
      return asked.resource.kind === kind && status.details?.name === undefined
        ? crdNotInstalled()
        : new NotFound({ message })
    case 409: {
      const causes = causesOf(status)
      const managed = causes.some(({ reason }) => reason === "FieldManagerConflict")
      return new Conflict({
        message: withCauses(message, causes) + (managed ? "; apply with force to take these fields over" : ""),
        causes
      })
    }
    case 400:
    case 422: {
      const causes = causesOf(status)
      return new Invalid({ message: withCauses(message, causes), causes })
    }
    case 429:
      return new Throttled({
        message: `the API server is asked too much${retryAfterSeconds === undefined ? "" : `, again after ${retryAfterSeconds} s`} (${message})`,
        retryAfterSeconds
      })
    default:
      return code >= 500
        ? new Unavailable({
            message: `the API server cannot answer now: ${code} ${message}`,
            status: code,
            retryAfterSeconds
          })
        : new Rejected({ message: `${code} ${message}`, status: code, statusReason: status.reason })
  }
}

/** A Status object that came where something else was expected: in an `ERROR` event of a watch. */
export const fromStatus = (asked: Asked, value: unknown): KubernetesError => {
  const status = decodeStatus(value)
  if (Result.isFailure(status)) return badResponse(asked, 200, JSON.stringify(value), "an error that is no Status")
  return make(asked, reasonOf(asked, status.success.code ?? 500, status.success, undefined))
}

const parseStatus = (text: string): Status | undefined => {
  try {
    const decoded = decodeStatus(JSON.parse(text))
    return Result.isSuccess(decoded) ? decoded.success : undefined
  } catch {
    return undefined
  }
}

/** An answer whose status is no success. */
export const fromAnswer = (asked: Asked, answer: HttpAnswer): KubernetesError => {
  const { contentType, status: code, text } = answer
  const status = parseStatus(text)
  if (status !== undefined) return make(asked, reasonOf(asked, code, status, answer))
  if (contentType.includes("html")) return badResponse(asked, code, text, "an HTML page")
  // the API server's own filters answer some statuses in plain text, before a Status can be made
  const plain = (): Status => ({ kind: "Status", message: firstBytes(text) || `status ${code}` })
  if (code === 404) {
    return asked.resource.kind === kind && text.startsWith("404 page not found")
      ? make(asked, crdNotInstalled())
      : badResponse(asked, code, text, "no Status object")
  }
  return code === 401 || code === 403 || code === 429 || code >= 500
    ? make(asked, reasonOf(asked, code, plain(), answer))
    : badResponse(asked, code, text, "no Status object")
}

const codeOf = (cause: unknown, depth = 0): string | undefined => {
  if (typeof cause !== "object" || cause === null || depth > 5) return undefined
  const { cause: inner, code, errors } = cause as { code?: unknown; cause?: unknown; errors?: ReadonlyArray<unknown> }
  const nested = codeOf(inner, depth + 1) ?? (Array.isArray(errors) ? codeOf(errors[0], depth + 1) : undefined)
  // undici wraps what the socket says in an error of its own
  return nested ?? (typeof code === "string" ? code : undefined)
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const untrusted = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE"
])

/** No answer: why, in words, and whether asking again may help. */
export const fromTransport = (asked: Asked, cause: unknown): KubernetesError => {
  const { proxy, server, source } = asked.config
  const code = codeOf(cause)
  const text = messageOf(cause)
  const route = proxy === undefined ? server : `${server} through a proxy`
  const fail = (message: string, isRetryable: boolean) =>
    make(asked, new Transport({ message: code === undefined ? message : `${message} (${code})`, code, isRetryable }))
  if (code === "ECONNREFUSED") {
    return fail(
      `nothing accepts connections at ${route}: is the cluster running, and is it the one of ${source}?`,
      true
    )
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return fail(`the host of ${route} cannot be resolved: is the server in ${source} right?`, code === "EAI_AGAIN")
  }
  if (code !== undefined && untrusted.has(code)) {
    return fail(
      `the certificate of ${server} is not signed by an authority that ${source} trusts: give its CA (certificate-authority-data, caData)`,
      false
    )
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return fail(
      `the certificate of ${server} is for another host: correct the server's name, or say which name to expect (tls-server-name, tlsServerName)`,
      false
    )
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return fail(`the certificate of ${server} is not valid today: renew it, or correct the clock`, false)
  }
  if (code?.startsWith("ERR_SSL_") || code?.startsWith("ERR_TLS_") || code === "EPROTO") {
    const alert = code.includes("ALERT") || /alert/i.test(text)
    return fail(
      alert
        ? `${server} refused the TLS handshake: is the client certificate of ${source} valid there?`
        : `no TLS connection to ${route}: does it speak https?`,
      false
    )
  }
  if (/^Proxy response|proxy/i.test(text) && proxy !== undefined) {
    return fail(`the proxy did not connect to ${server}: ${text}`, false)
  }
  if (code === "UND_ERR_CONNECT_TIMEOUT" || code === "ETIMEDOUT" || code === "EHOSTUNREACH" || code === "ENETUNREACH") {
    return fail(`${route} cannot be reached: is there a route or VPN to the cluster of ${source}?`, true)
  }
  return fail(`the connection to ${route} broke: ${text}`, true)
}

/** No answer in the time allowed. */
export const timedOut = (asked: Asked, seconds: number): KubernetesError =>
  make(
    asked,
    new Transport({
      message: `${asked.config.server} gave no answer within ${seconds} s`,
      code: "ETIMEDOUT",
      isRetryable: true
    })
  )
