import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { LocalCluster } from "../../src/LocalCluster.ts"
import { describeWith, root } from "../kit/peers.ts"
import * as Process from "../kit/process.ts"

const source = ["--conditions=effect-kpu-source"]

describe("programs as processes", () => {
  it.live("the main job holds, start to end, and exits 0", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* Process.exec(process.execPath, [...source, join(root, "examples/main-job.ts")])
      assert.strictEqual(code, 0, stdout)
      assert.include(stdout, "The main job held, start to end.")
      for (const step of ["apply", "wait", "send", "receive", "stream", "compare", "suspend", "resume", "delete"]) {
        assert.include(stdout, `✓ ${step}`)
      }
    })
  )

  it.live("Ctrl-C deletes a scoped Compute before the process exits", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-kpu-ctrl-c-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const kubeconfig = join(folder, "kubeconfig")
      const cluster = yield* LocalCluster.start({})
      writeFileSync(kubeconfig, cluster.kubeconfig)
      const computes = Effect.promise(async () => {
        const answer = await fetch(`${cluster.url}/apis/compute.kpu.dev/v1alpha1/computes`, {
          headers: { authorization: `Bearer ${cluster.token}` }
        })
        return ((await answer.json()) as { items: ReadonlyArray<{ metadata: { name: string } }> }).items.map(
          ({ metadata }) => metadata.name
        )
      })
      const program = yield* Process.start(process.execPath, [
        ...source,
        join(root, "test/examples/ctrl-c.ts"),
        kubeconfig,
        cluster.gatewayAddress
      ])
      yield* program.line((line) => (line.includes("holding") ? line : undefined))
      assert.deepStrictEqual(yield* computes, ["held"])
      program.child.kill("SIGINT")
      yield* Effect.promise(() => new Promise((done) => program.child.once("exit", done)))
      assert.deepStrictEqual(yield* computes, [])
    }).pipe(Effect.scoped)
  )
})

describeWith(["kubernetes", "pytorch"], "the example on real input", () => {
  it.live(
    "a file that PyTorch saved goes through a real API server and a real Python server, and comes back bit-equal",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* Process.exec(process.execPath, [
          ...source,
          join(root, "examples/pytorch.ts")
        ])
        assert.strictEqual(code, 0, stdout + stderr)
        assert.include(stdout, "both files hold the same tensor, bit for bit")
      }),
    120_000
  )
})
