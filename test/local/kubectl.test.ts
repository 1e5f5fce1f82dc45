/** `kubectl` on the embedded cluster, with the kubeconfig that `serve` writes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type ClusterShape, start } from "../../src/local/Cluster.ts"
import { describeWith, need } from "../kit/peers.ts"
import { exec, start as startProgram } from "../kit/process.ts"

/** A cluster, and kubectl pointed at it. */
class Kubectl extends Context.Service<
  Kubectl,
  {
    readonly cluster: ClusterShape
    readonly folder: string
    /** What kubectl wrote, both streams, and its exit code. */
    readonly kubectl: (
      args: string,
      input?: string
    ) => Effect.Effect<{ readonly code: number | string; readonly stdout: string; readonly stderr: string }>
    readonly env: Record<string, string>
  }
>()("effect-kpu/test/Kubectl") {
  static readonly layer = Layer.effect(
    Kubectl,
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-kubectl-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const cluster = yield* start({ namespaces: ["team-a"] })
      const kubeconfig = join(folder, "config")
      writeFileSync(kubeconfig, cluster.kubeconfig)
      const env = { KUBECONFIG: kubeconfig, HOME: folder }
      return {
        cluster,
        folder,
        env,
        kubectl: (args, input) => exec(need("kubectl"), args.split(" "), { env, input })
      }
    })
  )
}

const manifest = (name: string, spec: object, metadata: object = {}) =>
  JSON.stringify({
    apiVersion: "compute.kpu.dev/v1alpha1",
    kind: "Compute",
    metadata: { name, ...metadata },
    spec
  })

/** The columns of kubectl's lines. */
const cells = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s{2,}/))

