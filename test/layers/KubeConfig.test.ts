import { createPrivateKey } from "node:crypto"
import { delimiter } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { ServiceAccountFolder } from "../../src/layers/internal/kubernetes/serviceAccount.ts"
import { Namespace } from "../../src/Namespace.ts"
import type { KubeConfigError } from "../../src/schema/KpuError.ts"
import type * as Service from "../../src/services/KubeConfig.ts"
import { type Authority, makeAuthority } from "../kit/certificates.ts"
import { type Folder, temporaryFolder } from "../kit/folder.ts"

const authority: Authority = makeAuthority("test authority")
const base64 = (text: string) => Buffer.from(text).toString("base64")

/** A kubeconfig of one context, in the words of a person. */
const kubeconfig = (
  name: string,
  options: { cluster?: string; user?: string; namespace?: string; current?: boolean } = {}
) =>
  `
apiVersion: v1
kind: Config
${options.current === false ? "" : `current-context: ${name}`}
clusters:
- name: ${name}
  cluster: ${options.cluster ?? `{server: "https://${name}.example:6443"}`}
users:
- name: ${name}
  user: ${options.user ?? `{token: token-of-${name}}`}
contexts:
- name: ${name}
  context: {cluster: ${name}, user: ${name}${options.namespace === undefined ? "" : `, namespace: ${options.namespace}`}}
`

interface Machine {
  readonly env?: Readonly<Record<string, string>>
  readonly serviceAccount?: string
}

/** On a machine with only these environment variables, and its service account there. */
const on = <A, E>(machine: Machine, layer: Layer.Layer<A, E>): Layer.Layer<A, E> =>
  layer.pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { ...machine.env } }))),
    Layer.provide(Layer.succeed(ServiceAccountFolder, machine.serviceAccount ?? "/nonexistent/serviceaccount"))
  )

const found = (layer: Layer.Layer<Service.KubeConfig, KubeConfigError>) => Effect.provide(Service_, Layer.fresh(layer))
const Service_ = Effect.gen(function* () {
  return yield* KubeConfig
})
const failed = (layer: Layer.Layer<Service.KubeConfig, KubeConfigError>) => Effect.flip(found(layer))

const authorization = (config: Service.KubeConfig["Service"]) =>
  Effect.map(config.credentials, ({ authorization }) =>
    authorization === undefined ? undefined : Redacted.value(authorization)
  )

const serviceAccount = (folder: Folder, namespace = "pods-own") => {
  folder.write("sa/token", "first-token\n")
  folder.write("sa/ca.crt", authority.cert)
  folder.write("sa/namespace", namespace)
  return `${folder.path}/sa`
}

const pod = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" }

