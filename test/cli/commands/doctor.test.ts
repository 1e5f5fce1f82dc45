/** `kpu doctor` in a healthy world and in broken ones: it names the step that is broken, and what to do. */

import { createServer as createTlsServer } from "node:https"
import { createServer as createTcpServer, type Server, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { DoctorReport } from "../../../src/cli/output/json.ts"
import { makeAuthority } from "../../kit/certificates.ts"
import { freePorts } from "../../kit/process.ts"
import * as ApiFront from "../kit/ApiFront.ts"
import { kpu, succeed } from "../kit/command.ts"
import { makeWorld, type WorldShape } from "../kit/World.ts"

const decodeReport = Schema.decodeUnknownSync(Schema.fromJsonString(DoctorReport))

type Check = (typeof DoctorReport.Type)["checks"][number]

const doctor = (args: ReadonlyArray<string>, env: Readonly<Record<string, string | undefined>>) =>
  Effect.map(kpu(["doctor", "-o", "json", ...args], { env }), (result) => ({
    ...result,
    report: decodeReport(result.stdout)
  }))

/** A finding of a broken world: what failed first, with what it said. */
const firstFailure = (args: ReadonlyArray<string>, env: Readonly<Record<string, string | undefined>>) =>
  Effect.map(doctor(args, env), ({ code, report, stderr }) => {
    assert.strictEqual(code, exitCodes.unhealthy, stderr)
    assert.isFalse(report.healthy)
    const index = report.checks.findIndex(({ status }) => status === "failed")
    const check: Check = report.checks[index]!
    assert.isNotEmpty(check.advice, `${check.id} says what to do`)
    // What stands before it is not blamed, what depends on it is not guessed at.
    for (const before of report.checks.slice(0, index)) assert.notStrictEqual(before.status, "failed")
    return { ...check, later: report.checks.slice(index + 1) }
  })

const onlySkipped = (later: ReadonlyArray<Check>) =>
  assert.deepStrictEqual(
    later.filter(({ status }) => status !== "skipped"),
    []
  )

/** A world with a Compute that serves. */
const serving = (options?: Parameters<typeof makeWorld>[0]): Effect.Effect<WorldShape, unknown, Scope.Scope> =>
  Effect.tap(makeWorld(options), ({ env }) => succeed(["apply", "x", "--wait"], { env }))

/** The same cluster behind something that answers some requests otherwise. */
const behind = (world: WorldShape, rule: ApiFront.Rule) =>
  Effect.map(ApiFront.start(world.cluster.url, rule), (url) => ({
    ...world.env,
    KUBECONFIG: world.folder.write("behind", world.cluster.kubeconfig.replace(world.cluster.url, url))
  }))

/** Something that listens and does with connections what it is told. */
const listener = (onConnection: (socket: Socket) => void): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ server: Server; sockets: Set<Socket> }>((resume) => {
        const sockets = new Set<Socket>()
        const server = createTcpServer((socket) => {
          sockets.add(socket)
          socket.on("error", () => {})
          onConnection(socket)
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
      }),
      ({ server, sockets }) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    ),
    ({ server }) => `127.0.0.1:${(server.address() as { readonly port: number }).port}`
  )

describe("kpu doctor in a healthy world", () => {
  it.live("finds nothing broken, from the configuration to a tensor that comes back", () =>
    Effect.gen(function* () {
      const { env } = yield* serving()
      const { code, report } = yield* doctor([], env)
      assert.strictEqual(code, 0)
      assert.isTrue(report.healthy)
      assert.deepStrictEqual(
        report.checks.map(({ id, status }) => `${id} ${status}`),
        [
          "config ok",
          "server ok",
          "identity ok",
          ...["get", "list", "watch", "create", "patch", "delete"].map((verb) => `permission:${verb}-computes ok`),
          "permission:get-pods ok",
          "permission:list-events ok",
          "crd ok",
          "operator ok",
          "endpoint ok",
          "service ok",
          "roundtrip ok"
        ]
      )
      const text = yield* succeed(["doctor", "x"], { env })
      assert.match(text.stdout, /^ok +API server +http:\/\/127\.0\.0\.1:\d+ runs Kubernetes v1\.34/m)
      assert.match(text.stdout, /^Nothing is broken\.$/m)
    })
  )

  it.live("creates a Compute for the moment where none is there, and deletes it", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      const empty = yield* doctor([], env)
      assert.strictEqual(empty.code, 0)
      assert.match(empty.report.checks.find(({ id }) => id === "operator")!.advice!, /--probe/)
      // Three checks need a Compute that is ready; what to do about that is said once.
      const withoutCompute = empty.report.checks.filter(({ found }) => /no Compute .* is ready/.test(found))
      assert.deepStrictEqual(
        withoutCompute.map(({ advice }) => advice !== undefined),
        [true, false, false]
      )
      const probed = yield* doctor(["--probe"], env)
      assert.strictEqual(probed.code, 0)
      assert.deepStrictEqual(
        probed.report.checks.slice(-4).map(({ id, status }) => `${id} ${status}`),
        ["operator ok", "endpoint ok", "service ok", "roundtrip ok"]
      )
      assert.strictEqual((yield* succeed(["get", "-o", "name"], { env })).stdout, "")
    })
  )
})

