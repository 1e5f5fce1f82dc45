/**
 * What a user says of a Compute, and its check. Every rule is checked here, before any request, so that a typing error
 * costs no round trip and names the option at fault.
 *
 * The name's rule is the CRD's (RFC 1035 label); environment names, label keys and values follow Kubernetes' own
 * (`apimachinery/pkg/util/validation`), since the operator copies them to Pods, where a bad one would be refused late.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { type ComputeSpec, kind } from "./ComputeResource.ts"
import { InvalidInput } from "./KpuError.ts"

/** The port of a Compute's tensor service. */
export const defaultPort = 50051

/** Where a Compute is dialled, when not where its `Endpoint` says. */
export interface DialOptions {
  /** Overrides the host to dial; wins over every `Endpoint`. */
  readonly host?: string | undefined
  /** The port to dial; 50051 by default. */
  readonly port?: number | undefined
}

/** A Compute, as `Compute.apply` takes it. */
export interface ComputeOptions extends DialOptions {
  /** An RFC 1035 label: lower-case letters, digits and `-`, from a letter on, 63 characters at most. */
  readonly name: string
  /** The container image; the operator's default when absent. */
  readonly image?: string | undefined
  /** Overrides the image's entrypoint. */
  readonly command?: ReadonlyArray<string> | undefined
  /** Arguments of the entrypoint. */
  readonly args?: ReadonlyArray<string> | undefined
  /** Environment variables by name. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Labels of the objects that the operator creates. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Annotations of the objects that the operator creates. */
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** Creates it suspended, at zero replicas; false by default. */
  readonly suspend?: boolean | undefined
}

/** A Compute, as `Compute.scoped` takes it. */
export interface ScopedOptions extends ComputeOptions {
  /** How long to wait until it is ready; 300 s by default. */
  readonly timeout?: Duration.Input | undefined
  /** What its deletion gives its Pod to end; 30 s by default. */
  readonly gracePeriod?: Duration.Input | undefined
  /** What to do with a Compute that exists already: take it over (and delete it at close), or refuse. */
  readonly ifExists?: "adopt" | "fail" | undefined
}

type Problem = { readonly field: string; readonly problem: string }

const label = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

const show = (value: unknown): string => {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value)
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

const checkName = (field: string, value: unknown): Problem | undefined => {
  if (typeof value !== "string" || value === "") return { field, problem: "must be a non-empty string" }
  if (value.length > 63) return { field, problem: `must be no more than 63 characters; it has ${value.length}` }
  if (!label.test(value)) {
    return {
      field,
      problem: `${show(value)} must be lower-case letters, digits and "-", start with a letter and end with a letter or digit`
    }
  }
  return undefined
}

const checkImage = (value: unknown): Problem | undefined => {
  const field = "image"
  if (typeof value !== "string" || value.trim() === "")
    return { field, problem: "must not be empty; leave it out for the operator's default image" }
  if (/\s/.test(value)) return { field, problem: `${show(value)} must not contain white space` }
  return undefined
}

const checkStrings = (field: string, value: unknown): Problem | undefined => {
  if (!Array.isArray(value)) return { field, problem: "must be an array of strings" }
  const bad = value.findIndex((item) => typeof item !== "string")
  return bad === -1 ? undefined : { field: `${field}[${bad}]`, problem: `must be a string, not ${typeof value[bad]}` }
}

const checkRecord = (
  field: string,
  value: unknown,
  checkEntry: (key: string, value: string) => string | undefined
): Problem | undefined => {
  if (!Predicate.isObject(value) || Array.isArray(value)) return { field, problem: "must be a record of strings" }
  for (const [key, item] of Object.entries(value)) {
    // The value is not shown: environment variables hold secrets.
    if (typeof item !== "string") return { field: `${field}.${key}`, problem: `must be a string, not ${typeof item}` }
    const problem = checkEntry(key, item)
    if (problem !== undefined) return { field: `${field}.${key}`, problem }
  }
  return undefined
}

const checkEnvEntry = (key: string, value: string): string | undefined => {
  if (key === "") return "an environment variable needs a name"
  if (key.includes("=")) return 'the name of an environment variable must not contain "="'
  if (!/^[\x20-\x7e]+$/.test(key)) return "the name of an environment variable must be printable ASCII"
  if (value.includes("\0")) return "the value must not contain a NUL character"
  return undefined
}

