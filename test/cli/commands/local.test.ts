/** `kpu local`: the embedded cluster as a process that other commands find. */
import { existsSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { LocalStatus } from "../../../src/cli/output/json.ts"
import { temporaryFolder } from "../../kit/folder.ts"
import { describeWith, need } from "../../kit/peers.ts"
import { run } from "../../kit/process.ts"
import { kpu, succeed } from "../kit/command.ts"

const decodeStatus = Schema.decodeUnknownSync(Schema.fromJsonString(LocalStatus))

/** A home of its own, in which the cluster is stopped at the end, whatever happened. */
const home = Effect.gen(function* () {
  const { path } = yield* temporaryFolder
  const env = { HOME: path, KPU_LOCAL_HOME: join(path, "local") }
  yield* Effect.addFinalizer(() => Effect.ignore(kpu(["local", "down"], { env })))
  return env
})

describe("kpu local", () => {
  it.live("starts, is found by the other commands with its kubeconfig alone, tells of itself, and stops", () =>
    Effect.gen(function* () {
      const env = yield* home
      const none = yield* kpu(["local", "status"], { env })
      assert.strictEqual(none.code, exitCodes.unreachable)
      assert.include(none.stdout, "kpu local up")

      const up = decodeStatus((yield* succeed(["local", "up", "-o", "json"], { env })).stdout)
      assert.isTrue(up.running)
      assert.strictEqual(statSync(up.kubeconfig!).mode & 0o777, 0o600)
      // The process stays when the command has ended.
      process.kill(up.pid!, 0)

      const inShell = { ...env, KUBECONFIG: (yield* succeed(["local", "status", "-o", "name"], { env })).stdout.trim() }
      yield* succeed(["apply", "x", "--wait"], { env: inShell })
      // Its gateway is found without a flag.
      assert.match((yield* succeed(["receive", "x"], { env: inShell })).stdout, /float32 \[10, 10\]/)
      const status = decodeStatus((yield* succeed(["local", "status", "-ojson"], { env })).stdout)
      assert.deepInclude(status, { running: true, pid: up.pid, computes: 1 })

      const again = decodeStatus((yield* succeed(["local", "up", "-ojson"], { env })).stdout)
      assert.strictEqual(again.pid, up.pid)

      yield* succeed(["local", "down"], { env })
      assert.throws(() => process.kill(up.pid!, 0))
      assert.isFalse(existsSync(up.kubeconfig!))
      assert.strictEqual((yield* kpu(["local", "status"], { env })).code, exitCodes.unreachable)
      yield* succeed(["local", "down"], { env })
    })
  )

  it.live("does not take another process for its own after a crash", () =>
    Effect.gen(function* () {
      const env = yield* home
      const up = decodeStatus((yield* succeed(["local", "up", "-ojson"], { env })).stdout)
      process.kill(up.pid!, "SIGKILL")
      yield* Effect.repeat(
        Effect.flatMap(kpu(["local", "status"], { env }), ({ code }) => Effect.succeed(code)),
        { until: (code) => code === exitCodes.unreachable }
      )
      const after = decodeStatus((yield* succeed(["local", "up", "-ojson"], { env })).stdout)
      assert.notStrictEqual(after.pid, up.pid)
    })
  )

  it.live("says why it did not start", () =>
    Effect.gen(function* () {
      const env = yield* home
      const up = decodeStatus((yield* succeed(["local", "up", "-ojson"], { env })).stdout)
      const port = new URL(up.server!).port
      const other = yield* kpu(["local", "up", "--api-port", port], {
        env: { ...env, KPU_LOCAL_HOME: join(env.HOME, "b") }
      })
      assert.notStrictEqual(other.code, 0)
      assert.match(other.stderr, /did not start:[\s\S]*something else listens/)
    })
  )
})

describeWith(["kubectl"], "kpu local and kubectl", () => {
  it.live("kubectl uses the kubeconfig that it writes", () =>
    Effect.gen(function* () {
      const env = yield* home
      const up = decodeStatus((yield* succeed(["local", "up", "-ojson"], { env })).stdout)
      yield* succeed(["apply", "x", "--wait", "--kubeconfig", up.kubeconfig!], { env })
      const { stdout } = yield* run(
        need("kubectl"),
        ["--kubeconfig", up.kubeconfig!, "get", "computes", "-o", "name"],
        { env }
      )
      assert.strictEqual(stdout, "compute.compute.kpu.dev/x\n")
    })
  )
})
