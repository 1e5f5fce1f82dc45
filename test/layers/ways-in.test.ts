/**
 * Every way to a cluster, and every way to be refused, on a real API server.
 */

import { readFileSync } from "node:fs"
import { delimiter } from "node:path"
import { assert, layer } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import { stringify } from "yaml"
import * as Compute from "../../src/Compute.ts"
import { Kpu } from "../../src/Kpu.ts"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { ServiceAccountFolder } from "../../src/layers/internal/kubernetes/serviceAccount.ts"
import type { KubeConfigOptions } from "../../src/layers/KubeConfigOptions.ts"
import type { KubeConfigError } from "../../src/schema/KpuError.ts"
import { KubernetesError, type KubernetesErrorReason } from "../../src/schema/KubernetesError.ts"
import { ComputeApi } from "../../src/services/ComputeApi.ts"
import type * as Service from "../../src/services/KubeConfig.ts"
import * as ConnectProxy from "../kit/ConnectProxy.ts"
import { makeAuthority } from "../kit/certificates.ts"
import { type Folder, temporaryFolder } from "../kit/folder.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"
import { kubernetes, whoAmI } from "../kit/kubernetesClient.ts"
import { describeWith, peers } from "../kit/peers.ts"
import { run } from "../kit/process.ts"
import * as SocksProxy from "../kit/SocksProxy.ts"
import * as TcpProxy from "../kit/TcpProxy.ts"

interface Machine {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly serviceAccount?: string | undefined
}

const on = <A, E>(machine: Machine, layer: Layer.Layer<A, E>): Layer.Layer<A, E> =>
  layer.pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { ...machine.env } }))),
    Layer.provide(Layer.succeed(ServiceAccountFolder, machine.serviceAccount ?? "/nonexistent/serviceaccount"))
  )

const list = Effect.gen(function* () {
  const api = yield* ComputeApi
  return yield* api.list({ namespace: "default" })
})

/** The way leads to the API server, and these credentials may list. */
const leads = <E>(config: Layer.Layer<Service.KubeConfig, E>, machine: Machine = {}) =>
  Effect.asVoid(Effect.provide(list, kubernetes(on(machine, config))))

const refusal = <E>(config: Layer.Layer<Service.KubeConfig, E>, machine: Machine = {}) =>
  Effect.map(Effect.flip(Effect.provide(list, kubernetes(on(machine, config)))), (error): KubernetesErrorReason => {
    if (error instanceof KubernetesError) return error.reason
    throw error
  })

const soon = Schedule.spaced("50 millis")

const base64 = (text: string) => Buffer.from(text).toString("base64")

/** A kubeconfig with one context for each user. */
const kubeconfig = (users: Record<string, object>, cluster: object, current?: string) =>
  stringify({
    apiVersion: "v1",
    kind: "Config",
    ...(current === undefined ? {} : { "current-context": current }),
    clusters: [{ name: "it", cluster }],
    users: Object.entries(users).map(([name, user]) => ({ name, user })),
    contexts: Object.keys(users).map((name) => ({ name, context: { cluster: "it", user: name } }))
  })

/** A credential plugin in JavaScript: `body` makes `status`, with the count of runs so far as `run`. */
const plugin = (folder: Folder, body: string, apiVersion = "client.authentication.k8s.io/v1") =>
  folder.write(
    "plugin.mjs",
    `#!${process.execPath}
import { appendFileSync, readFileSync } from "node:fs"
const log = ${JSON.stringify(`${folder.path}/runs`)}
appendFileSync(log, (process.env.KUBERNETES_EXEC_INFO ?? "") + "\\n")
const run = readFileSync(log, "utf8").trim().split("\\n").length
const status = (() => { ${body} })()
process.stdout.write(JSON.stringify({ kind: "ExecCredential", apiVersion: ${JSON.stringify(apiVersion)}, status }))
`,
    0o700
  )

const runs = (folder: Folder): ReadonlyArray<any> =>
  readFileSync(`${folder.path}/runs`, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))

