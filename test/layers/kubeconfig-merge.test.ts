/** Lists of kubeconfig files, merged here and by kubectl: both must come to the same cluster and user, or both refuse. */
import { mkdirSync } from "node:fs"
import { delimiter, join, relative } from "node:path"
import { assert, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { ServiceAccountFolder } from "../../src/layers/internal/kubernetes/serviceAccount.ts"
import { makeAuthority } from "../kit/certificates.ts"
import { type Folder, temporaryFolder } from "../kit/folder.ts"
import { describeWith, need } from "../kit/peers.ts"
import { exec } from "../kit/process.ts"

const authority = makeAuthority("a")
const other = makeAuthority("b")
const user = authority.issue({ commonName: "ada", usage: "client" })

/** Where a configuration leads: the server, whom it trusts, who asks. */
interface Way {
  readonly server: string
  readonly namespace: string | undefined
  readonly ca: string | undefined
  readonly serverName: string | undefined
  readonly insecure: boolean
  readonly token: string | undefined
  readonly cert: string | undefined
  readonly impersonate: string | undefined
}

const decoded = (base64: string | undefined) =>
  base64 === undefined ? undefined : Buffer.from(base64, "base64").toString("utf8")

/** The way that kubectl takes, or its refusal. */
const kubectl = Effect.fnUntraced(function* (env: Record<string, string>) {
  const { code, stderr, stdout } = yield* exec(
    need("kubectl"),
    ["config", "view", "--merge", "--minify", "--flatten", "--raw", "-o", "json"],
    { env }
  )
  if (code !== 0) return Result.fail(stderr)
  const { clusters, contexts, users } = JSON.parse(stdout)
  const cluster = clusters?.[0]?.cluster
  if (!cluster?.server) return Result.fail("no server")
  const [found = {}] = (users ?? []).map((entry: any) => entry.user)
  const way: Way = {
    server: cluster.server,
    namespace: contexts[0].context.namespace,
    ca: decoded(cluster["certificate-authority-data"]),
    serverName: cluster["tls-server-name"],
    insecure: cluster["insecure-skip-tls-verify"] === true,
    token: found.token,
    cert: decoded(found["client-certificate-data"]),
    impersonate: found.as
  }
  return Result.succeed(way)
})

/** The way that this client takes, or its refusal. */
const ours = (env: Record<string, string>) =>
  Effect.gen(function* () {
    const config = yield* KubeConfig
    const { authorization, certificate } = yield* config.credentials
    const way: Way = {
      server: config.server,
      namespace: config.namespace,
      ca: config.trust.ca,
      serverName: config.trust.serverName,
      insecure: config.trust.insecureSkipVerify,
      token: authorization === undefined ? undefined : Redacted.value(authorization).replace("Bearer ", ""),
      cert: certificate?.cert,
      impersonate: config.impersonate?.user
    }
    return way
  }).pipe(
    Effect.provide(
      Layer.fresh(KubeConfig.layer).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
        Layer.provide(Layer.succeed(ServiceAccountFolder, "/nonexistent"))
      )
    ),
    Effect.mapError(({ message }) => message),
    Effect.result
  )

const server = (name: string) => `server: "https://${name}.example:6443"`

/** Files by their paths, and the list of them that `KUBECONFIG` holds; `undefined` leaves it unset. */
interface Case {
  readonly files: Readonly<Record<string, string>>
  readonly list: ReadonlyArray<string> | undefined
  readonly folders?: ReadonlyArray<string>
}

const whole = (name: string, more = "") => `
current-context: ${name}
clusters: [{name: ${name}, cluster: {${server(name)}}}]
users: [{name: ${name}, user: {token: token-of-${name}}}]
contexts: [{name: ${name}, context: {cluster: ${name}, user: ${name}${more}}}]
`