describe("finding a cluster", () => {
  it.effect("takes ~/.kube/config where KUBECONFIG is not set", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      folder.write(".kube/config", kubeconfig("home", { namespace: "team-a" }))
      const config = yield* found(on({ env: { HOME: folder.path } }, KubeConfig.layer))
      assert.strictEqual(config.server, "https://home.example:6443")
      assert.strictEqual(config.namespace, "team-a")
      assert.strictEqual(yield* authorization(config), "Bearer token-of-home")
      assert.include(config.source, `${folder.path}/.kube/config`)
    })
  )

  it.effect("takes the file of KUBECONFIG, and not the one at home", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      folder.write(".kube/config", kubeconfig("home"))
      const KUBECONFIG = folder.write("other", kubeconfig("other"))
      const config = yield* found(on({ env: { HOME: folder.path, KUBECONFIG } }, KubeConfig.layer))
      assert.strictEqual(config.server, "https://other.example:6443")
    })
  )

  it.effect(
    "merges a list: the first current-context and the first entry of a name win, whole; missing files are skipped",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const first = folder.write(
          "first",
          `
current-context: both
clusters: [{name: shared, cluster: {server: "https://first.example"}}]
users: null
contexts: null
`
        )
        const second = folder.write(
          "second",
          `
current-context: other
clusters: [{name: shared, cluster: {server: "https://second.example", tls-server-name: second}}]
users: [{name: user, user: {token: from-second}}]
contexts: [{name: both, context: {cluster: shared, user: user}}, {name: other, context: {cluster: shared}}]
`
        )
        const KUBECONFIG = [first, `${folder.path}/missing`, "", second].join(delimiter)
        const config = yield* found(on({ env: { KUBECONFIG } }, KubeConfig.layer))
        assert.strictEqual(config.server, "https://first.example")
        assert.isUndefined(config.trust.serverName)
        assert.strictEqual(yield* authorization(config), "Bearer from-second")
      })
  )

  it.effect("starts relative paths from the folder of the file that they stand in", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      folder.write("a/ca.pem", authority.cert)
      folder.write("b/token", "relative")
      const a = folder.write(
        "a/config",
        `
current-context: c
clusters: [{name: k, cluster: {server: "https://a.example", certificate-authority: ca.pem}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
`
      )
      const b = folder.write("b/config", "users: [{name: u, user: {tokenFile: token}}]")
      const config = yield* found(on({ env: { KUBECONFIG: `${a}${delimiter}${b}` } }, KubeConfig.layer))
      assert.strictEqual(config.trust.ca, authority.cert)
      assert.strictEqual(yield* authorization(config), "Bearer relative")
    })
  )

  it.effect("takes the service account where there is no kubeconfig", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const config = yield* found(
        on({ env: { HOME: folder.path, ...pod }, serviceAccount: serviceAccount(folder) }, KubeConfig.layer)
      )
      assert.strictEqual(config.server, "https://10.0.0.1:443")
      assert.strictEqual(config.namespace, "pods-own")
      assert.strictEqual(config.trust.ca, authority.cert)
      assert.strictEqual(yield* authorization(config), "Bearer first-token")
    })
  )

  it.effect("passes over an empty kubeconfig", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const KUBECONFIG = folder.write("empty", "")
      const config = yield* found(
        on({ env: { KUBECONFIG, ...pod }, serviceAccount: serviceAccount(folder) }, KubeConfig.layer)
      )
      assert.strictEqual(config.server, "https://10.0.0.1:443")
    })
  )

  it.effect("lists every place that it has tried, and never guesses localhost:8080", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const error = yield* failed(on({ env: { HOME: folder.path } }, KubeConfig.layer))
      assert.deepStrictEqual(
        error.tried.map(({ source }) => source),
        ["KUBECONFIG", `the default kubeconfig ${folder.path}/.kube/config`, "the service account of a Pod"]
      )
      assert.include(error.message, "no such file")
      assert.include(error.message, "KUBERNETES_SERVICE_HOST")
      const KUBECONFIG = `${folder.path}/a${delimiter}${folder.path}/b`
      const list = yield* failed(on({ env: { KUBECONFIG } }, KubeConfig.layer))
      assert.deepStrictEqual(
        list.tried.map(({ source }) => source),
        [`KUBECONFIG ${folder.path}/a`, `KUBECONFIG ${folder.path}/b`, "the service account of a Pod"]
      )
    })
  )

  it.effect("stops at a broken kubeconfig, even where a service account would do", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const KUBECONFIG = folder.write("broken", "clusters: [unclosed")
      const error = yield* failed(
        on({ env: { KUBECONFIG, ...pod }, serviceAccount: serviceAccount(folder) }, KubeConfig.layer)
      )
      assert.include(error.message, KUBECONFIG)
      assert.include(error.message, "not YAML")
    })
  )
})