/** Rights for the user bob, or for the group team. */
const role = (server: KubeApiServer["Service"], kind: "users" | "groups", rules: ReadonlyArray<object>) =>
  Effect.gen(function* () {
    const rbac = "/apis/rbac.authorization.k8s.io/v1"
    const subject = kind === "users" ? { kind: "User", name: "bob" } : { kind: "Group", name: "team" }
    const apiGroup = "rbac.authorization.k8s.io"
    for (const [path, body] of [
      [`${rbac}/clusterroles`, { metadata: { name: `of-${kind}` }, rules }],
      [
        `${rbac}/clusterrolebindings`,
        {
          metadata: { name: `of-${kind}` },
          roleRef: { apiGroup, kind: "ClusterRole", name: `of-${kind}` },
          subjects: [{ apiGroup, ...subject }]
        }
      ]
    ] as const) {
      const { status } = yield* server.request("POST", path, { body })
      assert.strictEqual(status, 201)
    }
  })

describeWith(["kubernetes"], "the ways to a real API server", () => {
  layer(KubeApiServer.layerWith({ users: { bob: [] } }), { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    const options = (server: KubeApiServer["Service"], more: Partial<KubeConfigOptions> = {}) =>
      KubeConfig.layerOptions({ server: server.url, caData: server.caData, token: server.token, ...more })

    it.effect("explicit options: token, and CA as data or file", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        yield* leads(options(server))
        yield* leads(KubeConfig.layerOptions({ server: server.url, token: server.token, caFile: server.caFile }))
      })
    )

    it.effect("a kubeconfig at home, by KUBECONFIG, as a list, and by a named context", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const cluster = { server: server.url, "certificate-authority-data": server.caData }
        const users = { good: { token: server.token }, wrong: { token: "wrong" } }
        const home = folder.write(".kube/config", kubeconfig(users, cluster, "good"))
        yield* leads(KubeConfig.layer, { env: { HOME: folder.path } })
        yield* leads(KubeConfig.layer, { env: { KUBECONFIG: home } })
        const current = folder.write("current", stringify({ "current-context": "wrong" }))
        const both = { KUBECONFIG: [current, `${folder.path}/missing`, home].join(delimiter) }
        assert.strictEqual((yield* refusal(KubeConfig.layer, { env: both }))._tag, "Unauthorized")
        yield* leads(KubeConfig.layerFile(home))
        const wrong = yield* refusal(KubeConfig.layerFile(home, { context: "wrong" }))
        assert.strictEqual(wrong._tag, "Unauthorized")
        assert.include(wrong.message, `context wrong of ${home}`)
        assert.notInclude(JSON.stringify(wrong), server.token)
      })
    )

    it.effect("a token file, read again when the server refuses what it held", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const tokenFile = folder.write("token", "stale")
        yield* Effect.gen(function* () {
          assert.strictEqual((yield* Effect.flip(list))._tag, "KubernetesError")
          folder.write("token", server.token)
          yield* list
        }).pipe(Effect.provide(kubernetes(options(server, { token: undefined, tokenFile }))))
      })
    )

    it.effect("a client certificate, as data and as files", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const { cert, key } = server.clientAuthority.issue({
          commonName: "ada",
          organizations: ["system:masters"],
          usage: "client"
        })
        yield* leads(options(server, { token: undefined, certData: cert, keyData: base64(key) }))
        const certFile = folder.write("cert.pem", cert)
        const keyFile = folder.write("key.pem", key)
        yield* leads(options(server, { token: undefined, certFile, keyFile }))
        const stranger = makeAuthority("stranger").issue({ commonName: "ada", usage: "client" })
        const reason = yield* refusal(
          options(server, { token: undefined, certData: stranger.cert, keyData: stranger.key })
        )
        assert.include(["Unauthorized", "Transport"], reason._tag)
      })
    )

    it.effect("client certificate files that rotate: new ones count for the next request, on new connections", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const write = (commonName: string, organizations: ReadonlyArray<string>) => {
          const { cert, key } = server.clientAuthority.issue({ commonName, organizations, usage: "client" })
          folder.write("cert.pem", cert)
          folder.write("key.pem", key)
        }
        write("eve", [])
        const files = { certFile: `${folder.path}/cert.pem`, keyFile: `${folder.path}/key.pem` }
        yield* Effect.gen(function* () {
          const denied = yield* Effect.flip(list)
          assert.include(denied.message, `User "eve" cannot list`)
          write("ada", ["system:masters"])
          yield* (yield* KubeConfig).invalidate
          yield* Effect.all([list, list, list], { concurrency: "unbounded" })
        }).pipe(Effect.provide(kubernetes(options(server, { token: undefined, ...files }))))
      })
    )

    it.effect("a service account, whose token rotates", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        folder.write("token", "stale")
        folder.write("ca.crt", server.serverAuthority.cert)
        folder.write("namespace", "default")
        const machine = {
          env: { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(server.port) },
          serviceAccount: folder.path
        }
        yield* Effect.gen(function* () {
          assert.propertyVal(yield* Effect.flip(list), "_tag", "KubernetesError")
          folder.write("token", `${server.token}\n`)
          yield* list
        }).pipe(Effect.provide(kubernetes(on(machine, KubeConfig.layerInCluster))))
        yield* leads(KubeConfig.layerInCluster, machine)
        yield* leads(KubeConfig.layer, machine)
      })
    )

    it.effect("an exec plugin, told of the cluster where it asks for that, and run once", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        plugin(folder, `return { token: process.env.THE_TOKEN }`)
        const file = folder.write(
          "config",
          kubeconfig(
            {
              it: {
                exec: {
                  apiVersion: "client.authentication.k8s.io/v1",
                  command: "./plugin.mjs",
                  env: [{ name: "THE_TOKEN", value: server.token }],
                  interactiveMode: "Never",
                  provideClusterInfo: true
                }
              }
            },
            {
              server: server.url,
              "certificate-authority-data": server.caData,
              extensions: [{ name: "client.authentication.k8s.io/exec", extension: { audience: "a" } }]
            },
            "it"
          )
        )
        yield* Effect.gen(function* () {
          yield* list
          yield* Effect.all([list, list, list], { concurrency: "unbounded" })
        }).pipe(Effect.provide(kubernetes(KubeConfig.layerFile(file))))
        const [info, ...more] = runs(folder)
        assert.deepStrictEqual(more, [])
        assert.strictEqual(info.kind, "ExecCredential")
        assert.strictEqual(info.apiVersion, "client.authentication.k8s.io/v1")
        assert.strictEqual(info.spec.interactive, false)
        assert.strictEqual(info.spec.cluster.server, server.url)
        assert.strictEqual(info.spec.cluster["certificate-authority-data"], base64(server.serverAuthority.cert))
        assert.deepStrictEqual(info.spec.cluster.config, { audience: "a" })
      })
    )

    it.effect("an exec plugin's credentials are renewed when they have expired, and when the server refuses them", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const command = plugin(
          folder,
          `const expirationTimestamp = new Date(Date.now() + (run === 2 ? 1000 : 3600_000)).toISOString()
           return { token: run === 1 ? "refused" : process.env.THE_TOKEN, expirationTimestamp }`
        )
        const exec = { command, env: { THE_TOKEN: server.token } }
        yield* Effect.gen(function* () {
          yield* list
          assert.strictEqual(runs(folder).length, 2, "refused, then renewed")
          yield* Effect.sleep(1100)
          yield* list
          assert.strictEqual(runs(folder).length, 3, "expired, then renewed")
          yield* list
          assert.strictEqual(runs(folder).length, 3, "kept")
        }).pipe(Effect.provide(kubernetes(options(server, { token: undefined, exec }))))
        assert.isUndefined(runs(folder)[0].spec.cluster)
      })
    )

    it.effect("an exec plugin that is asked in vain is asked once more, and not for ever", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const command = plugin(folder, `return { token: "wrong" }`)
        const reason = yield* refusal(options(server, { token: undefined, exec: { command } }))
        assert.strictEqual(reason._tag, "Unauthorized")
        assert.strictEqual(runs(folder).length, 2)
      })
    )

    it.effect("an exec plugin that gives a client certificate", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const { cert, key } = server.clientAuthority.issue({
          commonName: "ada",
          organizations: ["system:masters"],
          usage: "client"
        })
        const command = plugin(
          folder,
          `return ${JSON.stringify({ clientCertificateData: cert, clientKeyData: key })}`,
          "client.authentication.k8s.io/v1beta1"
        )
        const exec = { command, apiVersion: "client.authentication.k8s.io/v1beta1" }
        yield* leads(options(server, { token: undefined, exec }))
      })
    )

    it.effect("a server that is not to be checked, and one that is", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        yield* leads(options(server, { caData: undefined, insecureSkipTlsVerify: true }))
        const unknown = yield* refusal(options(server, { caData: undefined }))
        assert.strictEqual(unknown._tag, "Transport")
        assert.include(unknown.message, "not signed by an authority")
        assert.include(unknown.message, "caData")
        assert.isFalse(unknown.isRetryable)
        const other = yield* refusal(options(server, { caData: base64(makeAuthority("other").cert) }))
        assert.include(other.message, "not signed by an authority")
      })
    )

    it.effect("a server under another name", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        yield* leads(options(server, { tlsServerName: "kubernetes.default.svc" }))
        const wrong = yield* refusal(options(server, { tlsServerName: "elsewhere.example" }))
        assert.strictEqual(wrong._tag, "Transport")
        assert.include(wrong.message, "is for another host")
        assert.include(wrong.message, "tls-server-name")
      })
    )

    it.effect("a proxy from the environment, and one of the configuration's own", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const proxy = yield* ConnectProxy.make({ port: server.port })
        // this name is in the server's certificate, and resolves nowhere
        const url = "https://kubernetes.default.svc:6443"
        yield* leads(options(server, { server: url }), { env: { HTTPS_PROXY: proxy.url } })
        assert.deepStrictEqual([...new Set(proxy.asked)], ["kubernetes.default.svc:6443"])
        yield* leads(options(server, { proxyUrl: proxy.url }))
        assert.include(proxy.asked, `127.0.0.1:${server.port}`)
        const socks = yield* SocksProxy.make({ port: server.port })
        yield* leads(options(server, { server: url, proxyUrl: socks.url }))
        assert.isAtLeast(socks.count(), 1)
      })
    )

    it.effect("a proxy that wants a name and a password, and one that does not let through", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const proxy = yield* ConnectProxy.make({ port: server.port, authorization: `Basic ${base64("ada:s3cret")}` })
        const url = "https://kubernetes.default.svc:6443"
        const { host } = new URL(proxy.url)
        yield* leads(options(server, { server: url }), { env: { HTTPS_PROXY: `http://ada:s3cret@${host}` } })
        const refused = yield* refusal(options(server, { server: url }), { env: { HTTPS_PROXY: proxy.url } })
        assert.strictEqual(refused._tag, "Transport")
        assert.include(refused.message, "the proxy did not connect")
        assert.include(refused.message, "407")
        const wrong = yield* refusal(options(server, { server: url, proxyUrl: `http://ada:wrong-s3cret@${host}` }))
        assert.notInclude(wrong.message, "s3cret")
        // NO_PROXY by suffix and by network: the request goes past the proxy
        const before = proxy.asked.length
        const direct = { HTTPS_PROXY: proxy.url, NO_PROXY: ".default.svc,10.0.0.0/8" }
        const unresolved = yield* refusal(options(server, { server: url }), { env: direct })
        assert.include(unresolved.message, "cannot be resolved")
        assert.strictEqual(proxy.asked.length, before)
      })
    )

    it.effect("over a connection that is kept between requests seconds apart", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const between = yield* TcpProxy.make({ host: "127.0.0.1", port: server.port })
        yield* Effect.gen(function* () {
          yield* list
          yield* Effect.sleep("6 seconds")
          yield* list
        }).pipe(Effect.provide(kubernetes(options(server, { server: `https://127.0.0.1:${between.port}` }))))
        assert.strictEqual(between.accepted(), 1)
      })
    )

    it.effect("a user who may not: the error names verb, resource and user, and nothing is tried again", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const reason = yield* refusal(options(server, { token: server.users["bob"]!.token }))
        assert.strictEqual(reason._tag, "Forbidden")
        assert.include(reason.message, `User "bob" cannot list resource "computes"`)
        assert.include(reason.message, "docs/kubernetes.md")
      })
    )

    it.effect(
      "another user, where the cluster allows to act as one: with uid, groups and extras as kubectl sends them",
      () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const folder = yield* temporaryFolder
          const cluster = { server: server.url, "certificate-authority-data": server.caData }
          const token = server.users["bob"]!.token
          const as = {
            as: "jané",
            "as-uid": "07-11",
            "as-groups": ["team", "another, with a comma"],
            "as-user-extra": { "example.com/Scopes 50%": ["view", "write, später"], other: ["x"] }
          }
          const file = folder.write("config", kubeconfig({ jane: { token, ...as } }, cluster, "jane"))

          const forbidden = yield* refusal(KubeConfig.layerFile(file))
          assert.strictEqual(forbidden._tag, "Forbidden")
          assert.include(forbidden.message, `User "bob" cannot impersonate`)

          const impersonate = (resources: ReadonlyArray<string>, apiGroups: ReadonlyArray<string>) => ({
            verbs: ["impersonate"],
            apiGroups,
            resources
          })
          yield* role(server, "users", [
            impersonate(["users", "groups"], [""]),
            impersonate(["uids", "userextras/example.com/scopes 50%", "userextras/other"], ["authentication.k8s.io"])
          ])
          // the authorizer hears of a new role a moment later
          const denied = yield* refusal(KubeConfig.layerFile(file)).pipe(
            Effect.repeat({ until: ({ message }) => !message.includes("impersonate"), schedule: soon })
          )
          assert.strictEqual(denied._tag, "Forbidden")
          assert.include(denied.message, `User "jané" cannot list resource "computes"`)

          yield* role(server, "groups", [{ verbs: ["list"], apiGroups: ["compute.kpu.dev"], resources: ["computes"] }])
          yield* leads(KubeConfig.layerFile(file)).pipe(Effect.retry({ times: 100, schedule: soon }))

          const expected = {
            username: as.as,
            uid: as["as-uid"],
            groups: [...as["as-groups"], "system:authenticated"],
            extra: { "example.com/scopes 50%": as["as-user-extra"]["example.com/Scopes 50%"], other: ["x"] }
          }
          const ofFile = yield* Effect.provide(whoAmI, kubernetes(on({}, KubeConfig.layerFile(file))))
          assert.deepStrictEqual(ofFile, expected)
          const impersonation = {
            user: as.as,
            uid: as["as-uid"],
            groups: as["as-groups"],
            extra: as["as-user-extra"]
          }
          const ofOptions = options(server, { token, impersonate: impersonation })
          assert.deepStrictEqual(yield* Effect.provide(whoAmI, kubernetes(on({}, ofOptions))), expected)
          if (peers.kubectl !== undefined) {
            const { stdout } = yield* run(peers.kubectl, ["--kubeconfig", file, "auth", "whoami", "-o", "json"])
            assert.deepStrictEqual(JSON.parse(stdout).status.userInfo, expected)
          }
        })
    )

    it.effect("plain http to a server that speaks https says so", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const reason = yield* refusal(
          KubeConfig.layerOptions({ server: `http://127.0.0.1:${server.port}`, token: server.token })
        )
        assert.strictEqual(reason._tag, "BadResponse")
        assert.include(reason.message, "HTTPS")
      })
    )
  })
})

