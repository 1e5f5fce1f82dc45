/**
 * A real Kubernetes API for tests: kube-apiserver on an etcd of its own, on free ports of the loopback interface, with
 * the Compute resource installed. Everything is in one temporary folder and gone when the scope closes.
 *
 * There is nobody but the API server: no controller-manager (objects that a ServiceAccount, a quota or garbage
 * collection would bring do not appear), no nodes, no operator (`Controller.ts` plays it).
 *
 * Ways in: tokens (one per user, `admin` has every right), client certificates of `clientAuthority`, service-account
 * tokens through the TokenRequest API.
 */
import { generateKeyPairSync } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { parse, stringify } from "yaml"
import * as ApiClient from "./ApiClient.ts"
import { type Authority, type KeyPair, makeAuthority } from "./certificates.ts"
import { need, root } from "./peers.ts"
import { freePorts, type Running, start } from "./process.ts"

export interface User {
  readonly name: string
  readonly groups: ReadonlyArray<string>
  readonly token: string
}

export interface KubeconfigOptions {
  readonly user?: User | undefined
  /** In place of a user's token. */
  readonly clientCertificate?: KeyPair | undefined
  readonly namespace?: string | undefined
  /** Another address in place of the server's own: a proxy in front of it. */
  readonly server?: string | undefined
}

export interface Shape {
  /** `https://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  /** The admin's token: group `system:masters`. */
  readonly token: string
  /** `admin`, and those of the options: without rights until a test binds them to a role. */
  readonly users: { readonly [name: string]: User }
  /** What signed the server's certificate (names `localhost`, `kubernetes.default.svc`; address 127.0.0.1), as PEM. */
  readonly serverAuthority: Authority
  readonly caFile: string
  /** The same, base64, as a kubeconfig's `certificate-authority-data` has it. */
  readonly caData: string
  /** Signs client certificates that the server accepts: the common name is the user, organisations are groups. */
  readonly clientAuthority: Authority
  /** The admin's kubeconfig. */
  readonly kubeconfig: string
  /** The temporary folder of this server, for files that shall go with it. */
  readonly folder: string
  /** Writes a kubeconfig into the folder and gives its path. */
  readonly writeKubeconfig: (name: string, options: KubeconfigOptions) => string
  /** One request as admin (or another token), and its answer whatever the status is. */
  readonly request: (
    method: string,
    path: string,
    options?: ApiClient.RequestOptions
  ) => Effect.Effect<ApiClient.Response>
  /** Creates a namespace of a fresh name, deleted with the server only. */
  readonly namespace: Effect.Effect<string>
  /** Ends the API server: connections are refused until `start`. */
  readonly stop: Effect.Effect<void>
  /** Starts it again at the same address, with everything that it held. */
  readonly start: Effect.Effect<void>
  /** Stops API server and etcd and starts both, with the data kept or on an empty etcd (the CRD installed anew). */
  readonly restart: (options: { readonly data: "kept" | "empty" }) => Effect.Effect<void>
}

export interface Options {
  /** More users, by name, with their groups. */
  readonly users?: { readonly [name: string]: ReadonlyArray<string> } | undefined
  /** Install the Compute resource: true unless told otherwise. */
  readonly crd?: boolean | undefined
  /** More flags for kube-apiserver. */
  readonly flags?: ReadonlyArray<string> | undefined
}

/** The project's own definition of the Compute resource. */
export const crdFile = join(root, "test/peers/crd/computes.compute.kpu.dev.yaml")

const crdPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

const waitUntil = (what: string, holds: Effect.Effect<boolean>, process: Running) =>
  Effect.gen(function* () {
    while (!(yield* holds)) {
      if (process.child.exitCode !== null || process.child.signalCode !== null) {
        return yield* Effect.die(new Error(`${what}: the program ended\n${process.output()}`))
      }
      yield* Effect.promise(() => new Promise((done) => setTimeout(done, 50)))
    }
  })

