/**
 * Errors as one block that a person can read: what went wrong, what was found, what to do. The cause, with its stack, is
 * shown with `--verbose` only.
 */
import * as Cause from "effect/Cause"
import type * as CliError from "effect/cli/CliError"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { formatCondition } from "../../schema/Condition.ts"
import { KpuError } from "../../schema/KpuError.ts"
import { CommandError } from "../CommandError.ts"
import { exitCodeOf, exitCodes } from "../exitCodes.ts"
import { type ErrorReport, outputVersion } from "./json.ts"
import type { Style } from "./Style.ts"

/** An error, taken apart. */
export interface ErrorBlock {
  readonly error: string
  readonly reason?: string | undefined
  /** One sentence or more; several lines where the error lists things. */
  readonly message: string
  readonly details: ReadonlyArray<string>
  readonly advice?: string | undefined
  readonly exitCode: number
  /** For `--verbose`. */
  readonly cause: string
}

const isKpuError = Schema.is(KpuError)

const isSuspended = ({ problem }: { readonly problem: string }): boolean => problem.startsWith("it is suspended")

const adviceFor = (error: KpuError): string | undefined => {
  switch (error._tag) {
    case "InvalidInput":
      return undefined
    case "KubeConfigError":
      return "give --kubeconfig or --server, set KUBECONFIG, or start a cluster here with: kpu local up"
    case "KubernetesError":
      switch (error.reason._tag) {
        case "NotFound":
          return error.resource.kind === "Compute"
            ? `see what is there: kpu get${error.resource.namespace === undefined ? "" : ` -n ${error.resource.namespace}`}`
            : undefined
        case "Unauthorized":
        case "Forbidden":
        case "CrdNotInstalled":
        case "Transport":
        case "BadResponse":
        case "Unavailable":
          return "look at each step to the cluster: kpu doctor"
        case "Conflict":
        case "Invalid":
        case "Rejected":
        case "Throttled":
          return undefined
      }
    case "ReadyTimeout":
      return isSuspended(error)
        ? `kpu resume ${error.resource.name}`
        : `see its state: kpu describe ${error.resource.name}; or wait longer with --timeout`
    case "ComputeDeleted":
      return undefined
    case "ComputeFailed":
      return `see its state: kpu describe ${error.resource.name}`
    case "NotReady":
      return isSuspended(error)
        ? `kpu resume ${error.resource.name}`
        : `wait for it first: kpu wait ${error.resource.name}`
    case "GrpcError":
      return error.code === "UNAVAILABLE" || error.errno !== undefined
        ? "from outside the cluster use --gateway, or kubectl port-forward with --host localhost; kpu doctor NAME looks closer"
        : undefined
    case "SendRejected":
    case "TensorDecodeError":
    case "TensorLimitError":
      return undefined
  }
}

const detailsOf = (error: KpuError): ReadonlyArray<string> => {
  if (error._tag !== "ReadyTimeout") return []
  const conditions = error.conditions.map(formatCondition).filter((condition) => !error.problem.includes(condition))
  return conditions.length === 0 ? [] : ["last conditions:", ...conditions.map((condition) => `  ${condition}`)]
}

/** What a command failed with, for people and programs. */
export const errorBlock = (cause: Cause.Cause<unknown>): ErrorBlock => {
  const error = Cause.squash(cause)
  const pretty = Cause.pretty(cause)
  if (isKpuError(error)) {
    return {
      error: error._tag,
      reason: error._tag === "KubernetesError" ? error.reason._tag : undefined,
      message: error.message,
      details: detailsOf(error),
      advice: adviceFor(error),
      exitCode: exitCodeOf(error),
      cause: pretty
    }
  }
  if (error instanceof CommandError) {
    return {
      error: "CommandError",
      message: error.problem,
      details: [],
      advice: error.advice,
      exitCode: error.exitCode,
      cause: error.cause === undefined ? pretty : `${pretty}\n${describeCause(error.cause)}`
    }
  }
  const message = error instanceof Error && error.message !== "" ? error.message : String(error)
  return {
    error: Predicate.hasProperty(error, "_tag") ? String(error._tag) : "Defect",
    message: `something went wrong that should not: ${message}`,
    details: [],
    advice: "run it again with --verbose and report what it shows",
    exitCode: exitCodes.failure,
    cause: pretty
  }
}

const describeCause = (cause: unknown): string =>
  cause instanceof Error ? `caused by: ${cause.stack ?? cause.message}` : `caused by: ${String(cause)}`

/** The errors of a wrong command line. */
export const usageBlock = (
  commandPath: ReadonlyArray<string>,
  errors: ReadonlyArray<CliError.NonShowHelpErrors>
): ErrorBlock => ({
  error: "Usage",
  message: errors.map((error) => error.message.replace(/\n\s*\n/g, "\n")).join("\n"),
  details: [],
  advice:
    commandPath.at(-1) === "run"
      ? "kpu run --image IMAGE -- COMMAND ARGUMENTS (the command stands after --); kpu run --help"
      : `${commandPath.join(" ")} --help`,
  exitCode: exitCodes.usage,
  cause: ""
})

const indent = (text: string): string => text.replaceAll("\n", "\n  ")

/** The block as a person reads it. */
export const formatErrorBlock = (block: ErrorBlock, style: Style, verbose: boolean): string =>
  [
    `${style.red(style.bold("error:"))} ${indent(block.message)}`,
    ...block.details.map((line) => `  ${line}`),
    ...(block.advice === undefined ? [] : [`  ${style.bold("try:")} ${block.advice}`]),
    ...(verbose && block.cause !== "" ? [style.dim(`  ${block.cause.trimEnd().replaceAll("\n", "\n  ")}`)] : [])
  ].join("\n")

/** The block as a program reads it. */
export const errorReport = ({ advice, error, exitCode, message, reason }: ErrorBlock): ErrorReport => ({
  apiVersion: outputVersion,
  kind: "Error",
  error,
  reason,
  message,
  advice,
  exitCode
})
