/**
 * The way to the cluster that the global flags say, over the one that is found.
 *
 * **Details.** As kubectl: `--server` and `--token` take the place of the kubeconfig's own; where both are given, or
 * where there is no kubeconfig, nothing else is needed. `KPU_TOKEN` is `--token` for those who do not want it seen in
 * the list of processes.
 */
import { readFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { KubeConfig } from "../KubeConfig.ts"
import * as Default from "../layers/KubeConfigDefault.ts"
import { InvalidInput, KubeConfigError } from "../schema/KpuError.ts"
import * as Service from "../services/KubeConfig.ts"
import { fileProblem } from "./files/disk.ts"
import type { Globals } from "./globals.ts"

const readCa = (path: string): Effect.Effect<string, KubeConfigError> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (cause) =>
      new KubeConfigError({ problem: `--certificate-authority ${path}: ${fileProblem(cause)}`, tried: [] })
  })

const found = ({ context, kubeconfig }: Globals): Layer.Layer<Service.KubeConfig, KubeConfigError> =>
  kubeconfig === undefined
    ? Layer.catch(Default.layerWith({ context }), (error) => Layer.effect(Service.KubeConfig, Effect.fail(told(error))))
    : KubeConfig.layerFile(kubeconfig, { context })

/** Where nothing was found, what a program could do is no help at a terminal: what a person can do stands beside it. */
const told = (error: KubeConfigError): KubeConfigError =>
  error.tried.length === 0
    ? error
    : new KubeConfigError({ problem: "no way to a Kubernetes cluster was found. Tried:", tried: error.tried })

const overridden = Effect.fnUntraced(function* (base: Service.KubeConfig["Service"], flags: Globals) {
  const { certificateAuthority, insecureSkipTlsVerify, server, token } = flags
  const given = [
    ...(server === undefined ? [] : ["--server"]),
    ...(token === undefined ? [] : ["--token"]),
    ...(certificateAuthority === undefined ? [] : ["--certificate-authority"])
  ]
  const trust = {
    ...base.trust,
    ...(certificateAuthority === undefined ? {} : { ca: yield* readCa(certificateAuthority) }),
    ...(insecureSkipTlsVerify === true ? { insecureSkipVerify: true } : {})
  }
  return Service.KubeConfig.of({
    ...base,
    server: server === undefined ? base.server : server.replace(/\/+$/, ""),
    source: given.length === 0 ? base.source : `${base.source} with ${given.join(", ")}`,
    trust,
    credentials: token === undefined ? base.credentials : Effect.succeed({ authorization: bearer(token) }),
    invalidate: token === undefined ? base.invalidate : Effect.void
  })
})

const bearer = (token: Redacted.Redacted<string>): Redacted.Redacted<string> =>
  Redacted.make(`Bearer ${Redacted.value(token)}`)

const isHttp = (url: string): boolean => /^https?:$/.test(URL.parse(url)?.protocol ?? "")

/** The cluster that the flags lead to. */
export const kubeConfigLayer = (globals: Globals): Layer.Layer<Service.KubeConfig, KubeConfigError | InvalidInput> => {
  const environment = process.env["KPU_TOKEN"]
  const token =
    globals.token ?? (environment === undefined || environment === "" ? undefined : Redacted.make(environment))
  const flags = { ...globals, token }
  const { certificateAuthority, context, insecureSkipTlsVerify, kubeconfig, server } = flags
  if (server !== undefined && !isHttp(server)) {
    const problem = `${JSON.stringify(server)} is no URL such as https://kubernetes.example.com:6443`
    return Layer.effect(Service.KubeConfig, Effect.fail(new InvalidInput({ field: "--server", problem })))
  }
  const alone = (url: string) =>
    Layer.effect(
      Service.KubeConfig,
      Effect.map(Service.KubeConfig, (config) => Service.KubeConfig.of({ ...config, source: "--server" }))
    ).pipe(
      Layer.provide(
        KubeConfig.layerOptions({
          server: url,
          token,
          caFile: certificateAuthority,
          insecureSkipTlsVerify: insecureSkipTlsVerify === true ? true : undefined
        })
      )
    )
  if (server !== undefined && token !== undefined && kubeconfig === undefined && context === undefined)
    return alone(server)
  const base = Layer.effect(
    Service.KubeConfig,
    Effect.flatMap(Service.KubeConfig, (config) => overridden(config, flags))
  ).pipe(Layer.provide(found(flags)))
  return server !== undefined && kubeconfig === undefined && context === undefined
    ? Layer.catch(base, (error) =>
        error.tried.length > 0 ? alone(server) : Layer.effect(Service.KubeConfig, Effect.fail(error))
      )
    : base
}