describe("kpu doctor in a broken world", () => {
  it.live("1: without a kubeconfig", () =>
    Effect.gen(function* () {
      const { folder } = yield* makeWorld()
      const { found, id, later } = yield* firstFailure([], { HOME: folder.path })
      assert.strictEqual(id, "config")
      assert.match(found, /KUBECONFIG: not set/)
      onlySkipped(later)
    })
  )

  it.live("2: with a kubeconfig that is broken", () =>
    Effect.gen(function* () {
      const { env, folder } = yield* makeWorld()
      const KUBECONFIG = folder.write("broken", "clusters: [\n  nonsense")
      const { found, id } = yield* firstFailure([], { ...env, KUBECONFIG })
      assert.strictEqual(id, "config")
      assert.include(found, KUBECONFIG)
      const other = yield* firstFailure(["--context", "elsewhere"], env)
      assert.match(other.found, /there is no context "elsewhere"/)
    })
  )

  it.live("3: where nothing listens at the API server's address", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      const [port] = yield* freePorts(1)
      const { found, id, later } = yield* firstFailure(["--server", `http://127.0.0.1:${port}`], env)
      assert.strictEqual(id, "server")
      assert.match(found, /nothing accepts connections at http:\/\/127\.0\.0\.1:\d+/)
      onlySkipped(later)
    })
  )

  it.live("4: where a login page stands before the API server", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const env = yield* behind(world, () => ({ status: 200, body: "<html>Log in</html>", contentType: "text/html" }))
      const { found, id } = yield* firstFailure([], env)
      assert.strictEqual(id, "server")
      assert.match(found, /proxy or login page/)
    })
  )

  it.live("5: with a certificate that nobody vouches for", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      const authority = makeAuthority("somebody else")
      const { cert, key } = authority.issue({ commonName: "kubernetes", usage: "server", ipAddresses: ["127.0.0.1"] })
      const server = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createTlsServer>>((resume) => {
          const server = createTlsServer({ cert, key }, (_, response) => response.end("{}"))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const url = `https://127.0.0.1:${(server.address() as { readonly port: number }).port}`
      const { found, id } = yield* firstFailure(["--server", url], env)
      assert.strictEqual(id, "server")
      assert.match(found, /not signed by an authority/)
    })
  )

  it.live("6: with credentials that have expired", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const env = yield* behind(world, (_, path) =>
        path === "/version" ? undefined : ApiFront.status(401, "Unauthorized", "Unauthorized")
      )
      const { advice, found, id, later } = yield* firstFailure([], env)
      assert.strictEqual(id, "identity")
      assert.match(found, /missing, wrong or expired/)
      assert.match(advice!, /log in again/)
      onlySkipped(later)
    })
  )

  it.live("7: without a permission that is needed, and with a warning for one that only helps", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld({ allows: ({ resource, verb }) => verb !== "patch" && resource !== "events" })
      const { advice, found, id, later } = yield* firstFailure([], env)
      assert.strictEqual(id, "permission:patch-computes")
      assert.match(found, /may not patch computes\.compute\.kpu\.dev in namespace default/)
      assert.match(advice!, /Role/)
      assert.strictEqual(later.find(({ id }) => id === "permission:list-events")!.status, "warning")
    })
  )

  it.live("8: where the CRD is not installed", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const env = yield* behind(world, (_, path) =>
        path.includes("compute.kpu.dev") ? ApiFront.status(404, "NotFound", "the server could not find it") : undefined
      )
      const { advice, found, id, later } = yield* firstFailure([], env)
      assert.strictEqual(id, "crd")
      assert.match(found, /computes\.compute\.kpu\.dev is not installed/)
      assert.match(advice!, /operator/)
      onlySkipped(later)
    })
  )

  it.live("9: where the CRD serves another version, also where only discovery may be asked", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const definition = (_: string, path: string) =>
        path.endsWith("/customresourcedefinitions/computes.compute.kpu.dev")
          ? {
              status: 200,
              body: {
                spec: {
                  versions: [
                    { name: "v1", served: true },
                    { name: "v1alpha1", served: false }
                  ]
                }
              }
            }
          : undefined
      const { found, id } = yield* firstFailure([], yield* behind(world, definition))
      assert.strictEqual(id, "crd")
      assert.match(found, /serves v1, and this client speaks v1alpha1/)
      const discovery = (_: string, path: string) =>
        path.endsWith("/customresourcedefinitions/computes.compute.kpu.dev")
          ? ApiFront.status(403, "Forbidden", "may not")
          : path === "/apis/compute.kpu.dev"
            ? {
                status: 200,
                body: { kind: "APIGroup", versions: [{ groupVersion: "compute.kpu.dev/v2", version: "v2" }] }
              }
            : undefined
      const asked = yield* firstFailure([], yield* behind(world, discovery))
      assert.match(asked.found, /serves v2/)
    })
  )

  it.live("10: where no operator acts", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({ controller: false })
      yield* succeed(["apply", "x"], { env: world.env })
      // Old enough that an operator would have noticed it.
      const env = yield* behind(world, (method, path) =>
        method === "GET" && path.endsWith("/namespaces/default/computes")
          ? {
              status: 200,
              body: {
                apiVersion: "compute.kpu.dev/v1alpha1",
                kind: "ComputeList",
                metadata: { resourceVersion: "9" },
                items: [
                  {
                    apiVersion: "compute.kpu.dev/v1alpha1",
                    kind: "Compute",
                    metadata: {
                      name: "x",
                      namespace: "default",
                      uid: "1",
                      resourceVersion: "8",
                      creationTimestamp: "2026-01-01T00:00:00Z"
                    },
                    spec: {}
                  }
                ]
              }
            }
          : undefined
      )
      const { advice, found, id } = yield* firstFailure([], env)
      assert.strictEqual(id, "operator")
      assert.match(found, /no controller has ever acted on 1 Compute/)
      assert.match(advice!, /is the operator running/)
    })
  )

  it.live("11: where the Compute's name does not resolve from here, as outside the cluster", () =>
    Effect.gen(function* () {
      const { env } = yield* serving()
      const { advice, found, id, later } = yield* firstFailure([], { ...env, KPU_GATEWAY: undefined })
      assert.strictEqual(id, "endpoint")
      assert.match(found, /x\.default\.svc\.cluster\.local:50051: the name does not resolve/)
      assert.match(advice!, /port-forward[\s\S]*--gateway/)
      onlySkipped(later)
    })
  )

  it.live("12: where nothing listens at the endpoint", () =>
    Effect.gen(function* () {
      const { env } = yield* serving()
      const [port] = yield* freePorts(1)
      const { found, id } = yield* firstFailure(["--host", "127.0.0.1", "--port", String(port)], env)
      assert.strictEqual(id, "endpoint")
      assert.match(found, /nothing listens there \(ECONNREFUSED\)/)
    })
  )

  it.live("13: where what listens is no gRPC server", () =>
    Effect.gen(function* () {
      const { env } = yield* serving()
      const gateway = yield* listener((socket) => socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"))
      const { advice, id, later } = yield* firstFailure(["--gateway", gateway], env)
      assert.strictEqual(id, "service")
      assert.match(advice!, /is that address a KPU tensor server/)
      onlySkipped(later)
    })
  )

  it.live("14: where what listens says nothing", () =>
    Effect.gen(function* () {
      const { env } = yield* serving()
      const gateway = yield* listener(() => {})
      const { found, id } = yield* firstFailure(["--gateway", gateway], env)
      assert.strictEqual(id, "service")
      assert.match(found, /no HTTP\/2/)
    })
  )

  it.live("15: where the Compute that is asked about is suspended, or not there", () =>
    Effect.gen(function* () {
      const { env } = yield* serving()
      const absent = yield* firstFailure(["nowhere"], env)
      assert.match(absent.found, /there is no Compute nowhere/)
      yield* succeed(["suspend", "x"], { env })
      const suspended = yield* firstFailure(["x"], env)
      assert.strictEqual(suspended.id, "endpoint")
      assert.match(suspended.found, /compute\/x is not ready/)
      yield* succeed(["delete", "x"], { env })
      const gone = yield* firstFailure(["x"], env)
      assert.deepInclude(gone, { id: "endpoint", found: "there is no Compute x in namespace default" })
    })
  )

  it.live("prints what it finds as it goes, without a stack trace, and names how many things are broken", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld({ allows: ({ verb }) => verb !== "delete" && verb !== "create" })
      const result = yield* kpu(["doctor"], { env })
      assert.strictEqual(result.code, exitCodes.unhealthy)
      assert.match(result.stdout, /^FAILED +permission +may not create[\s\S]*^ +try: ask for a Role/m)
      assert.match(result.stdout, /^2 things are broken; begin with the first\.$/m)
      assert.notMatch(result.stdout + result.stderr, /^\s+at /m)
    })
  )
})