describeWith(["kubernetes"], "the namespace of the first Compute", () => {
  layer(KubeApiServer.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("is the explicit one, else the context's, else the service account's, else default", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const folder = yield* temporaryFolder
        const [explicit, ofContext, mounted] = [
          yield* server.namespace,
          yield* server.namespace,
          yield* server.namespace
        ]
        folder.write("sa/namespace", mounted)
        const serviceAccount = `${folder.path}/sa`
        const file = (namespace?: string) =>
          KubeConfig.layerFile(server.writeKubeconfig(`of-${namespace}`, { namespace }))
        const of = (
          settings: { readonly config: Layer.Layer<Service.KubeConfig, KubeConfigError>; readonly namespace?: string },
          machine: Machine
        ) =>
          Compute.apply({ name: "first", image: "example/a" }).pipe(
            Effect.map(({ namespace }) => namespace),
            Effect.scoped,
            Effect.provide(on(machine, Kpu.layerWith(settings)))
          )
        assert.strictEqual(yield* of({ config: file(ofContext), namespace: explicit }, { serviceAccount }), explicit)
        assert.strictEqual(yield* of({ config: file(ofContext) }, { serviceAccount }), ofContext)
        assert.strictEqual(yield* of({ config: file() }, { serviceAccount }), mounted)
        assert.strictEqual(yield* of({ config: file() }, {}), "default")
        for (const namespace of [explicit, ofContext, mounted, "default"]) {
          const { status } = yield* server.request(
            "GET",
            `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes/first`
          )
          assert.strictEqual(status, 200, namespace)
        }
      })
    )
  })
})

