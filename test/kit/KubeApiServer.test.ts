import { X509Certificate } from "node:crypto"
import { request } from "node:https"
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { KubeApiServer } from "./KubeApiServer.ts"
import { describeWith, need } from "./peers.ts"
import { run } from "./process.ts"

const computes = (namespace: string) => `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes`
const compute = (name: string, spec: unknown = { image: "example/server" }) => ({
  apiVersion: "compute.kpu.dev/v1alpha1",
  kind: "Compute",
  metadata: { name },
  spec
})

describeWith(["kubernetes", "kubectl"], "the real Kubernetes API for tests", () => {
  layer(KubeApiServer.layerWith({ users: { alice: [] } }), { excludeTestServices: true, timeout: "2 minutes" })(
    (it) => {
      it.effect("tells its version", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const { body } = yield* server.request("GET", "/version")
          assert.strictEqual(body.gitVersion, "v1.34.2")
        })
      )

      it.effect("takes a Compute and defaults what the operator's schema defaults", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const namespace = yield* server.namespace
          const { body, status } = yield* server.request("POST", computes(namespace), { body: compute("first") })
          assert.strictEqual(status, 201, JSON.stringify(body))
          assert.deepStrictEqual(body.spec, { image: "example/server", suspend: false })
        })
      )

      it.effect("refuses a name with the operator's own words", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const namespace = yield* server.namespace
          const digit = yield* server.request("POST", computes(namespace), { body: compute("1st") })
          assert.strictEqual(digit.status, 422)
          assert.strictEqual(digit.body.reason, "Invalid")
          assert.include(digit.body.details.causes[0].message, "metadata.name must match RFC 1035 DNS label format")
          const long = yield* server.request("POST", computes(namespace), { body: compute("a".repeat(64)) })
          assert.strictEqual(long.status, 422)
          assert.include(long.body.message, "metadata.name must be no more than 63 characters")
          const longest = yield* server.request("POST", computes(namespace), { body: compute("a".repeat(63)) })
          assert.strictEqual(longest.status, 201)
        })
      )

      it.effect("knows who may do what", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const stranger = yield* server.request("GET", computes("default"), { token: "wrong" })
          assert.strictEqual(stranger.status, 401)
          const alice = yield* server.request("GET", computes("default"), { token: server.users["alice"]!.token })
          assert.strictEqual(alice.status, 403)
        })
      )

      it.effect("takes client certificates of its client authority, and refuses others", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const ask = (pair: { readonly cert: string; readonly key: string }) =>
            Effect.promise(
              () =>
                new Promise<number>((done, fail) => {
                  request(`${server.url}${computes("default")}`, {
                    ...pair,
                    ca: server.serverAuthority.cert,
                    agent: false
                  })
                    .once("error", fail)
                    .once("response", (response) => done(response.resume().statusCode ?? 0))
                    .end()
                })
            )
          const issued = server.clientAuthority.issue({
            commonName: "bob",
            organizations: ["system:masters"],
            usage: "client"
          })
          assert.strictEqual(new X509Certificate(issued.cert).subject, "O=system:masters\nCN=bob")
          assert.strictEqual(yield* ask(issued), 200)
          const foreign = server.serverAuthority.issue({
            commonName: "bob",
            organizations: ["system:masters"],
            usage: "client"
          })
          assert.strictEqual(yield* ask(foreign), 401)
        })
      )

      it.effect("gives a kubeconfig that kubectl works with", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const { stdout } = yield* run(need("kubectl"), [
            "--kubeconfig",
            server.kubeconfig,
            "api-resources",
            "-o",
            "name"
          ])
          assert.include(stdout, "computes.compute.kpu.dev")
        })
      )

      it.effect("restarts with its data, and without", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const body = compute("kept")
          assert.strictEqual((yield* server.request("POST", computes("default"), { body })).status, 201)
          yield* server.restart({ data: "kept" })
          assert.strictEqual((yield* server.request("GET", `${computes("default")}/kept`)).status, 200)
          yield* server.restart({ data: "empty" })
          assert.strictEqual((yield* server.request("GET", `${computes("default")}/kept`)).status, 404)
          assert.strictEqual((yield* server.request("GET", computes("default"))).status, 200)
        })
      )
    }
  )
})
