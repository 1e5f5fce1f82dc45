/**
 * Credentials from the auth providers of older kubeconfigs (`users[].user.auth-provider`: `azure` and `gcp`), through
 * `@kubernetes/client-node`. OpenID Connect is in `oidc.ts`: the package's own renewal takes a lifetime for a point in
 * time, and sends no client secret.
 *
 * **Gotchas**
 *
 * The package costs about half a second and 85 MB to load: it is imported only here, when such a user is really used.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { bearer, type CredentialSource, cached, filePeriod, invalidCredential } from "./credentials.ts"

const supported = ["azure", "gcp"]

export const authProvider = (options: {
  readonly name: string
  readonly config: Readonly<Record<string, string>>
  /** Names the file and the field in messages. */
  readonly field: string
}): CredentialSource => {
  const { field, name } = options
  const load = Effect.cached(
    Effect.tryPromise({
      try: async () => {
        const { KubeConfig } = await import("@kubernetes/client-node")
        const config = new KubeConfig()
        config.loadFromClusterAndUser(
          { name: "cluster", server: "https://kubernetes.invalid", skipTLSVerify: false },
          // it writes renewed tokens into the object that it is given
          { name: "user", authProvider: { name, config: { ...options.config } } }
        )
        return config
      },
      catch: () => invalidCredential(field, "@kubernetes/client-node, which handles this provider, cannot be loaded")
    })
  ).pipe(Effect.runSync)
  return cached(
    Effect.gen(function* () {
      if (!supported.includes(name)) {
        return yield* invalidCredential(
          field,
          `the auth provider "${name}" is not supported (oidc, ${supported.join(", ")} are); use an exec plugin`
        )
      }
      const config = yield* load
      const headers = yield* Effect.tryPromise({
        try: async () => {
          const request: { headers: Record<string, string> } = { headers: {} }
          await config.applyToHTTPSOptions(request)
          return request.headers
        },
        // the message of the provider may quote its answer, which holds tokens
        catch: () => invalidCredential(field, `the auth provider "${name}" could not give a token; log in again`)
      })
      const value = headers["Authorization"]
      if (value === undefined) {
        return yield* invalidCredential(
          field,
          `the auth provider "${name}" gave no token: its login has expired, or a setting is missing; log in again`
        )
      }
      const authorization = yield* bearer(value.replace(/^Bearer /, ""), field)
      const now = yield* Clock.currentTimeMillis
      return { credentials: { authorization }, expiresAt: now + Duration.toMillis(filePeriod) }
    })
  )
}
