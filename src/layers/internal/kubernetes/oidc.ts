/**
 * Credentials from an OpenID Connect login that `kubectl` or its plugins left in a kubeconfig
 * (`users[].user.auth-provider`, name `oidc`): the id token while it is valid, then a new one for the refresh token.
 *
 * **Details**
 *
 * By client-go's rules: an id token counts as expired 10 s before its time, the token endpoint comes from the issuer's
 * discovery document (OpenID Connect Discovery 1.0), and the new id token from the refresh grant (RFC 6749, 6).
 *
 * **Gotchas**
 *
 * New tokens stay in this process: the kubeconfig is not written, as kubectl would. Where the provider gives each refresh
 * token once only, what stands in the file is of no use afterwards; an exec plugin (`kubelogin`) keeps its own.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import {
  bearer,
  type CredentialSource,
  cached,
  checkAuthority,
  filePeriod,
  fromBase64,
  invalidCredential,
  readFile
} from "./credentials.ts"
import { exchange, type HttpRequest } from "./httpExchange.ts"
import { environmentProxy } from "./proxy.ts"

/** An id token that expires so soon is not used any more. */
const expiryDelta = Duration.seconds(10)

const timeout = Duration.seconds(30)

const Discovery = Schema.Struct({
  token_endpoint: Schema.String,
  token_endpoint_auth_methods_supported: Schema.optional(Schema.Array(Schema.String))
})
const Tokens = Schema.Struct({ id_token: Schema.String, refresh_token: Schema.optional(Schema.String) })
const Refusal = Schema.Struct({ error: Schema.String })
const Claims = Schema.Struct({ exp: Schema.Finite })

const decodeDiscovery = Schema.decodeUnknownEffect(Schema.fromJsonString(Discovery))
const decodeTokens = Schema.decodeUnknownEffect(Schema.fromJsonString(Tokens))
const decodeRefusal = Schema.decodeUnknownEffect(Schema.fromJsonString(Refusal))
const decodeClaims = Schema.decodeUnknownEffect(Schema.fromJsonString(Claims))

/** When an id token stops being used, in milliseconds since the epoch; long ago where it does not say. */
const usableUntil = (idToken: string): Effect.Effect<number> =>
  decodeClaims(Buffer.from(idToken.split(".")[1] ?? "", "base64url").toString("utf8")).pipe(
    Effect.map(({ exp }) => exp * 1000 - Duration.toMillis(expiryDelta)),
    Effect.orElseSucceed(() => 0)
  )

/** As forms encode it, which RFC 6749 (2.3.1) asks for: a space is a plus. */
const formEncode = (text: string): string => new URLSearchParams([["", text]]).toString().slice(1)

export interface OidcOptions {
  readonly config: Readonly<Record<string, string>>
  /** Where a relative path starts from. */
  readonly resolvePath: (path: string) => string
  /** Names the file and the field in messages. */
  readonly field: string
}

const setting = ({ field }: OidcOptions, name: string) => `${field}.config.${name}`

const authority = Effect.fnUntraced(function* (options: OidcOptions) {
  const data = options.config["idp-certificate-authority-data"]
  const file = options.config["idp-certificate-authority"]
  if (data) return yield* checkAuthority(fromBase64(data), setting(options, "idp-certificate-authority-data"))
  if (!file) return undefined
  const path = options.resolvePath(file)
  const field = setting(options, "idp-certificate-authority")
  return yield* checkAuthority(yield* readFile(path, field), `${field}: ${path}`)
})