const cases: Readonly<Record<string, Case>> = {
  "one file": { files: { a: whole("a", ", namespace: team-a") }, list: ["a"] },
  "the file at home": { files: { ".kube/config": whole("home") }, list: undefined },
  "two whole files": { files: { a: whole("a"), b: whole("b") }, list: ["a", "b"] },
  "an empty current-context in the first": {
    files: { a: `current-context: ""\n${whole("a").replace("current-context: a", "")}`, b: whole("b") },
    list: ["a", "b"]
  },
  "a current-context that only the last file has": {
    files: { a: whole("a").replace("current-context: a", ""), b: "kind: Config", c: "current-context: a" },
    list: ["a", "b", "c"]
  },
  "missing files and empty entries": { files: { b: whole("b") }, list: ["none", "", "b", "", "none/either"] },
  "an empty file first": { files: { a: "", b: whole("b") }, list: ["a", "b"] },
  "the same file twice": { files: { a: whole("a") }, list: ["a", "a"] },
  "nulls in place of lists": {
    files: { a: "clusters: null\nusers: null\ncontexts: null\ncurrent-context: b", b: whole("b") },
    list: ["a", "b"]
  },
  "the same cluster in two files, the second with more fields": {
    files: {
      a: whole("a"),
      b: `clusters: [{name: a, cluster: {${server("b")}, tls-server-name: b, insecure-skip-tls-verify: true}}]`
    },
    list: ["a", "b"]
  },
  "the same user in two files, the second with more fields": {
    files: { a: whole("a"), b: "users: [{name: a, user: {as: root, username: u, password: p}}]" },
    list: ["a", "b"]
  },
  "the same context in two files, the second with a namespace": {
    files: { a: whole("a"), b: "contexts: [{name: a, context: {cluster: b, user: b, namespace: b}}]" },
    list: ["a", "b"]
  },
  "cluster, user and context each from a file of its own": {
    files: {
      a: "current-context: it",
      b: "contexts: [{name: it, context: {cluster: k, user: u}}]",
      c: `clusters: [{name: k, cluster: {${server("c")}}}]`,
      d: "users: [{name: u, user: {token: t}}]"
    },
    list: ["a", "b", "c", "d"]
  },
  "certificate files beside the file that names them": {
    files: {
      "one/ca.pem": authority.cert,
      "two/ca.pem": other.cert,
      "two/cert.pem": user.cert,
      "two/key.pem": user.key,
      "one/config": `
current-context: it
clusters: [{name: k, cluster: {${server("one")}, certificate-authority: ca.pem}}]
contexts: [{name: it, context: {cluster: k, user: u}}]`,
      "two/config": "users: [{name: u, user: {client-certificate: ./cert.pem, client-key: ../two/key.pem}}]"
    },
    list: ["one/config", "two/config"]
  },
  "JSON, and fields that nobody knows": {
    files: {
      a: JSON.stringify({
        preferences: { colors: true },
        extensions: [{ name: "x", extension: { deep: [1] } }],
        "current-context": "a",
        clusters: [{ name: "a", cluster: { server: "https://a.example", "disable-compression": true, unknown: 1 } }],
        users: [{ name: "a", user: { token: "t", unknown: { token: 7 } } }],
        contexts: [{ name: "a", context: { cluster: "a", user: "a", extensions: [] } }]
      })
    },
    list: ["a"]
  },
  "a user to impersonate": {
    files: { a: whole("a").replace("token-of-a", "t, as: jane, as-groups: [dev]") },
    list: ["a"]
  },
  "a name twice in one file": {
    files: {
      a: whole("a").replace("clusters: [", `clusters: [{name: a, cluster: {${server("first")}}}, `)
    },
    list: ["a"]
  },
  "a current-context that is nowhere": { files: { a: whole("a").replace("context: a", "context: z") }, list: ["a"] },
  "a cluster that is nowhere": { files: { a: whole("a").replace("{cluster: a", "{cluster: z") }, list: ["a"] },
  "a broken file behind a whole one": { files: { a: whole("a"), b: "clusters: [" }, list: ["a", "b"] },
  "a folder in the list": { files: { a: whole("a") }, list: ["folder", "a"], folders: ["folder"] },
  "missing files only": { files: {}, list: ["none"] },
  "no file at all": { files: {}, list: undefined }
}

describeWith(["kubectl"], "a KUBECONFIG list leads where kubectl goes", () => {
  const settle = (folder: Folder, { files, folders = [], list }: Case, path: (name: string) => string) => {
    for (const [name, content] of Object.entries(files)) folder.write(name, content)
    for (const name of folders) mkdirSync(join(folder.path, name), { recursive: true })
    return {
      HOME: folder.path,
      ...(list === undefined ? {} : { KUBECONFIG: list.map((name) => (name === "" ? "" : path(name))).join(delimiter) })
    }
  }

  for (const [title, each] of Object.entries(cases)) {
    it.live(`with ${title}`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        for (const path of [
          (name: string) => join(folder.path, name),
          (name: string) => relative(process.cwd(), join(folder.path, name))
        ]) {
          const env = settle(folder, each, path)
          const [theirs, mine] = [yield* kubectl(env), yield* ours(env)]
          const shown = JSON.stringify([theirs, mine])
          assert.strictEqual(mine._tag, theirs._tag, shown)
          if (Result.isSuccess(theirs) && Result.isSuccess(mine)) assert.deepStrictEqual(mine.success, theirs.success)
        }
      })
    )
  }
})
