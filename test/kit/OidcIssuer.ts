/**
 * An OpenID Connect provider over HTTPS on loopback, as far as clients of Kubernetes need one: discovery, keys, and the
 * refresh grant, whose refresh tokens are good once. No login page: tokens are issued to the test.
 */
import { createSign, generateKeyPairSync, randomUUID } from "node:crypto"
import { createServer } from "node:https"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { KeyPair } from "./certificates.ts"
import { listening } from "./listening.ts"

export interface Client {
  readonly id: string
  /** Sent by HTTP Basic, or in the form where `post` says so. */
  readonly secret?: string | undefined
  readonly post?: boolean | undefined
}

export interface OidcIssuer {
  readonly url: string
  /** An id token for this subject, and a refresh token for more of them. */
  readonly issue: (
    subject: string,
    expiresInSeconds: number
  ) => { readonly idToken: string; readonly refreshToken: string }
  /** How many refresh grants were answered, and how many refused. */
  readonly granted: () => number
  readonly refused: () => number
  /** How long the next id tokens live. */
  readonly setLifetime: (seconds: number) => void
}

const base64url = (value: string | Buffer) => Buffer.from(value).toString("base64url")

export const make = (options: {
  readonly certificate: KeyPair
  readonly client: Client
}): Effect.Effect<OidcIssuer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { client } = options
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
    const refreshTokens = new Map<string, string>()
    let granted = 0
    let refused = 0
    let lifetime = 3600
    let url = ""

    const sign = (claims: object): string => {
      const content = `${base64url(JSON.stringify({ alg: "RS256", kid: "1", typ: "JWT" }))}.${base64url(JSON.stringify(claims))}`
      return `${content}.${base64url(createSign("RSA-SHA256").update(content).sign(privateKey))}`
    }
    const issue: OidcIssuer["issue"] = (subject, expiresInSeconds) => {
      const iat = Math.floor(Date.now() / 1000)
      const refreshToken = randomUUID()
      refreshTokens.set(refreshToken, subject)
      const exp = iat + expiresInSeconds
      return { idToken: sign({ iss: url, aud: client.id, sub: subject, iat, exp }), refreshToken }
    }
    const isClient = (authorization: string | undefined, form: URLSearchParams): boolean => {
      if (client.secret === undefined || client.post === true) {
        return form.get("client_id") === client.id && (form.get("client_secret") ?? undefined) === client.secret
      }
      const [id, secret] = Buffer.from(authorization?.replace(/^Basic /, "") ?? "", "base64")
        .toString()
        .split(":")
        .map((part) => new URLSearchParams(`part=${part}`).get("part"))
      return id === client.id && secret === client.secret
    }
    const token = (authorization: string | undefined, form: URLSearchParams): readonly [number, object] => {
      const refreshToken = form.get("refresh_token") ?? ""
      const subject = refreshTokens.get(refreshToken)
      if (!isClient(authorization, form)) return [401, { error: "invalid_client" }]
      if (form.get("grant_type") !== "refresh_token" || subject === undefined) return [400, { error: "invalid_grant" }]
      refreshTokens.delete(refreshToken)
      const next = issue(subject, lifetime)
      return [
        200,
        {
          access_token: "an-access-token",
          token_type: "Bearer",
          expires_in: lifetime,
          id_token: next.idToken,
          refresh_token: next.refreshToken
        }
      ]
    }

    const server = createServer(options.certificate, (request, response) => {
      const answer = (status: number, body: object) =>
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
      switch (request.url) {
        case "/.well-known/openid-configuration":
          return answer(200, {
            issuer: url,
            authorization_endpoint: `${url}/authorize`,
            token_endpoint: `${url}/token`,
            jwks_uri: `${url}/keys`,
            response_types_supported: ["code"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["RS256"],
            token_endpoint_auth_methods_supported: [client.post === true ? "client_secret_post" : "client_secret_basic"]
          })
        case "/keys":
          return answer(200, {
            keys: [{ ...publicKey.export({ format: "jwk" }), kid: "1", alg: "RS256", use: "sig" }]
          })
        case "/token": {
          let text = ""
          return request
            .setEncoding("utf8")
            .on("data", (part: string) => {
              text += part
            })
            .on("end", () => {
              const [status, body] = token(request.headers.authorization, new URLSearchParams(text))
              if (status === 200) granted++
              else refused++
              answer(status, body)
            })
        }
        default:
          return answer(404, {})
      }
    })
    const port = yield* listening(server)
    url = `https://127.0.0.1:${port}`
    return {
      url,
      issue,
      granted: () => granted,
      refused: () => refused,
      setLifetime: (seconds) => {
        lifetime = seconds
      }
    }
  })