/** New tokens for a refresh token. */
const refresh = Effect.fnUntraced(
  function* (options: OidcOptions, refreshToken: string) {
    const { config, field } = options
    const wrong = (problem: string) => invalidCredential(field, problem)
    const issuer = config["idp-issuer-url"]
    const clientId = config["client-id"]
    if (!issuer || URL.parse(issuer) === null) {
      return yield* invalidCredential(setting(options, "idp-issuer-url"), "it is no URL; log in again")
    }
    if (!clientId) return yield* invalidCredential(setting(options, "client-id"), "it is missing; log in again")
    const ca = yield* authority(options)
    const proxy = yield* environmentProxy(issuer)
    const undici = yield* Effect.promise(() => import("@effect/platform-node/Undici"))
    const connect = ca === undefined ? {} : { ca }
    const dispatcher = yield* Effect.acquireRelease(
      Effect.sync(() =>
        proxy === undefined ? new undici.Agent({ connect }) : new undici.ProxyAgent({ uri: proxy, requestTls: connect })
      ),
      (dispatcher) => Effect.promise(() => dispatcher.destroy())
    )
    const ask = (url: URL, request: Omit<HttpRequest, "path">) =>
      exchange(dispatcher, url.origin, { ...request, path: url.pathname + url.search }).pipe(
        Effect.mapError(({ cause }) => {
          const code = (cause as NodeJS.ErrnoException | undefined)?.code
          return wrong(`the identity provider at ${url.origin} cannot be asked (${code ?? "unknown error"})`)
        })
      )

    const discovery = new URL(`${issuer.replace(/\/+$/, "")}/.well-known/openid-configuration`)
    const found = yield* ask(discovery, { method: "GET", headers: { accept: "application/json" } })
    const provider = yield* decodeDiscovery(found.text).pipe(
      Effect.filterOrFail(({ token_endpoint }) => found.status === 200 && URL.canParse(token_endpoint)),
      Effect.mapError(() => wrong(`${discovery.href} answered ${found.status}, and no discovery document`))
    )

    const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token: refreshToken })
    const headers: Record<string, string> = {
      accept: "application/json",
      "content-type": "application/x-www-form-urlencoded"
    }
    const secret = config["client-secret"]
    const methods = provider.token_endpoint_auth_methods_supported
    if (secret && (methods === undefined || methods.includes("client_secret_basic"))) {
      headers["authorization"] =
        `Basic ${Buffer.from(`${formEncode(clientId)}:${formEncode(secret)}`).toString("base64")}`
    } else {
      form.set("client_id", clientId)
      if (secret) form.set("client_secret", secret)
    }
    const answer = yield* ask(new URL(provider.token_endpoint), { method: "POST", headers, body: form.toString() })
    if (answer.status !== 200) {
      // the rest of the answer may quote what was sent
      const error = yield* decodeRefusal(answer.text).pipe(
        Effect.map(({ error }) => (/^[a-z_]{1,40}$/.test(error) ? `: ${error}` : "")),
        Effect.orElseSucceed(() => "")
      )
      return yield* wrong(`the identity provider refused the refresh token (${answer.status}${error}); log in again`)
    }
    return yield* decodeTokens(answer.text).pipe(
      Effect.mapError(() => wrong("the identity provider gave no id_token for the refresh token; log in again"))
    )
  },
  (effect, options) =>
    effect.pipe(
      Effect.scoped,
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () =>
          Effect.fail(
            invalidCredential(
              options.field,
              `the identity provider gave no answer within ${Duration.toSeconds(timeout)} s`
            )
          )
      })
    )
)

/** The credentials of an OpenID Connect login, renewed when they expire or are refused. */
export const oidc = (options: OidcOptions): CredentialSource => {
  const { config, field } = options
  let idToken = config["id-token"] ?? ""
  let refreshToken = config["refresh-token"] ?? ""
  let refused = false
  const source = cached(
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      let expiresAt = yield* usableUntil(idToken)
      if (expiresAt <= now || (refused && refreshToken !== "")) {
        if (refreshToken === "") {
          return yield* invalidCredential(
            setting(options, idToken === "" ? "id-token" : "refresh-token"),
            `it is missing${idToken === "" ? "" : ", and the id-token has expired"}; log in again`
          )
        }
        const tokens = yield* refresh(options, refreshToken)
        idToken = tokens.id_token
        refreshToken = tokens.refresh_token ?? refreshToken
        refused = false
        // one that has expired already, by a clock that is wrong, is not asked for again with each request
        expiresAt = Math.max(yield* usableUntil(idToken), now + Duration.toMillis(filePeriod))
      }
      return { credentials: { authorization: yield* bearer(idToken, field) }, expiresAt }
    })
  )
  return {
    credentials: source.credentials,
    invalidate: Effect.andThen(
      Effect.sync(() => {
        refused = true
      }),
      source.invalidate
    )
  }
}
