/**
 * The exit codes of `kpu`: what a script may branch on. They are documented in docs/cli.md and do not change meaning.
 */
import type { KpuError } from "../schema/KpuError.ts"

export const exitCodes = {
  ok: 0,
  /** Something that none of the others names. */
  failure: 1,
  /** The command line, a manifest or an option is wrong; nothing was sent. */
  usage: 2,
  /** No way to a cluster was found, or its API server cannot be reached. */
  unreachable: 3,
  /** The API server refused the credentials, or a permission is missing. */
  denied: 4,
  /** There is no such Compute, or the cluster knows no Computes. */
  notFound: 5,
  /** The API server refused the object or the change. */
  refused: 6,
  /** A wait ran out of time. */
  timeout: 7,
  /** The Compute cannot start, or was deleted while it was waited for. */
  failed: 8,
  /** The tensor server cannot be reached, or a call to it failed. */
  tensors: 9,
  /** A file or standard output cannot be read or written, or a file holds no tensors that can be read. */
  files: 10,
  /** `kpu doctor` found something broken. */
  unhealthy: 11,
  /** Its terminal was closed (SIGHUP). */
  hungUp: 129,
  /** Interrupted by Ctrl-C. */
  interrupted: 130,
  /** Ended by SIGTERM. */
  terminated: 143
} as const

/** The exit code for an error of the client. */
export const exitCodeOf = (error: KpuError): number => {
  switch (error._tag) {
    case "InvalidInput":
      return exitCodes.usage
    case "KubeConfigError":
      return exitCodes.unreachable
    case "KubernetesError":
      switch (error.reason._tag) {
        case "Unauthorized":
        case "Forbidden":
          return exitCodes.denied
        case "NotFound":
        case "CrdNotInstalled":
          return exitCodes.notFound
        case "Conflict":
        case "Invalid":
        case "Rejected":
          return exitCodes.refused
        case "Throttled":
        case "Unavailable":
        case "BadResponse":
        case "Transport":
          return exitCodes.unreachable
      }
    case "ReadyTimeout":
      return exitCodes.timeout
    case "ComputeDeleted":
    case "ComputeFailed":
      return exitCodes.failed
    case "NotReady":
    case "SendRejected":
    case "GrpcError":
      return exitCodes.tensors
    case "TensorDecodeError":
    case "TensorLimitError":
      return exitCodes.files
  }
}
