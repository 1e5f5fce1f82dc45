/** The same kubectl commands on the embedded cluster and on a real kube-apiserver: the same output. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { start } from "../../src/local/Cluster.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"
import { describeWith, need } from "../kit/peers.ts"
import { exec } from "../kit/process.ts"

const manifest = (spec: object, metadata: object = {}) =>
  JSON.stringify({
    apiVersion: "compute.kpu.dev/v1alpha1",
    kind: "Compute",
    metadata: { name: "my", ...metadata },
    spec
  })

const first = manifest({ image: "i", env: [{ name: "A", value: "1" }] })
const second = manifest({ image: "j", env: [{ name: "A", value: "1" }] })
const mistaken = manifest({ imagee: "i" })
const status =
  '{"status":{"conditions":[{"type":"Ready","status":"True","reason":"R","message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}'

/** Arguments, and what is piped in. */
const commands: ReadonlyArray<readonly [args: string, input?: string]> = [
  ["explain compute.spec --recursive"],
  ["explain compute.spec.env.valueFrom.secretKeyRef"],
  ["explain compute.status.conditions"],
  ["explain compute.spec.nope"],
  ["get computes"],
  ["apply --server-side -f -", first],
  ["apply --server-side -f -", first],
  ["get computes"],
  ["get computes -o name"],
  ["get compute my -o jsonpath={.spec}"],
  [`patch compute my --subresource=status --type=merge -p ${status}`],
  ["get computes --no-headers"],
  ["wait --for=condition=Ready compute/my --timeout=60s"],
  ["describe compute my"],
  ["diff --server-side -f -", first],
  ["apply -f -", first],
  ["apply -f -", first],
  ["label compute my x=y"],
  ["label compute my x=z"],
  ["get computes -l x=y -o name"],
  ["annotate compute my note=text"],
  ["get compute my -o yaml --show-managed-fields"],
  ["apply -f -", second],
  ["replace -f -", first],
  ["create -f -", first],
  ["apply --server-side --field-manager=other -f -", second],
  ["apply --server-side --field-manager=other --force-conflicts -f -", second],
  ["apply --server-side -f -", mistaken],
  ["create -f -", mistaken],
  ["create --validate=warn -f -", mistaken],
  ["create --dry-run=server -f -", manifest({ image: "i" }, { name: "dry" })],
  ["create -f -", manifest({ image: "i" }, { name: "1bad" })],
  ["create -f -", manifest({ image: 1, command: "a" }, { name: "types" })],
  ["scale compute my --replicas=2"],
  ["get foos"],
  ["get compute nope"],
  ["patch compute my --type=strategic -p {}"],
  ['patch compute my --type=json -p [{"op":"remove","path":"/spec/nope"}]'],
  ["delete compute my"],
  ["delete compute my"],
  ["delete compute my --ignore-not-found"],
  ["get computes"]
]

const uid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

const normalize = (text: string, namespace: string): string =>
  text
    .replaceAll(namespace, "NAMESPACE")
    .replace(uid, "UID")
    .replace(/20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "TIME")
    .replace(/(resourceVersion: "|Resource Version: +)\d+/g, "$1VERSION")
    .replace(/\b\d+s$/gm, "AGE")
    // Managers whose times are a second apart in one world only come in another order.
    .replace(/ {2}managedFields:\n[\s\S]*?\n(?= {2}\w)/, (block) =>
      block
        .split(/\n(?= {2}- )/)
        .sort()
        .join("\n")
    )
    // Of several faults the order is that of a Go map.
    .replace(/^(The Compute "types" is invalid: )\n([\s\S]*)$/m, (_, head: string, faults: string) => {
      return head + faults.split("\n").sort().join("\n")
    })

describeWith(["kubectl", "kubernetes"], "kubectl on the embedded cluster and on a real kube-apiserver", () => {
  layer(KubeApiServer.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("says the same", () =>
      Effect.gen(function* () {
        const real = yield* KubeApiServer
        // A real server publishes a new resource's schema a moment after it serves the resource.
        const schema = real.request("GET", "/openapi/v3/apis/compute.kpu.dev/v1alpha1")
        while (!JSON.stringify((yield* schema).body).includes('"kind":"Compute"')) yield* Effect.sleep("50 millis")
        const namespace = yield* real.namespace
        const cluster = yield* start({ controller: false, namespaces: [namespace] })
        const theirs = real.writeKubeconfig("real", { namespace })
        const ours = join(real.folder, "embedded")
        writeFileSync(ours, cluster.kubeconfig.replace("namespace: default", `namespace: ${namespace}`))
        const told = (kubeconfig: string, args: string, input: string | undefined) =>
          Effect.map(
            exec(need("kubectl"), args.split(" "), {
              env: { KUBECONFIG: kubeconfig, HOME: join(real.folder, "home") },
              input
            }),
            ({ code, stderr, stdout }) => ({
              args,
              code,
              stdout: normalize(stdout, namespace),
              stderr: normalize(stderr, namespace)
            })
          )
        for (const [args, input] of commands) {
          const [expected, found] = yield* Effect.all([told(theirs, args, input), told(ours, args, input)], {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(found, expected)
        }
      })
    )
  })
})