describeWith(["kubectl"], "kubectl on the embedded cluster", () => {
  layer(Kubectl.layer, { excludeTestServices: true })((it) => {
    const ready = (name: string) =>
      Effect.flatMap(Kubectl, ({ kubectl }) => kubectl(`wait --for=condition=Ready --timeout=60s compute/${name}`))

    it.effect("applies on the server's side, waits, and gets a table and YAML", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        const spec = { image: "i", env: [{ name: "A", value: "1" }] }
        const applied = yield* kubectl("apply --server-side -f -", manifest("table", spec))
        assert.strictEqual(applied.stdout, "compute.compute.kpu.dev/table serverside-applied\n")
        assert.strictEqual(applied.stderr, "")
        assert.strictEqual((yield* ready("table")).code, 0)
        const [header, row] = cells((yield* kubectl("get computes table")).stdout)
        assert.deepStrictEqual(header, ["NAME", "READY", "SUSPENDED", "AGE"])
        assert.deepStrictEqual(row?.slice(0, 2), ["table", "True"])
        const yaml = (yield* kubectl("get compute table -o yaml --show-managed-fields")).stdout
        assert.include(yaml, "manager: kubectl\n    operation: Apply")
        assert.include(yaml, 'k:{"name":"A"}:')
        assert.include(yaml, "message: All 1 replicas are ready")
        const again = yield* kubectl("get compute -A")
        assert.deepStrictEqual(cells(again.stdout)[0], ["NAMESPACE", "NAME", "READY", "SUSPENDED", "AGE"])
      })
    )

    it.effect("refuses a conflicting apply with the manager and the field, and forces it when told to", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        yield* kubectl("apply --server-side -f -", manifest("conflict", { image: "i" }))
        const refused = yield* kubectl(
          "apply --server-side --field-manager=other -f -",
          manifest("conflict", { image: "j" })
        )
        assert.strictEqual(refused.code, 1)
        assert.include(refused.stderr, 'Apply failed with 1 conflict: conflict with "kubectl": .spec.image')
        const forced = yield* kubectl(
          "apply --server-side --force-conflicts --field-manager=other -f -",
          manifest("conflict", { image: "j" })
        )
        assert.strictEqual(forced.code, 0)
        assert.strictEqual((yield* kubectl("get compute conflict -o jsonpath={.spec.image}")).stdout, "j")
      })
    )

    it.effect("refuses unknown fields and bad names before anything is stored", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        const unknown = yield* kubectl("create -f -", manifest("strict", { image: "i", imagee: "j" }))
        assert.include(unknown.stderr, 'unknown field "spec.imagee"')
        const named = yield* kubectl("create -f -", manifest("1bad", { image: "i" }))
        assert.include(named.stderr, "metadata.name must match RFC 1035 DNS label format")
        assert.strictEqual((yield* kubectl("get compute strict")).code, 1)
        const dry = yield* kubectl("create --dry-run=server -f -", manifest("dry", { image: "i" }))
        assert.strictEqual(dry.stdout, "compute.compute.kpu.dev/dry created (server dry run)\n")
        assert.include((yield* kubectl("get compute dry")).stderr, 'computes.compute.kpu.dev "dry" not found')
      })
    )

    it.effect("applies on the client's side, patches, labels, and takes over on the server's side", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        yield* kubectl("apply -f -", manifest("client", { image: "i", args: ["a"] }))
        const second = yield* kubectl("apply -f -", manifest("client", { image: "j" }))
        assert.strictEqual(second.stdout, "compute.compute.kpu.dev/client configured\n")
        const third = yield* kubectl("apply -f -", manifest("client", { image: "j" }))
        assert.strictEqual(third.stdout, "compute.compute.kpu.dev/client unchanged\n")
        assert.strictEqual((yield* kubectl("get compute client -o jsonpath={.spec.args}")).stdout, "")
        assert.strictEqual((yield* kubectl("label compute client team=a")).code, 0)
        assert.strictEqual(
          (yield* kubectl("get computes -l team=a -o name")).stdout,
          "compute.compute.kpu.dev/client\n"
        )
        const patched = yield* kubectl(
          'patch compute client --type=json -p [{"op":"replace","path":"/spec/image","value":"k"}]'
        )
        assert.strictEqual(patched.stdout, "compute.compute.kpu.dev/client patched\n")
        const migrated = yield* kubectl("apply --server-side -f -", manifest("client", { image: "k" }))
        assert.strictEqual(migrated.code, 0, migrated.stderr)
      })
    )

    it.effect("patches the status through its subresource only", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        yield* kubectl("apply --server-side -f -", manifest("status", { image: "i" }))
        yield* ready("status")
        const condition =
          '{"type":"Extra","status":"True","reason":"Tested","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}'
        const patch = `{"spec":{"image":"no"},"status":{"conditions":[${condition}]}}`
        const done = yield* kubectl(`patch compute status --subresource=status --type=merge -p ${patch}`)
        assert.strictEqual(done.code, 0, done.stderr)
        const seen = yield* kubectl("get compute status -o jsonpath={.spec.image}{.status.conditions[*].type}")
        assert.strictEqual(seen.stdout, "iExtra")
        yield* kubectl(`patch compute status --type=merge -p {"status":{"conditions":[]}}`)
        assert.strictEqual(
          (yield* kubectl("get compute status -o jsonpath={.status.conditions[*].type}")).stdout,
          "Extra"
        )
      })
    )

    it.effect("watches", () =>
      Effect.gen(function* () {
        const { env, kubectl } = yield* Kubectl
        yield* kubectl("apply --server-side -f -", manifest("watched", { image: "i" }))
        yield* ready("watched")
        const watching = yield* startProgram(need("kubectl"), ["get", "compute", "watched", "-w"], { env })
        const state = (wanted: ReadonlyArray<string>) =>
          watching.line((line) => {
            const [, ...states] = line.trim().split(/\s+/)
            return wanted.every((one, i) => states[i] === one) ? line : undefined
          })
        yield* state(["True"])
        yield* kubectl('patch compute watched --type=merge -p {"spec":{"suspend":true}}')
        yield* state(["False", "True"])
        yield* kubectl('patch compute watched --type=merge -p {"spec":{"suspend":false}}')
        yield* state(["True", "False"])
      })
    )

    it.effect("describes a Compute, with what its Pod suffers", () =>
      Effect.gen(function* () {
        const { cluster, kubectl } = yield* Kubectl
        cluster.setPodTrouble("default", "described", { reason: "ErrImagePull", message: "no such image" })
        yield* kubectl("apply --server-side -f -", manifest("described", { image: "i" }))
        yield* kubectl("wait --for=create --timeout=60s pod/described-0")
        const described = (yield* kubectl("describe compute described")).stdout
        assert.match(described, /Name: +described/)
        assert.match(described, /Reason: +StatefulSetNotReady/)
        const pods = cells((yield* kubectl("get pod described-0")).stdout)
        assert.deepStrictEqual(pods[1]?.slice(0, 3), ["described-0", "0/1", "ErrImagePull"])
        assert.include((yield* kubectl("get events")).stdout, "no such image")
        assert.include((yield* kubectl("describe pod described-0")).stdout, "no such image")
      })
    )

    it.effect("explains the schema", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        const compute = (yield* kubectl("explain compute")).stdout
        assert.include(compute, "A Compute is a tensor server that the KPU operator keeps running.")
        const env = (yield* kubectl("explain compute.spec.env")).stdout
        assert.match(env, /name\s+<string> -required-/)
        const all = (yield* kubectl("explain compute --recursive")).stdout
        for (const field of ["suspend", "secretKeyRef", "lastTransitionTime", "ownerReferences"])
          assert.include(all, field)
      })
    )

    it.effect("deletes one, several and all", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        const inTeam = (args: string, input?: string) => kubectl(`-n team-a ${args}`, input)
        for (const name of ["a", "b", "c"]) yield* inTeam("apply --server-side -f -", manifest(name, { image: "i" }))
        const one = yield* inTeam("delete compute a")
        assert.include(one.stdout, '"a" deleted')
        assert.strictEqual((yield* inTeam("delete computes --all")).code, 0)
        assert.include((yield* inTeam("get computes")).stderr, "No resources found in team-a namespace.")
        assert.strictEqual((yield* inTeam("delete compute a")).code, 1)
        assert.strictEqual((yield* inTeam("delete compute a --ignore-not-found")).code, 0)
      })
    )

    it.effect("lists what the API serves, and what the token may do", () =>
      Effect.gen(function* () {
        const { kubectl } = yield* Kubectl
        const resources = (yield* kubectl("api-resources --api-group=compute.kpu.dev -o name")).stdout
        assert.strictEqual(resources, "computes.compute.kpu.dev\n")
        assert.strictEqual((yield* kubectl("auth can-i create computes")).stdout, "yes\n")
        assert.include((yield* kubectl("auth whoami")).stdout, "kpu-local-admin")
        assert.include((yield* kubectl("get crd -o name")).stdout, "computes.compute.kpu.dev")
        assert.strictEqual((yield* kubectl("create namespace team-b")).stdout, "namespace/team-b created\n")
        assert.strictEqual((yield* kubectl("delete namespace team-b")).code, 0)
      })
    )
  })
})