describe("a kubeconfig file", () => {
  const file = Effect.fnUntraced(function* (content: string, context?: string) {
    const folder = yield* temporaryFolder
    const path = folder.write("config", content)
    return { path, layer: on({}, KubeConfig.layerFile(path, { context })) }
  })

  it.effect("leads to a named context as well as to its current one", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = folder.write(
        "config",
        `
current-context: one
clusters: [{name: one, cluster: {server: "https://one.example/"}}, {name: two, cluster: {server: "https://two.example/k8s/"}}]
contexts: [{name: one, context: {cluster: one}}, {name: two, context: {cluster: two}}]
`
      )
      assert.strictEqual((yield* found(on({}, KubeConfig.layerFile(path)))).server, "https://one.example")
      const two = yield* found(on({}, KubeConfig.layerFile(path, { context: "two" })))
      assert.strictEqual(two.server, "https://two.example/k8s")
      assert.deepStrictEqual(yield* two.credentials, {})
    })
  )

  const faults: ReadonlyArray<readonly [string, string, ReadonlyArray<string>]> = [
    ["no YAML", "a: [", ["not YAML", "line 1"]],
    ["no mapping", "- 1", ["not a mapping"]],
    ["a field of the wrong type", kubeconfig("x", { user: "{token: 12345}" }), ["users[0].user.token", "wrong type"]],
    [
      "a user's name twice",
      kubeconfig("x").replace("users:\n", "users:\n- {name: x, user: {token: '12345'}}\n"),
      [`field users names "x" twice`]
    ],
    ["no current context", kubeconfig("x", { current: false }), ["current-context is not set", "it has x"]],
    [
      "a context that is not there",
      kubeconfig("x").replace("current-context: x", "current-context: y"),
      [`no context "y"`, "it has x"]
    ],
    [
      "a cluster that is not there",
      kubeconfig("x").replace("{cluster: x", "{cluster: z"),
      ["contexts[x].context.cluster", `no cluster "z"`]
    ],
    [
      "a user that is not there",
      kubeconfig("x").replace("user: x", "user: z"),
      ["contexts[x].context.user", `no user "z"`]
    ],
    ["no server", kubeconfig("x", { cluster: "{}" }), ["clusters[x].cluster.server", "missing"]],
    [
      "a server that is no URL",
      kubeconfig("x", { cluster: "{server: example}" }),
      ["clusters[x].cluster.server", `"example"`]
    ],
    [
      "a CA that is none",
      kubeconfig("x", { cluster: `{server: "https://x", certificate-authority-data: ${base64("no")}}` }),
      ["certificate-authority-data", "PEM"]
    ],
    [
      "a CA file that is not there",
      kubeconfig("x", { cluster: `{server: "https://x", certificate-authority: gone.pem}` }),
      ["certificate-authority", "gone.pem", "no such file"]
    ],
    [
      "a CA and no check of it",
      kubeconfig("x", {
        cluster: `{server: "https://x", certificate-authority-data: ${base64(authority.cert)}, insecure-skip-tls-verify: true}`
      }),
      ["contradicts", "insecure-skip-tls-verify"]
    ],
    [
      "a token file that is not there",
      kubeconfig("x", { user: "{tokenFile: gone}" }),
      ["users[x].user.tokenFile", "no such file"]
    ],
    ["an empty token", kubeconfig("x", { user: `{token: " "}` }), ["users[x].user.token", "empty"]],
    [
      "a certificate without its key",
      kubeconfig("x", { user: `{client-certificate-data: ${base64(authority.cert)}}` }),
      ["client-key-data", "missing"]
    ],
    [
      "groups to impersonate, and no user",
      kubeconfig("x", { user: "{token: t, as-groups: [a]}" }),
      ["users[x].user.as-groups", "set ", "users[x].user.as"]
    ],
    [
      "a user to impersonate that would end a header",
      kubeconfig("x", { user: `{token: t, as: "a\\r\\nb: c"}` }),
      ["users[x].user.as:", "no HTTP header"]
    ],
    [
      "a proxy that is none",
      kubeconfig("x", { cluster: `{server: "https://x", proxy-url: "ftp://u:secret@p"}` }),
      ["proxy-url", "http://"]
    ]
  ]
  for (const [title, content, expected] of faults) {
    it.effect(`with ${title} is refused by file and field`, () =>
      Effect.gen(function* () {
        const { layer, path } = yield* file(content)
        const { message } = yield* failed(layer)
        assert.include(message, path)
        for (const part of expected) assert.include(message, part)
        assert.notInclude(message, "12345")
        assert.notInclude(message, "secret")
      })
    )
  }

  it.effect("that is not there, or a folder, is refused by its path", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const missing = yield* failed(on({}, KubeConfig.layerFile(`${folder.path}/none`)))
      assert.include(missing.message, `${folder.path}/none: no such file`)
      const directory = yield* failed(on({}, KubeConfig.layerFile(folder.path)))
      assert.include(directory.message, "it is a directory")
    })
  )

  it.live("with a client certificate that has expired, or is another key's, is refused by file and field", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const good = authority.issue({ commonName: "ada", usage: "client" })
      const expired = authority.issue({
        commonName: "ada",
        usage: "client",
        notBefore: new Date(Date.now() - 2e9),
        notAfter: new Date(Date.now() - 1e9)
      })
      const early = authority.issue({ commonName: "ada", usage: "client", notBefore: new Date(Date.now() + 1e9) })
      folder.write("key.pem", expired.key)
      folder.write("cert.pem", expired.cert)
      const user = (cert: string, key: string) =>
        `{client-certificate-data: ${base64(cert)}, client-key-data: ${base64(key)}}`
      const at = (user: string) => on({}, KubeConfig.layerFile(folder.write("config", kubeconfig("x", { user }))))

      const config = yield* found(at(user(good.cert, good.key)))
      assert.strictEqual((yield* config.credentials).certificate?.cert, good.cert)

      const old = yield* failed(at("{client-certificate: cert.pem, client-key: key.pem}"))
      assert.include(old.message, "users[x].user.client-certificate")
      assert.include(old.message, `${folder.path}/cert.pem`)
      assert.include(old.message, "expired on ")
      assert.include((yield* failed(at(user(early.cert, early.key)))).message, "not valid before")
      assert.include((yield* failed(at(user(good.cert, expired.key)))).message, "does not belong")
      assert.include((yield* failed(at(user(good.cert, "no key")))).message, "client-key-data: it is no private key")

      const locked = createPrivateKey(good.key).export({
        type: "pkcs8",
        format: "pem",
        cipher: "aes-256-cbc",
        passphrase: "secret"
      })
      assert.include(
        (yield* failed(at(user(good.cert, String(locked))))).message,
        "client-key-data: it is no private key in PEM form that can be read without a password"
      )
      folder.write("good.pem", good.cert)
      const keyFile = (key: string) => failed(at(`{client-certificate: good.pem, client-key: ${key}}`))
      const missing = (yield* keyFile("gone.pem")).message
      assert.include(missing, `users[x].user.client-key: ${folder.path}/gone.pem: no such file`)
      assert.include((yield* keyFile(".")).message, "users[x].user.client-key: ")
      assert.include((yield* keyFile(".")).message, "it is a directory")
      assert.include((yield* keyFile("good.pem")).message, `${folder.path}/good.pem: it is no private key`)
    })
  )
})

