/**
 * The way to a cluster said outright: server, trust and identity as options.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { KubeConfigError } from "../schema/KpuError.ts"
import { type Impersonation, KubeConfig } from "../services/KubeConfig.ts"
import type { Cluster, User } from "./internal/kubernetes/kubeConfigDocument.ts"
import { fromEntry } from "./internal/kubernetes/kubeConfigEntry.ts"

/** A secret, plain or `Redacted`. */
export type Secret = string | Redacted.Redacted<string>

/** A command that gives credentials, as a kubeconfig's `exec` has it. */
export interface ExecPluginOptions {
  readonly command: string
  readonly args?: ReadonlyArray<string> | undefined
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** `client.authentication.k8s.io/v1` unless told otherwise. */
  readonly apiVersion?: string | undefined
  /** Tell the command server and CA in `KUBERNETES_EXEC_INFO`; false unless told otherwise. */
  readonly provideClusterInfo?: boolean | undefined
}

/** Where the API server is, how it is trusted, and who asks. Relative paths start from the working directory. */
export interface KubeConfigOptions {
  /** The API server's URL: `https://kubernetes.example.com:6443`. */
  readonly server: string
  /** The namespace for Computes, where none is given elsewhere. */
  readonly namespace?: string | undefined
  /** What signed the server's certificate: PEM, or base64 of it. The system's roots when absent. */
  readonly caData?: string | undefined
  readonly caFile?: string | undefined
  /** Trust any certificate: for experiments only. */
  readonly insecureSkipTlsVerify?: boolean | undefined
  /** The name expected in the server's certificate, where it is not the URL's host. */
  readonly tlsServerName?: string | undefined
  /** `http://`, `https://` or `socks5://`; the environment's proxy when absent. */
  readonly proxyUrl?: string | undefined
  readonly token?: Secret | undefined
  /** Read again as it rotates. */
  readonly tokenFile?: string | undefined
  /** A client certificate and its key: PEM, or base64 of it. */
  readonly certData?: string | undefined
  readonly keyData?: Secret | undefined
  /** Read again as they rotate. */
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
  readonly username?: string | undefined
  readonly password?: Secret | undefined
  readonly exec?: ExecPluginOptions | undefined
  /** Act as another user, which the cluster must allow (`verb: impersonate`). */
  readonly impersonate?: Impersonation | undefined
}

const clusterNames: { readonly [K in keyof Cluster]?: keyof KubeConfigOptions } = {
  "certificate-authority": "caFile",
  "certificate-authority-data": "caData",
  "insecure-skip-tls-verify": "insecureSkipTlsVerify",
  "tls-server-name": "tlsServerName",
  "proxy-url": "proxyUrl"
}

const userNames: { readonly [K in keyof User]?: string } = {
  "client-certificate": "certFile",
  "client-certificate-data": "certData",
  "client-key": "keyFile",
  "client-key-data": "keyData",
  as: "impersonate.user",
  "as-uid": "impersonate.uid",
  "as-groups": "impersonate.groups",
  "as-user-extra": "impersonate.extra"
}

const reveal = (secret: Secret | undefined): string | undefined =>
  Redacted.isRedacted(secret) ? Redacted.value(secret) : secret

/** The cluster that these options name. */
export const layer = (options: KubeConfigOptions): Layer.Layer<KubeConfig, KubeConfigError> =>
  Layer.effect(
    KubeConfig,
    Effect.suspend(() =>
      fromEntry({
        source: "explicit options",
        namespace: options.namespace,
        cluster: {
          server: options.server,
          "certificate-authority": options.caFile,
          "certificate-authority-data": options.caData,
          "insecure-skip-tls-verify": options.insecureSkipTlsVerify,
          "tls-server-name": options.tlsServerName,
          "proxy-url": options.proxyUrl
        },
        clusterFolder: process.cwd(),
        clusterField: (field) => `KubeConfig.layerOptions: ${clusterNames[field] ?? field}`,
        user: {
          token: reveal(options.token),
          tokenFile: options.tokenFile,
          "client-certificate": options.certFile,
          "client-certificate-data": options.certData,
          "client-key": options.keyFile,
          "client-key-data": reveal(options.keyData),
          username: options.username,
          password: reveal(options.password),
          as: options.impersonate?.user,
          "as-uid": options.impersonate?.uid,
          "as-groups": options.impersonate?.groups,
          "as-user-extra": options.impersonate?.extra,
          exec:
            options.exec === undefined
              ? undefined
              : {
                  apiVersion: options.exec.apiVersion ?? "client.authentication.k8s.io/v1",
                  command: options.exec.command,
                  args: options.exec.args,
                  env: Object.entries(options.exec.env ?? {}).map(([name, value]) => ({ name, value })),
                  provideClusterInfo: options.exec.provideClusterInfo,
                  interactiveMode: "IfAvailable"
                }
        },
        userFolder: process.cwd(),
        userField: (field) => `KubeConfig.layerOptions: ${userNames[field] ?? field}`
      })
    )
  )
