/**
 * The flags that every command has, named as kubectl names them. They may stand before or after the command's own name.
 */

import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { duration, orUndefined, port } from "./input/flags.ts"

const setting = <const Id extends string, A>(id: Id, description: string, flag: Flag.Flag<A>) =>
  GlobalFlag.Setting(id)({ flag: flag.pipe(Flag.withDescription(description), orUndefined) })

const text = (name: string, metavar: string) => Flag.String(name).pipe(Flag.withMetavar(metavar))

/** A switch without a `--no-` form: what is not said is not so. */
const toggle = (name: string) => Flag.Boolean(name).pipe(Flag.withoutNegation)

const Kubeconfig = setting(
  "kubeconfig",
  "The kubeconfig file, instead of KUBECONFIG or ~/.kube/config",
  text("kubeconfig", "file")
)
const Context = setting("context", "The kubeconfig's context, instead of its current one", text("context", "name"))
const Namespace = setting(
  "namespace",
  "The namespace, instead of the context's",
  text("namespace", "name").pipe(Flag.withAlias("n"))
)
const Server = setting(
  "server",
  "The API server's URL, instead of the kubeconfig's",
  text("server", "url").pipe(Flag.withAlias("s"))
)
const Token = setting(
  "token",
  "The bearer token for the API server (visible to others on this machine; KPU_TOKEN is not)",
  Flag.Redacted("token").pipe(Flag.withMetavar("token"))
)
const CertificateAuthority = setting(
  "certificate-authority",
  "What signed the API server's certificate (a PEM file)",
  text("certificate-authority", "file")
)
const InsecureSkipTlsVerify = setting(
  "insecure-skip-tls-verify",
  "Trust any certificate of the API server: for experiments only",
  toggle("insecure-skip-tls-verify")
)
const RequestTimeout = setting(
  "request-timeout",
  "How long one request to the API server may take (30s by default)",
  duration("request-timeout")
)
const Host = setting(
  "host",
  "Dial this host for tensors, instead of the Compute's Service (with kubectl port-forward: localhost)",
  text("host", "name")
)
const Port = setting("port", "The port of the tensor service (50051 by default)", port("port"))
const Gateway = setting(
  "gateway",
  "Dial the cluster's Gateway for tensors, which routes by Compute (or KPU_GATEWAY)",
  text("gateway", "host:port")
)
const Output = setting(
  "output",
  "How results are written (text by default)",
  Flag.Literals("output", ["text", "json", "yaml", "name"]).pipe(Flag.withAlias("o"))
)
const Quiet = setting("quiet", "Say nothing but results and errors", toggle("quiet").pipe(Flag.withAlias("q")))
const Verbose = setting(
  "verbose",
  "Show causes of errors, and what is done",
  toggle("verbose").pipe(Flag.withAlias("v"))
)

/** In the order in which help shows them. */
export const globalFlags = [
  Kubeconfig,
  Context,
  Namespace,
  Server,
  Token,
  CertificateAuthority,
  InsecureSkipTlsVerify,
  RequestTimeout,
  Host,
  Port,
  Gateway,
  Output,
  Quiet,
  Verbose
] as const

/** What the global flags say. */
export const globals = Effect.all({
  kubeconfig: Kubeconfig,
  context: Context,
  namespace: Namespace,
  server: Server,
  token: Token,
  certificateAuthority: CertificateAuthority,
  insecureSkipTlsVerify: InsecureSkipTlsVerify,
  requestTimeout: RequestTimeout,
  host: Host,
  port: Port,
  gateway: Gateway,
  output: Effect.map(Output, (output) => output ?? "text"),
  quiet: Effect.map(Quiet, (quiet) => quiet === true),
  verbose: Effect.map(Verbose, (verbose) => verbose === true)
})

export type Globals = Effect.Success<typeof globals>

/** Whether the arguments ask for a switch; for what must be known before, or after, they are parsed. */
export const hasSwitch = (args: ReadonlyArray<string>, long: string, short: string): boolean => {
  const end = args.indexOf("--")
  return (end === -1 ? args : args.slice(0, end)).some(
    (arg) => arg === long || arg === `${long}=true` || new RegExp(`^-[a-zA-Z]*${short}[a-zA-Z]*$`).test(arg)
  )
}

/** How results are to be written, as the arguments say it. */
export const outputOf = (args: ReadonlyArray<string>): string | undefined => {
  const end = args.indexOf("--")
  const own = end === -1 ? args : args.slice(0, end)
  for (const [index, arg] of own.entries()) {
    const inline = /^(?:--output|-o)=(.*)$/.exec(arg)
    if (inline !== null) return inline[1]
    if (arg === "--output" || arg === "-o") return own[index + 1]
  }
  return undefined
}

export type { Duration }