describe("credentials", () => {
  it.effect("from a token file are read again as it rotates, and at once when they are refused", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const config = yield* found(on({ env: pod, serviceAccount: serviceAccount(folder) }, KubeConfig.layerInCluster))
      assert.strictEqual(yield* authorization(config), "Bearer first-token")
      folder.write("sa/token", "second-token")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* authorization(config), "Bearer second-token")
      folder.write("sa/token", "third-token")
      yield* config.invalidate
      assert.strictEqual(yield* authorization(config), "Bearer third-token")
    })
  )

  it.effect("of a user with a name and a password are Basic", () =>
    Effect.gen(function* () {
      const config = yield* found(
        on({}, KubeConfig.layerOptions({ server: "https://x", username: "ada", password: Redacted.make("p:w") }))
      )
      assert.strictEqual(yield* authorization(config), `Basic ${base64("ada:p:w")}`)
    })
  )

  it.effect("prefer the token file to the token, as the file rotates", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const tokenFile = folder.write("token", "from-file")
      const config = yield* found(on({}, KubeConfig.layerOptions({ server: "https://x", token: "old", tokenFile })))
      assert.strictEqual(yield* authorization(config), "Bearer from-file")
    })
  )

  it.effect("never show in what is printed of them", () =>
    Effect.gen(function* () {
      const config = yield* found(on({}, KubeConfig.layerOptions({ server: "https://x", token: "very-secret" })))
      const shown = `${JSON.stringify(config)} ${JSON.stringify(yield* config.credentials)} ${String((yield* config.credentials).authorization)}`
      assert.notInclude(shown, "very-secret")
    })
  )
})

describe("options", () => {
  it.effect("take PEM, and base64 of it, and name themselves in errors", () =>
    Effect.gen(function* () {
      for (const caData of [authority.cert, base64(authority.cert)]) {
        const config = yield* found(on({}, KubeConfig.layerOptions({ server: "https://x:6443/", caData })))
        assert.strictEqual(config.trust.ca, authority.cert)
        assert.strictEqual(config.server, "https://x:6443")
      }
      const error = yield* failed(on({}, KubeConfig.layerOptions({ server: "https://x", caData: "nothing" })))
      assert.include(error.message, "KubeConfig.layerOptions: caData")
      const server = yield* failed(on({}, KubeConfig.layerOptions({ server: "x:6443" })))
      assert.include(server.message, "KubeConfig.layerOptions: server")
    })
  )
})

