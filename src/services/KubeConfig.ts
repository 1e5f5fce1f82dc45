/**
 * The way to a cluster: server, trust, identity. Found once when its layer is built, renewed where credentials rotate.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { KubeConfigError } from "../schema/KpuError.ts"

/** What authenticates a request. Either part may be absent. */
export interface Credentials {
  /** The `Authorization` header's value, `Bearer …` or `Basic …`. */
  readonly authorization?: Redacted.Redacted<string> | undefined
  /** A client certificate and its key, PEM. */
  readonly certificate?: { readonly cert: string; readonly key: Redacted.Redacted<string> } | undefined
}

/** How the server's certificate is checked. */
export interface Trust {
  /** PEM; the system's roots when absent. */
  readonly ca?: string | undefined
  readonly insecureSkipVerify: boolean
  /** The name expected in the certificate, where it is not the URL's host. */
  readonly serverName?: string | undefined
}

/** Whom requests act as, where that is another user than the one whose credentials they carry. */
export interface Impersonation {
  readonly user: string
  readonly uid?: string | undefined
  readonly groups?: ReadonlyArray<string> | undefined
  readonly extra?: Readonly<Record<string, ReadonlyArray<string>>> | undefined
}

export class KubeConfig extends Context.Service<
  KubeConfig,
  {
    /** The API server's URL, without a slash at its end. */
    readonly server: string
    /** Where this configuration was found, in a person's words: a file and context, in-cluster, options. */
    readonly source: string
    /** The namespace that the configuration names: the context's, or the service account's. */
    readonly namespace: string | undefined
    /** An HTTP proxy for this server (the kubeconfig's `proxy-url`, else the environment's). */
    readonly proxy: string | undefined
    readonly trust: Trust
    /** The user that requests act as, where it is not the one of the credentials. */
    readonly impersonate?: Impersonation | undefined
    /** Current credentials: read afresh where they rotate, cached where they have an expiry. */
    readonly credentials: Effect.Effect<Credentials, KubeConfigError>
    /** Forgets cached credentials: the server has refused them. */
    readonly invalidate: Effect.Effect<void>
  }
>()("effect-kpu/KubeConfig") {}