describeWith(["kubernetes"], "an API server that takes one change at a time", () => {
  const flags = ["--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=1"]
  layer(KubeApiServer.layerWith({ flags, users: { bob: [] } }), { excludeTestServices: true, timeout: "2 minutes" })(
    (it) => {
      it.effect("answers 429 to the others, who come back as late as it asks for, and are all served", () =>
        Effect.gen(function* () {
          const server = yield* KubeApiServer
          const namespace = yield* server.namespace
          const warnings: Array<string> = []
          const logger = Logger.make<unknown, void>(({ message }) => {
            warnings.push(String(message))
          })
          // group system:masters is never asked to wait
          yield* role(server, "users", [{ verbs: ["*"], apiGroups: ["compute.kpu.dev"], resources: ["computes"] }])
          const token = server.users["bob"]!.token
          const config = KubeConfig.layerOptions({ server: server.url, caData: server.caData, token })
          yield* Effect.gen(function* () {
            const api = yield* ComputeApi
            yield* api.list({ namespace }).pipe(Effect.retry({ times: 100, schedule: soon }))
            yield* Effect.forEach(
              Array.from({ length: 12 }, (_, i) => `c-${i}`),
              (name) => api.apply({ namespace, name, spec: { image: "example/a" } }),
              { concurrency: "unbounded" }
            )
            assert.strictEqual((yield* api.list({ namespace })).items.length, 12)
          }).pipe(Effect.provide(kubernetes(config)), Effect.provide(Logger.layer([logger])))
          const throttled = warnings.filter((line) =>
            line.includes("the API server is asked too much, again after 1 s")
          )
          assert.isAbove(throttled.length, 0)
          for (const line of throttled) {
            const [, millis] = /trying again in (\d+) ms/.exec(line) ?? []
            assert.isAtLeast(Number(millis), 1000)
          }
        })
      )
    }
  )
})

describeWith(["kubernetes"], "an API server without the Compute resource", () => {
  layer(KubeApiServer.layerWith({ crd: false }), { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("is told from one without the Compute, and what to install is said", () =>
      Effect.gen(function* () {
        const server = yield* KubeApiServer
        const config = KubeConfig.layerOptions({ server: server.url, caData: server.caData, token: server.token })
        yield* Effect.gen(function* () {
          const api = yield* ComputeApi
          const ref = { namespace: "default", name: "a" }
          for (const request of [
            api.get(ref),
            api.list({ namespace: "default" }),
            api.apply({ ...ref, spec: { image: "a" } })
          ]) {
            const error = yield* Effect.flip(request as Effect.Effect<unknown, any>)
            assert.strictEqual(error.reason._tag, "CrdNotInstalled")
            assert.include(error.message, "install the KPU operator")
          }
          assert.strictEqual(yield* api.delete(ref), "absent")
        }).pipe(Effect.provide(kubernetes(config)))
      })
    )
  })
})