describe("in a cluster", () => {
  it.effect("says what is missing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      assert.include((yield* failed(on({}, KubeConfig.layerInCluster))).message, "KUBERNETES_SERVICE_HOST")
      const empty = yield* failed(on({ env: pod, serviceAccount: folder.path }, KubeConfig.layerInCluster))
      assert.include(empty.message, `${folder.path}/ca.crt: no such file`)
    })
  )

  it.effect("takes IPv6 addresses", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const env = { ...pod, KUBERNETES_SERVICE_HOST: "fd00::1" }
      const config = yield* found(on({ env, serviceAccount: serviceAccount(folder) }, KubeConfig.layerInCluster))
      assert.strictEqual(config.server, "https://[fd00::1]:443")
    })
  )
})

describe("the proxy of the environment", () => {
  const proxyOf = (server: string, env: Record<string, string>) =>
    Effect.map(found(on({ env }, KubeConfig.layerOptions({ server }))), ({ proxy }) => proxy)

  it.effect("is HTTPS_PROXY or HTTP_PROXY by the server's scheme, in either case, with http:// assumed", () =>
    Effect.gen(function* () {
      const env = { HTTPS_PROXY: "http://s:1", http_proxy: "plain:2" }
      assert.strictEqual(yield* proxyOf("https://k.example", env), "http://s:1")
      assert.strictEqual(yield* proxyOf("http://k.example", env), "http://plain:2")
      assert.isUndefined(yield* proxyOf("https://k.example", {}))
    })
  )

  it.effect("is never used for loopback", () =>
    Effect.gen(function* () {
      const env = { HTTPS_PROXY: "http://s:1" }
      for (const host of ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"]) {
        assert.isUndefined(yield* proxyOf(`https://${host}:6443`, env))
      }
    })
  )

  const exceptions: ReadonlyArray<readonly [string, string, boolean]> = [
    ["*", "https://k.example", true],
    ["k.example", "https://k.example", true],
    ["example", "https://k.example", true],
    [".example", "https://k.example", true],
    ["*.example", "https://k.example", true],
    [".k.example", "https://k.example", false],
    ["xample", "https://k.example", false],
    ["a, k.example ,b", "https://k.example", true],
    ["K.EXAMPLE", "https://k.example", true],
    ["k.example:6443", "https://k.example:6443", true],
    ["k.example:6443", "https://k.example", false],
    ["10.1.2.3", "https://10.1.2.3", true],
    ["10.0.0.0/8", "https://10.1.2.3", true],
    ["10.0.0.0/8", "https://11.1.2.3", false],
    ["10.0.0.0/8", "https://k.example", false],
    ["fd00::/8", "https://[fd00::1]", true],
    ["fd00::1", "https://[fd00::1]", true],
    ["", "https://k.example", false]
  ]
  it.effect.each(exceptions)("with NO_PROXY=%s for %s is left out: %s", ([NO_PROXY, server, exempt]) =>
    Effect.gen(function* () {
      const proxy = yield* proxyOf(server, { HTTPS_PROXY: "http://s:1", NO_PROXY })
      assert.strictEqual(proxy === undefined, exempt)
    })
  )
})

describe("the namespace", () => {
  const namespaceOf = (config: Layer.Layer<Service.KubeConfig, KubeConfigError>, machine: Machine) =>
    Effect.gen(function* () {
      return yield* Namespace
    }).pipe(Effect.provide(on(machine, Layer.provide(Namespace.layer, Layer.fresh(config)))))

  it.effect("is the context's, else the service-account file's, else default", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const mounted = serviceAccount(folder, "mounted\n")
      const named = folder.write("named", kubeconfig("x", { namespace: "of-context" }))
      const unnamed = folder.write("unnamed", kubeconfig("x"))
      const of = (path: string, serviceAccount?: string) =>
        Effect.map(
          namespaceOf(KubeConfig.layerFile(path), serviceAccount === undefined ? {} : { serviceAccount }),
          ({ name }) => name
        )
      assert.strictEqual(yield* of(named, mounted), "of-context")
      assert.strictEqual(yield* of(unnamed, mounted), "mounted")
      assert.strictEqual(yield* of(unnamed), "default")
    })
  )

  it.effect("given explicitly needs no cluster, and is checked", () =>
    Effect.gen(function* () {
      const explicit = Effect.gen(function* () {
        return yield* Namespace
      })
      assert.strictEqual((yield* Effect.provide(explicit, Namespace.layerOf("team-a"))).name, "team-a")
      for (const name of ["", "Team", "a_b", "-a", "a".repeat(64)]) {
        const error = yield* Effect.flip(Effect.provide(explicit, Namespace.layerOf(name)))
        assert.strictEqual(error.field, "namespace")
      }
    })
  )
})
