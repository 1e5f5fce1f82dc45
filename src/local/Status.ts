/**
 * The API server's refusals, as the `Status` objects that it answers, in its own words. Handlers throw them.
 */
import { comparePaths, showPath } from "./FieldSet.ts"

export interface Cause {
  readonly reason: string
  readonly message: string
  readonly field: string
}

interface Details {
  readonly name?: string | undefined
  readonly group?: string | undefined
  readonly kind?: string | undefined
  readonly uid?: string | undefined
  readonly causes?: ReadonlyArray<Cause> | undefined
  readonly retryAfterSeconds?: number | undefined
}

/** A `Status` in the order in which the real server writes its members. */
export interface Status {
  readonly kind: "Status"
  readonly apiVersion: "v1"
  readonly metadata: {}
  readonly status: "Success" | "Failure"
  readonly message?: string | undefined
  readonly reason?: string | undefined
  readonly details?: Details | undefined
  readonly code?: number | undefined
}

/** A refusal on its way to the client. */
export class ApiFailure extends Error {
  readonly code: number
  readonly body: Status
  /** For the client's `Warning` headers: what was amiss beside the reason of the refusal. */
  warnings: ReadonlyArray<string> = []
  constructor(code: number, reason: string | undefined, message: string, details?: Details) {
    super(message)
    this.code = code
    this.body = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, details, code }
  }
}

/** What a refusal is about. */
export interface Subject {
  readonly group: string
  readonly kind: string
  readonly plural: string
}

const qualified = (name: string, group: string) => (group === "" ? name : `${name}.${group}`)
const about = (subject: Subject, kind: string, name: string): Details => ({
  name: name === "" ? undefined : name,
  group: subject.group === "" ? undefined : subject.group,
  kind: kind === "" ? undefined : kind
})

export const success = (subject: Subject, name: string, uid: string): Status => ({
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  details: { ...about(subject, subject.plural, name), uid }
})

export const badRequest = (message: string) => new ApiFailure(400, "BadRequest", message)
export const unauthorized = () => new ApiFailure(401, "Unauthorized", "Unauthorized")
export const internal = (message: string) => new ApiFailure(500, undefined, message)

export const forbidden = (subject: Subject, name: string, what: string) =>
  new ApiFailure(
    403,
    "Forbidden",
    `${qualified(subject.plural, subject.group)}${name === "" ? "" : ` ${JSON.stringify(name)}`} is forbidden: ${what}`,
    about(subject, subject.plural, name)
  )

export const notFound = (subject: Subject, name: string) =>
  new ApiFailure(
    404,
    "NotFound",
    `${qualified(subject.plural, subject.group)} ${JSON.stringify(name)} not found`,
    about(subject, subject.plural, name)
  )

export const alreadyExists = (subject: Subject, name: string) =>
  new ApiFailure(
    409,
    "AlreadyExists",
    `${qualified(subject.plural, subject.group)} ${JSON.stringify(name)} already exists`,
    about(subject, subject.plural, name)
  )

/** Written on top of another's change. `kind` is the plural for writes, the kind for deletions, as the real server has it. */
export const cannotFulfil = (subject: Subject, kind: string, name: string, why: string) =>
  new ApiFailure(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(kind, subject.group)} ${JSON.stringify(name)}: ${why}`,
    about(subject, kind, name)
  )

export const modified = (subject: Subject, name: string) =>
  cannotFulfil(
    subject,
    subject.plural,
    name,
    "the object has been modified; please apply your changes to the latest version and try again"
  )

export const invalid = (subject: Subject, name: string, causes: ReadonlyArray<Cause>) => {
  const told = [...new Set(causes.map(({ field, message }) => `${field}: ${message}`))]
  const list = told.length === 1 ? told[0] : `[${told.join(", ")}]`
  return new ApiFailure(
    422,
    "Invalid",
    `${qualified(subject.kind, subject.group)} ${JSON.stringify(name)} is invalid: ${list}`,
    { ...about(subject, subject.kind, name), causes }
  )
}

export const expired = (message: string) => new ApiFailure(410, "Expired", message)

export const tooLargeResourceVersion = (asked: number, current: number) =>
  new ApiFailure(504, "Timeout", `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [
      { reason: "ResourceVersionTooLarge", message: "Too large resource version" } as Cause // no field: not written
    ],
    retryAfterSeconds: 1
  })

export const unsupportedMediaType = (accepted: ReadonlyArray<string>) =>
  new ApiFailure(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`
  )

export const methodNotAllowed = () =>
  new ApiFailure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

/** A field that an apply would take from another manager. */
export interface FieldConflict {
  readonly manager: string
  readonly operation: "Apply" | "Update"
  readonly apiVersion: string
  readonly subresource: string | undefined
  readonly path: string
}

const describeManager = ({ apiVersion, manager, operation, subresource }: FieldConflict): string =>
  JSON.stringify(manager) +
  (subresource === undefined ? "" : ` with subresource ${JSON.stringify(subresource)}`) +
  (operation === "Update" ? ` using ${apiVersion}` : "")

export const conflict = (conflicts: ReadonlyArray<FieldConflict>) => {
  const told = [...conflicts].map((one) => ({ ...one, who: describeManager(one), field: showPath(one.path) }))
  told.sort((a, b) => (a.who < b.who ? -1 : a.who > b.who ? 1 : comparePaths(a.path, b.path)))
  const managers = [...new Set(told.map(({ who }) => who))]
  const message =
    told.length === 1
      ? `conflict with ${told[0]!.who}: ${told[0]!.field}`
      : managers
          .map((who) => {
            const fields = told.filter((one) => one.who === who)
            return `conflicts with ${who}:\n${fields.map(({ field }) => `- ${field}`).join("\n")}`
          })
          .join("\n")
  return new ApiFailure(
    409,
    "Conflict",
    `Apply failed with ${told.length} conflict${told.length === 1 ? "" : "s"}: ${message}`,
    {
      causes: told.map(({ field, who }) => ({
        reason: "FieldManagerConflict",
        message: `conflict with ${who}`,
        field
      }))
    }
  )
}
