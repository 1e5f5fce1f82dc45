/** OpenID Connect logins of a kubeconfig, on a real API server that trusts the provider. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { stringify } from "yaml"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { makeAuthority } from "../kit/certificates.ts"
import { temporaryFolder } from "../kit/folder.ts"
import * as KubeApiServer from "../kit/KubeApiServer.ts"
import { kubernetes, whoAmI } from "../kit/kubernetesClient.ts"
import * as OidcIssuer from "../kit/OidcIssuer.ts"
import { describeWith, peers } from "../kit/peers.ts"
import { run } from "../kit/process.ts"

const authority = makeAuthority("identity provider")
const certificate = authority.issue({ commonName: "idp", ipAddresses: ["127.0.0.1"], usage: "server" })
const base64 = (text: string) => Buffer.from(text).toString("base64")

const client = { id: "kpu", secret: "s3cret/with:reserved characters" }

const kubeconfig = (config: Record<string, string>, cluster: object = { server: "https://127.0.0.1:1" }) =>
  stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "it",
    clusters: [{ name: "it", cluster }],
    users: [{ name: "it", user: { "auth-provider": { name: "oidc", config } } }],
    contexts: [{ name: "it", context: { cluster: "it", user: "it" } }]
  })

const username = Effect.map(whoAmI, (user) => user.username)

describeWith(["kubernetes"], "an OpenID Connect login, on a real API server", () => {
  it.live(
    "serves while its id token is valid, is renewed when it expires, once for each time, as kubectl renews it",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const issuer = yield* OidcIssuer.make({ certificate, client })
        const caFile = folder.write("idp.pem", authority.cert)
        const server = yield* KubeApiServer.make({
          flags: [
            `--oidc-issuer-url=${issuer.url}`,
            `--oidc-client-id=${client.id}`,
            `--oidc-ca-file=${caFile}`,
            "--oidc-username-claim=sub",
            "--oidc-username-prefix=oidc:"
          ]
        })
        const cluster = { server: server.url, "certificate-authority-data": server.caData }
        const login = (lifetime: number) => {
          const { idToken, refreshToken } = issuer.issue("ada", lifetime)
          return {
            "idp-issuer-url": issuer.url,
            "idp-certificate-authority-data": base64(authority.cert),
            "client-id": client.id,
            "client-secret": client.secret,
            "id-token": idToken,
            "refresh-token": refreshToken
          }
        }
        const as = (file: string) => Effect.provide(username, kubernetes(KubeConfig.layerFile(file)))

        const valid = folder.write("valid", kubeconfig(login(3600), cluster))
        // the server learns of its provider's keys a moment after it has started
        yield* as(valid).pipe(Effect.retry({ times: 200, schedule: Schedule.spaced("100 millis") }))
        assert.strictEqual(yield* as(valid), "oidc:ada")
        assert.strictEqual(issuer.granted(), 0)

        const expired = folder.write("expired", kubeconfig(login(-60), cluster))
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* username, "oidc:ada")
          assert.strictEqual(issuer.granted(), 1)
          yield* Effect.all([username, username, username], { concurrency: "unbounded" })
          assert.strictEqual(issuer.granted(), 1, "kept while it is valid")
        }).pipe(Effect.provide(kubernetes(KubeConfig.layerFile(expired))))

        // 11 s of life are one second of use; the next renewal takes the refresh token of the first
        issuer.setLifetime(11)
        const short = folder.write("short", kubeconfig(login(-60), cluster))
        yield* Effect.gen(function* () {
          yield* username
          const { credentials } = yield* KubeConfig
          const first = yield* credentials
          yield* Effect.sleep("7 seconds")
          assert.notStrictEqual(yield* credentials, first)
          assert.strictEqual(issuer.granted(), 3)
          assert.strictEqual(yield* username, "oidc:ada")
        }).pipe(Effect.provide(kubernetes(KubeConfig.layerFile(short))))
        issuer.setLifetime(3600)

        const relative = { ...login(-60), "idp-certificate-authority": "idp.pem" }
        const { "idp-certificate-authority-data": _, ...withFile } = relative
        assert.strictEqual(yield* as(folder.write("relative", kubeconfig(withFile, cluster))), "oidc:ada")

        if (peers.kubectl === undefined) return
        const file = join(folder.path, "kubectl")
        writeFileSync(file, kubeconfig(login(-60), cluster))
        const { stdout } = yield* run(peers.kubectl, ["--kubeconfig", file, "auth", "whoami", "-o", "json"])
        assert.strictEqual(JSON.parse(stdout).status.userInfo.username, "oidc:ada")
      }).pipe(Effect.scoped),
    120_000
  )
})

describe("an OpenID Connect login", () => {
  const credentialsOf = (config: Record<string, string>) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = folder.write("config", kubeconfig(config))
      return yield* Effect.provide(found, Layer.fresh(KubeConfig.layerFile(file)))
    })
  const found = Effect.gen(function* () {
    return yield* KubeConfig
  })
  const failure = (config: Record<string, string>) =>
    Effect.gen(function* () {
      const { credentials } = yield* credentialsOf(config)
      const { message } = yield* Effect.flip(credentials)
      assert.include(message, "users[it].user.auth-provider")
      assert.notInclude(message, "s3cret")
      return message
    })

  const withIssuer = (client: OidcIssuer.Client) =>
    Effect.map(OidcIssuer.make({ certificate, client }), (issuer) => ({
      issuer,
      login: (more: Record<string, string> = {}) => {
        const { idToken, refreshToken } = issuer.issue("ada", -60)
        return {
          "idp-issuer-url": `${issuer.url}/`,
          "idp-certificate-authority-data": base64(authority.cert),
          "client-id": client.id,
          ...(client.secret === undefined ? {} : { "client-secret": client.secret }),
          "id-token": idToken,
          "refresh-token": refreshToken,
          ...more
        }
      }
    }))

  it.live("is renewed for public clients, and for those that send their secret in the form", () =>
    Effect.gen(function* () {
      for (const client of [{ id: "kpu" }, { id: "kpu", secret: "s3cret", post: true }]) {
        const { issuer, login } = yield* withIssuer(client)
        const { credentials } = yield* credentialsOf(login())
        yield* credentials
        assert.strictEqual(issuer.granted(), 1)
      }
    })
  )

  it.live("is renewed when the server refuses a token that has not expired", () =>
    Effect.gen(function* () {
      const { issuer, login } = yield* withIssuer(client)
      const { credentials, invalidate } = yield* credentialsOf(login({ "id-token": issuer.issue("ada", 3600).idToken }))
      yield* credentials
      assert.strictEqual(issuer.granted(), 0)
      yield* invalidate
      yield* credentials
      assert.strictEqual(issuer.granted(), 1)
    })
  )

  it.live("says what to do when it cannot be renewed, and shows no secret", () =>
    Effect.gen(function* () {
      const { issuer, login } = yield* withIssuer(client)
      const { "id-token": idToken, "refresh-token": _, ...rest } = login()
      assert.include(yield* failure(rest), "config.id-token: it is missing; log in again")
      assert.include(yield* failure({ ...rest, "id-token": idToken }), "config.refresh-token: it is missing, and")
      assert.include(yield* failure({ ...rest, "id-token": "no token" }), "config.refresh-token")
      const wrong = yield* failure(login({ "refresh-token": "s3cret" }))
      assert.include(wrong, "refused the refresh token (400: invalid_grant); log in again")
      assert.include(yield* failure(login({ "client-secret": "s3cret" })), "401: invalid_client")
      assert.include(yield* failure(login({ "client-id": "" })), "config.client-id")
      assert.include(yield* failure(login({ "idp-issuer-url": "nowhere" })), "config.idp-issuer-url")
      assert.include(yield* failure(login({ "idp-certificate-authority-data": "" })), "cannot be asked")
      assert.include(yield* failure(login({ "idp-certificate-authority-data": "bm8=" })), "no certificate in PEM form")
      assert.include(yield* failure(login({ "idp-issuer-url": "https://127.0.0.1:1" })), "ECONNREFUSED")
      assert.include(yield* failure(login({ "idp-issuer-url": `${issuer.url}/tenant` })), "no discovery document")
    })
  )

  it.live("is asked for when a request is made, and its failure is the request's", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = folder.write("config", kubeconfig({ "client-id": "kpu" }))
      const error = yield* Effect.flip(Effect.provide(username, kubernetes(KubeConfig.layerFile(file))))
      assert.propertyVal(error, "_tag", "KubeConfigError")
    })
  )
})