/** Starts a server; see {@link KubeApiServer} for the Layer. */
export const make = (options: Options = {}): Effect.Effect<Shape, never, Scope.Scope> =>
  Effect.gen(function* () {
    const binaries = need("kubernetes")
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-apiserver-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const file = (name: string, content: string) => {
      const path = join(folder, name)
      writeFileSync(path, content, { mode: 0o600 })
      return path
    }
    const [port = 0, etcdPort = 0, peerPort = 0] = yield* freePorts(3)
    const url = `https://127.0.0.1:${port}`
    const etcdUrl = `http://127.0.0.1:${etcdPort}`

    const users: Record<string, User> = {}
    for (const [name, groups] of Object.entries({ ...options.users, admin: ["system:masters"] })) {
      users[name] = { name, groups, token: `token-of-${name}` }
    }
    const token = users["admin"]!.token
    const serverAuthority = makeAuthority("effect-kpu test server authority")
    const clientAuthority = makeAuthority("effect-kpu test client authority")
    const serving = serverAuthority.issue({
      commonName: "kube-apiserver",
      dnsNames: ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
      ipAddresses: ["127.0.0.1"],
      usage: "server"
    })
    const accounts = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "sec1", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" }
    })
    const caFile = file("ca.crt", serverAuthority.cert)
    const caData = Buffer.from(serverAuthority.cert).toString("base64")
    const tokens = Object.values(users).map(
      (user) => `${user.token},${user.name},${user.name},"${user.groups.join(",")}"`
    )
    const flags = [
      `--etcd-servers=${etcdUrl}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${port}`,
      `--cert-dir=${folder}`,
      `--tls-cert-file=${file("server.crt", serving.cert)}`,
      `--tls-private-key-file=${file("server.key", serving.key)}`,
      `--client-ca-file=${file("client-ca.crt", clientAuthority.cert)}`,
      `--token-auth-file=${file("tokens.csv", tokens.join("\n"))}`,
      "--authorization-mode=RBAC",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-signing-key-file=${file("accounts.key", accounts.privateKey)}`,
      `--service-account-key-file=${file("accounts.pub", accounts.publicKey)}`,
      "--service-cluster-ip-range=10.0.0.0/24",
      "--endpoint-reconciler-type=none",
      "--disable-admission-plugins=ServiceAccount",
      ...(options.flags ?? [])
    ]

    const client = yield* ApiClient.make({ url, token, ca: serverAuthority.cert })
    const request: Shape["request"] = (...args) => Effect.orDie(client.request(...args))
    const answers = (path: string) =>
      client.request("GET", path).pipe(
        Effect.map(({ status }) => status === 200),
        Effect.orElseSucceed(() => false)
      )

    interface Program {
      readonly running: Running
      readonly scope: Scope.Closeable
    }
    const inOwnScope = <E>(effect: Effect.Effect<Running, E, Scope.Scope>): Effect.Effect<Program, E> =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const running = yield* Effect.onError(Scope.provide(effect, scope), () => Scope.close(scope, Exit.void))
        return { running, scope }
      })
    const stopped = (program: Ref.Ref<Program | undefined>) =>
      Effect.flatMap(Ref.getAndSet(program, undefined), (current) =>
        current === undefined ? Effect.void : Scope.close(current.scope, Exit.void)
      )
    const data = join(folder, "etcd")
    const etcd = yield* Effect.acquireRelease(Ref.make<Program | undefined>(undefined), stopped)
    const apiserver = yield* Effect.acquireRelease(Ref.make<Program | undefined>(undefined), stopped)

    const startEtcd = Effect.gen(function* () {
      mkdirSync(data, { recursive: true, mode: 0o700 })
      const program = yield* inOwnScope(
        start(binaries.etcd, [
          `--data-dir=${data}`,
          `--listen-client-urls=${etcdUrl}`,
          `--advertise-client-urls=${etcdUrl}`,
          `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
          "--unsafe-no-fsync",
          "--log-level=error"
        ])
      )
      yield* Ref.set(etcd, program)
      const healthy = Effect.promise(() =>
        fetch(`${etcdUrl}/health`).then(
          (response) => response.ok,
          () => false
        )
      )
      yield* waitUntil("etcd did not become healthy", healthy, program.running)
    })
    const startApiServer = Effect.gen(function* () {
      const program = yield* inOwnScope(start(binaries.apiserver, flags))
      yield* Ref.set(apiserver, program)
      yield* waitUntil("kube-apiserver did not become ready", answers("/readyz"), program.running)
      return program.running
    })
    const installCrd = (running: Running) =>
      Effect.gen(function* () {
        if (options.crd === false) return
        const { body, status } = yield* request("POST", crdPath, { body: parse(readFileSync(crdFile, "utf8")) })
        if (status !== 201) return yield* Effect.die(new Error(`The CRD was not accepted: ${JSON.stringify(body)}`))
        yield* waitUntil("the CRD was not served", answers("/apis/compute.kpu.dev/v1alpha1/computes"), running)
      })

    yield* startEtcd
    yield* installCrd(yield* startApiServer)

    const writeKubeconfig: Shape["writeKubeconfig"] = (name, settings) => {
      const user = settings.user ?? users["admin"]!
      const base64 = (text: string) => Buffer.from(text).toString("base64")
      return file(
        name,
        stringify({
          apiVersion: "v1",
          kind: "Config",
          clusters: [
            { name: "test", cluster: { server: settings.server ?? url, "certificate-authority-data": caData } }
          ],
          users: [
            {
              name: "test",
              user:
                settings.clientCertificate === undefined
                  ? { token: user.token }
                  : {
                      "client-certificate-data": base64(settings.clientCertificate.cert),
                      "client-key-data": base64(settings.clientCertificate.key)
                    }
            }
          ],
          contexts: [
            {
              name: "test",
              context: {
                cluster: "test",
                user: "test",
                ...(settings.namespace === undefined ? {} : { namespace: settings.namespace })
              }
            }
          ],
          "current-context": "test"
        })
      )
    }

    return {
      url,
      port,
      token,
      users,
      serverAuthority,
      caFile,
      caData,
      clientAuthority,
      kubeconfig: writeKubeconfig("kubeconfig", {}),
      folder,
      writeKubeconfig,
      request,
      namespace: Effect.gen(function* () {
        const { body, status } = yield* request("POST", "/api/v1/namespaces", {
          body: { apiVersion: "v1", kind: "Namespace", metadata: { generateName: "test-" } }
        })
        if (status !== 201) return yield* Effect.die(new Error(`No namespace: ${JSON.stringify(body)}`))
        return body.metadata.name
      }),
      stop: stopped(apiserver),
      start: Effect.asVoid(startApiServer),
      restart: ({ data: keep }) =>
        Effect.gen(function* () {
          yield* stopped(apiserver)
          yield* stopped(etcd)
          if (keep === "empty") rmSync(data, { recursive: true, force: true })
          yield* startEtcd
          const running = yield* startApiServer
          if (keep === "empty") yield* installCrd(running)
        })
    }
  })

/**
 * A real Kubernetes API for a suite.
 *
 * @example
 * describeWith(["kubernetes"], "on the real API", () => {
 *   layer(KubeApiServer.layer, { excludeTestServices: true })((it) => { … })
 * })
 */
export class KubeApiServer extends Context.Service<KubeApiServer, Shape>()("effect-kpu/test/KubeApiServer") {
  static readonly layer: Layer.Layer<KubeApiServer> = Layer.effect(KubeApiServer, make())
  static readonly layerWith = (options: Options): Layer.Layer<KubeApiServer> =>
    Layer.effect(KubeApiServer, make(options))
}
