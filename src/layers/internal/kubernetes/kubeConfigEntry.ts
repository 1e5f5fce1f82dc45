/**
 * From a cluster entry and a user entry to the way to a cluster: paths resolved, certificates checked, one source of
 * credentials. Kubeconfig contexts and explicit options both end here.
 */
import { isAbsolute, join } from "node:path"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { KubeConfigError } from "../../../schema/KpuError.ts"
import type { Impersonation, KubeConfig } from "../../../services/KubeConfig.ts"
import { authProvider } from "./authProvider.ts"
import {
  bearer,
  type CredentialSource,
  cached,
  checkAuthority,
  checkCertificate,
  filePeriod,
  fixed,
  fromBase64,
  invalidCredential,
  readFile,
  tokenFile
} from "./credentials.ts"
import { execPlugin } from "./execPlugin.ts"
import { fitsHeader } from "./impersonation.ts"
import type { Cluster, Exec, User } from "./kubeConfigDocument.ts"
import { oidc } from "./oidc.ts"
import { environmentProxy } from "./proxy.ts"

export interface Entry {
  readonly source: string
  readonly namespace: string | undefined
  readonly cluster: Cluster
  /** The folder that the cluster's relative paths start from, and how messages name its fields. */
  readonly clusterFolder: string
  readonly clusterField: (field: keyof Cluster) => string
  readonly user: User
  readonly userFolder: string
  readonly userField: (field: keyof User) => string
}

const resolvePath = (folder: string, path: string): string => (isAbsolute(path) ? path : join(folder, path))

const isPem = (data: string): boolean => data.includes("-----BEGIN")

const checkServer = (server: string, field: string): Effect.Effect<string, KubeConfigError> =>
  Effect.gen(function* () {
    const url = URL.parse(server)
    if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
      return yield* invalidCredential(field, `"${server}" is no URL such as https://kubernetes.example.com:6443`)
    }
    if (url.username !== "" || url.password !== "") {
      return yield* invalidCredential(field, "credentials do not belong in the URL")
    }
    return (url.origin + url.pathname).replace(/\/+$/, "")
  })

const checkProxy = (proxy: string, field: string): Effect.Effect<string, KubeConfigError> => {
  const protocol = URL.parse(proxy)?.protocol
  return protocol === "http:" || protocol === "https:" || protocol === "socks5:"
    ? Effect.succeed(proxy)
    : // the URL itself is not shown: it may hold a password
      Effect.fail(invalidCredential(field, "it must be a URL that starts with http://, https:// or socks5://"))
}

const authority = Effect.fnUntraced(function* ({ cluster, clusterField, clusterFolder }: Entry) {
  const data = cluster["certificate-authority-data"]
  const file = cluster["certificate-authority"]
  if (!data && !file) return undefined
  const field = clusterField(data ? "certificate-authority-data" : "certificate-authority")
  if (cluster["insecure-skip-tls-verify"] === true) {
    return yield* invalidCredential(field, `it contradicts ${clusterField("insecure-skip-tls-verify")}; remove one`)
  }
  if (data) return yield* checkAuthority(isPem(data) ? data : fromBase64(data), field)
  const path = resolvePath(clusterFolder, file!)
  return yield* checkAuthority(yield* readFile(path, field), `${field}: ${path}`)
})

const certificateSource = (entry: Entry): CredentialSource | undefined => {
  const { user, userField, userFolder } = entry
  const certData = user["client-certificate-data"]
  const certFile = user["client-certificate"]
  const keyData = user["client-key-data"]
  const keyFile = user["client-key"]
  if (!certData && !certFile && !keyData && !keyFile) return undefined
  const certField = userField(certData || !certFile ? "client-certificate-data" : "client-certificate")
  const keyField = userField(keyData || !keyFile ? "client-key-data" : "client-key")
  const load = (data: string | undefined, file: string | undefined, field: string, other: string) => {
    if (data) return Effect.succeed(isPem(data) ? data : fromBase64(data))
    if (file) return readFile(resolvePath(userFolder, file), field)
    return Effect.fail(invalidCredential(field, `it is missing, and ${other} is of no use without it`))
  }
  const named = (data: string | undefined, file: string | undefined, field: string) =>
    data || !file ? field : `${field}: ${resolvePath(userFolder, file)}`
  return cached(
    Effect.gen(function* () {
      const certificate = yield* checkCertificate({
        cert: yield* load(certData, certFile, certField, keyField),
        certField: named(certData, certFile, certField),
        key: yield* load(keyData, keyFile, keyField, certField),
        keyField: named(keyData, keyFile, keyField)
      })
      const rotates = (!certData && certFile) || (!keyData && keyFile)
      const now = yield* Clock.currentTimeMillis
      return {
        credentials: { certificate },
        expiresAt: rotates ? now + Duration.toMillis(filePeriod) : undefined
      }
    })
  )
}