const checkKey = (key: string): string | undefined => {
  const slash = key.indexOf("/")
  const prefix = slash === -1 ? undefined : key.slice(0, slash)
  const name = key.slice(slash + 1)
  if (prefix !== undefined && (prefix.length > 253 || !subdomain.test(prefix))) {
    return "the part of the key before / must be a DNS name of at most 253 characters"
  }
  if (name.length > 63 || !qualifiedName.test(name)) {
    return 'the key must be at most 63 letters, digits, "-", "_" and ".", and start and end with a letter or digit'
  }
  return undefined
}

const checkLabel = (key: string, value: string): string | undefined =>
  checkKey(key) ??
  (value === "" || (value.length <= 63 && qualifiedName.test(value))
    ? undefined
    : 'the value must be at most 63 letters, digits, "-", "_" and ".", and start and end with a letter or digit')

const checkHost = (value: unknown): Problem | undefined => {
  const field = "host"
  if (typeof value !== "string" || value === "") return { field, problem: "must be a host name or an IP address" }
  const bracketed = /^\[[0-9A-Fa-f:.%a-z]+\]$/.test(value)
  if (!bracketed && !/^[A-Za-z0-9_.-]+$/.test(value) && !/^[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/.test(value)) {
    return { field, problem: `${show(value)} must be a host name or an IP address alone, without scheme, port or path` }
  }
  return undefined
}

const checkPort = (value: unknown): Problem | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65535
    ? undefined
    : { field: "port", problem: `must be a whole number from 1 to 65535, not ${show(value)}` }

const checkDuration = (field: string, value: unknown): Problem | undefined => {
  const duration = Option.getOrUndefined(Duration.fromInput(value as Duration.Input))
  // Duration reads NaN as zero: an unset variable would become "at once".
  if (duration === undefined || Number.isNaN(value)) {
    return { field, problem: `${show(value)} is not a duration; write "30 seconds" or milliseconds` }
  }
  if (Duration.isNegative(duration)) {
    return { field, problem: "must not be negative" }
  }
  return undefined
}

const checkBoolean = (field: string, value: unknown): Problem | undefined =>
  typeof value === "boolean" ? undefined : { field, problem: `must be true or false, not ${show(value)}` }

const checks: { readonly [K in keyof Required<ScopedOptions>]: (value: unknown) => Problem | undefined } = {
  name: (value) => checkName("name", value),
  image: checkImage,
  command: (value) => checkStrings("command", value),
  args: (value) => checkStrings("args", value),
  env: (value) => checkRecord("env", value, checkEnvEntry),
  labels: (value) => checkRecord("labels", value, checkLabel),
  annotations: (value) => checkRecord("annotations", value, checkKey),
  suspend: (value) => checkBoolean("suspend", value),
  host: checkHost,
  port: checkPort,
  timeout: (value) => checkDuration("timeout", value),
  gracePeriod: (value) => checkDuration("gracePeriod", value),
  ifExists: (value) =>
    value === "adopt" || value === "fail"
      ? undefined
      : { field: "ifExists", problem: `must be "adopt" or "fail", not ${show(value)}` }
}

/**
 * Checks options of any of the calls: each option that is given, against its rule. The first problem, in the order of
 * the documentation, is the error.
 */
export const checkOptions = <A extends Partial<ScopedOptions>>(
  options: A,
  about?: { readonly namespace?: string; readonly name?: string }
): Result.Result<A, InvalidInput> => {
  const fail = ({ field, problem }: Problem) =>
    Result.fail(new InvalidInput({ field, problem, resource: about === undefined ? undefined : { kind, ...about } }))
  if (!Predicate.isObject(options)) return fail({ field: "options", problem: "must be an object" })
  for (const [field, check] of Object.entries(checks)) {
    const value = (options as Record<string, unknown>)[field]
    if (value === undefined) continue
    const problem = check(value)
    if (problem !== undefined) return fail(problem)
  }
  return Result.succeed(options)
}

/** `checkOptions` where a name is required. */
export const checkComputeOptions = <A extends Partial<ScopedOptions>>(options: A): Result.Result<A, InvalidInput> =>
  Predicate.isObject(options) && options.name === undefined
    ? Result.fail(new InvalidInput({ field: "name", problem: "is required" }))
    : checkOptions(options)

/** The spec that says what the options say. `suspend` is always in it, so that applying again resumes. */
export const toSpec = (options: ComputeOptions): ComputeSpec => {
  const { annotations, args, command, env, image, labels } = options
  return {
    ...(image === undefined ? {} : { image }),
    ...(command === undefined ? {} : { command: [...command] }),
    ...(args === undefined ? {} : { args: [...args] }),
    ...(env === undefined ? {} : { env: Object.entries(env).map(([name, value]) => ({ name, value })) }),
    ...(labels === undefined ? {} : { labels: { ...labels } }),
    ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    suspend: options.suspend ?? false
  }
}
