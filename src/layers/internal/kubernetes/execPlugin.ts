/**
 * Credentials from a command: the exec plugins of a kubeconfig (`users[].user.exec`), by the contract of
 * `client.authentication.k8s.io/v1` and `v1beta1`
 * (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
 *
 * **Details**
 *
 * The command gets `KUBERNETES_EXEC_INFO` and answers an `ExecCredential` on its standard output. The answer is kept
 * until its `expirationTimestamp`, or until the API server refuses it.
 *
 * **Gotchas**
 *
 * What the command writes to standard error goes into the error when it fails: it is how a plugin says "log in first".
 * Its standard output holds credentials and is never shown.
 */
import { spawn } from "node:child_process"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { KubeConfigError } from "../../../schema/KpuError.ts"
import {
  bearer,
  type CredentialSource,
  cached,
  checkCertificate,
  type Issued,
  invalidCredential
} from "./credentials.ts"
import type { Exec } from "./kubeConfigDocument.ts"

/** What a plugin is told of the cluster when `provideClusterInfo` asks for it. */
export interface ExecCluster {
  readonly server: string
  readonly "tls-server-name"?: string | undefined
  readonly "insecure-skip-tls-verify"?: boolean | undefined
  readonly "certificate-authority-data"?: string | undefined
  readonly "proxy-url"?: string | undefined
  /** The cluster's extension `client.authentication.k8s.io/exec`. */
  readonly config?: unknown
}

export interface ExecOptions {
  readonly exec: Exec
  /** The command, already resolved against the kubeconfig's folder. */
  readonly command: string
  readonly cluster: ExecCluster
  /** Names the file and the field in messages. */
  readonly field: string
}

const supported = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

/** A plugin may wait for a person at a browser; one that takes longer hangs. */
const timeout = Duration.minutes(2)

// nothing longer is shown of what a plugin writes to standard error
const shownOfStderr = 500

const ExecCredential = Schema.Struct({
  apiVersion: Schema.String,
  kind: Schema.Literal("ExecCredential"),
  status: Schema.Struct({
    token: Schema.optional(Schema.NullOr(Schema.String)),
    clientCertificateData: Schema.optional(Schema.NullOr(Schema.String)),
    clientKeyData: Schema.optional(Schema.NullOr(Schema.String)),
    expirationTimestamp: Schema.optional(Schema.NullOr(Schema.String))
  })
})

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(ExecCredential))

const run = (options: ExecOptions, interactive: boolean): Effect.Effect<string, KubeConfigError> =>
  Effect.callback<string, KubeConfigError>((resume) => {
    const { cluster, command, exec, field } = options
    const info = {
      apiVersion: exec.apiVersion,
      kind: "ExecCredential",
      spec: { interactive, ...(exec.provideClusterInfo === true ? { cluster } : {}) }
    }
    const env: Record<string, string | undefined> = { ...process.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) }
    for (const { name, value } of exec.env ?? []) env[name] = value
    const child = spawn(command, exec.args ?? [], { env, stdio: [interactive ? "inherit" : "ignore", "pipe", "pipe"] })
    const stdout: Array<Buffer> = []
    let stderr = ""
    child.stdout!.on("data", (chunk: Buffer) => stdout.push(chunk))
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      stderr = (stderr + chunk).slice(-4 * shownOfStderr)
    })
    child.once("error", (error: NodeJS.ErrnoException) => {
      const hint = exec.installHint ? ` ${exec.installHint.trim()}` : ""
      const problem =
        error.code === "ENOENT"
          ? `the credential plugin "${command}" is not installed, or not on PATH.${hint}`
          : `the credential plugin "${command}" cannot be started (${error.code ?? error.message})`
      resume(Effect.fail(invalidCredential(field, problem)))
    })
    child.once("close", (code, signal) => {
      if (code === 0) return resume(Effect.succeed(Buffer.concat(stdout).toString("utf8")))
      const said = stderr.trim().slice(-shownOfStderr)
      const ended = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`
      resume(
        Effect.fail(
          invalidCredential(
            field,
            `the credential plugin "${command}" ${ended}${said === "" ? " and wrote nothing to standard error" : `: ${said}`}`
          )
        )
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () =>
        Effect.fail(
          invalidCredential(
            options.field,
            `the credential plugin "${options.command}" gave no answer within ${Duration.toSeconds(timeout)} s`
          )
        )
    })
  )

const issue = Effect.fnUntraced(function* (options: ExecOptions) {
  const { exec, field } = options
  const wrong = (problem: string) => invalidCredential(field, `the credential plugin "${options.command}" ${problem}`)
  if (exec.apiVersion === undefined || !supported.includes(exec.apiVersion)) {
    return yield* invalidCredential(`${field}.apiVersion`, `it must be one of ${supported.join(", ")}`)
  }
  const terminal = process.stdin.isTTY === true
  if (exec.interactiveMode === "Always" && !terminal) {
    return yield* wrong("wants a terminal (interactiveMode: Always), and standard input is none")
  }
  const output = yield* run(options, terminal && exec.interactiveMode !== "Never")
  // the decoder's own message would show what the plugin wrote
  const { apiVersion, status } = yield* decode(output).pipe(
    Effect.mapError(() => wrong("did not write an ExecCredential with a status to standard output"))
  )
  if (apiVersion !== exec.apiVersion) {
    return yield* wrong(`answered in ${apiVersion}, and the kubeconfig asks for ${exec.apiVersion}`)
  }
  const { clientCertificateData: cert, clientKeyData: key, expirationTimestamp, token } = status
  if (!token && !(cert && key)) {
    return yield* wrong("gave neither a token nor a client certificate with its key")
  }
  const expiresAt = expirationTimestamp ? Date.parse(expirationTimestamp) : undefined
  if (Number.isNaN(expiresAt)) return yield* wrong("gave an expirationTimestamp that is no date")
  const issued: Issued = {
    credentials: {
      authorization: token ? yield* bearer(token, field) : undefined,
      certificate:
        cert && key
          ? yield* checkCertificate({
              cert,
              certField: `${field}: clientCertificateData`,
              key,
              keyField: `${field}: clientKeyData`
            })
          : undefined
    },
    expiresAt
  }
  return issued
})

/** The credentials that a plugin gives: run when needed, kept until they expire or are refused. */
export const execPlugin = (options: ExecOptions): CredentialSource => cached(issue(options))