const execSource = (entry: Entry, server: string, ca: string | undefined, exec: Exec): CredentialSource => {
  const { cluster, userField, userFolder } = entry
  const field = userField("exec")
  return execPlugin({
    exec,
    // a bare name is looked up on PATH, a path starts from the kubeconfig's folder
    command: /[/\\]/.test(exec.command) ? resolvePath(userFolder, exec.command) : exec.command,
    field,
    cluster: {
      server,
      "tls-server-name": cluster["tls-server-name"],
      "insecure-skip-tls-verify": cluster["insecure-skip-tls-verify"],
      "certificate-authority-data": ca === undefined ? undefined : Buffer.from(ca).toString("base64"),
      "proxy-url": cluster["proxy-url"],
      config: cluster.extensions?.find(({ name }) => name === "client.authentication.k8s.io/exec")?.extension
    }
  })
}

const authorizationSource = Effect.fnUntraced(function* (entry: Entry, server: string, ca: string | undefined) {
  const { user, userField, userFolder } = entry
  if (user.exec) {
    if (user["auth-provider"]) {
      return yield* invalidCredential(userField("exec"), `it contradicts ${userField("auth-provider")}; remove one`)
    }
    return execSource(entry, server, ca, user.exec)
  }
  // where both are given, the file rotates and the token is what it once was
  if (user.tokenFile) return tokenFile(resolvePath(userFolder, user.tokenFile), userField("tokenFile"))
  if (user.token) return fixed({ authorization: yield* bearer(user.token, userField("token")) })
  const provider = user["auth-provider"]
  if (provider?.name === "oidc") {
    return oidc({
      config: provider.config ?? {},
      resolvePath: (path) => resolvePath(userFolder, path),
      field: userField("auth-provider")
    })
  }
  if (provider) {
    return authProvider({ name: provider.name, config: provider.config ?? {}, field: userField("auth-provider") })
  }
  if (user.username) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64")
    return fixed({ authorization: Redacted.make(`Basic ${basic}`) })
  }
  return undefined
})

const combine = (
  authorization: CredentialSource | undefined,
  certificate: CredentialSource | undefined
): CredentialSource => {
  if (authorization === undefined) return certificate ?? fixed({})
  if (certificate === undefined) return authorization
  return {
    credentials: Effect.zipWith(certificate.credentials, authorization.credentials, (a, b) => ({
      authorization: b.authorization,
      certificate: b.certificate ?? a.certificate
    })),
    invalidate: Effect.andThen(authorization.invalidate, certificate.invalidate)
  }
}

const impersonation = Effect.fnUntraced(function* ({ user, userField }: Entry) {
  const { as: name, "as-groups": groups = [], "as-uid": uid, "as-user-extra": extra = {} } = user
  const fields = [
    ["as", [name ?? ""]],
    ["as-uid", [uid ?? ""]],
    ["as-groups", groups],
    ["as-user-extra", Object.values(extra).flat()]
  ] as const
  for (const [field, values] of fields) {
    if (!values.every(fitsHeader)) {
      return yield* invalidCredential(userField(field), "it holds characters that no HTTP header may have")
    }
  }
  if (name) {
    const result: Impersonation = { user: name, uid: uid || undefined, groups, extra }
    return result
  }
  const alone = uid ? "as-uid" : groups.length > 0 ? "as-groups" : Object.keys(extra).length > 0 ? "as-user-extra" : ""
  if (alone !== "") {
    return yield* invalidCredential(userField(alone), `it needs a user to impersonate: set ${userField("as")}`)
  }
  return undefined
})

/** Resolves everything that can be checked now, so that a broken entry fails here and not at the first request. */
export const fromEntry = Effect.fnUntraced(function* (
  entry: Entry
): Effect.fn.Return<KubeConfig["Service"], KubeConfigError> {
  const { cluster, clusterField, user } = entry
  if (!cluster.server) {
    return yield* invalidCredential(clusterField("server"), "it is missing; give the API server's URL")
  }
  const server = yield* checkServer(cluster.server, clusterField("server"))
  const impersonate = yield* impersonation(entry)
  const ca = yield* authority(entry)
  const proxyUrl = cluster["proxy-url"]
  const certificate = certificateSource(entry)
  const authorization = yield* authorizationSource(entry, server, ca)
  if (certificate !== undefined) yield* certificate.credentials
  // a plugin may ask a person to log in: it runs when a request needs it, not before
  if (authorization !== undefined && !user.exec && !user["auth-provider"]) yield* authorization.credentials
  return {
    server,
    source: impersonate === undefined ? entry.source : `${entry.source}, impersonating ${impersonate.user}`,
    namespace: entry.namespace,
    proxy: proxyUrl ? yield* checkProxy(proxyUrl, clusterField("proxy-url")) : yield* environmentProxy(server),
    trust: {
      ca,
      insecureSkipVerify: cluster["insecure-skip-tls-verify"] === true,
      serverName: cluster["tls-server-name"] || undefined
    },
    impersonate,
    ...combine(authorization, certificate)
  }
})
