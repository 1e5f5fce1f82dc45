/** `kpu` against a real Kubernetes API with RBAC, and files of PyTorch's own through a real PyTorch server. */
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { DoctorReport, TransferResult } from "../../../src/cli/output/json.ts"
import * as Controller from "../../kit/Controller.ts"
import * as KubeApiServer from "../../kit/KubeApiServer.ts"
import * as PythonServer from "../../kit/PythonServer.ts"
import { describeWith, need } from "../../kit/peers.ts"
import { run } from "../../kit/process.ts"
import { kpu, succeed } from "../kit/command.ts"

const decodeReport = Schema.decodeUnknownSync(Schema.fromJsonString(DoctorReport))
const decodeTransfer = Schema.decodeUnknownSync(Schema.fromJsonString(TransferResult))

describeWith(["kubernetes", "pytorch"], "kpu on a real Kubernetes API with PyTorch", () => {
  it.live("goes from apply to delete, files of torch.save through it unchanged, and the doctor is content", () =>
    Effect.gen(function* () {
      const api = yield* KubeApiServer.make({ users: { alice: [] } })
      const python = yield* PythonServer.make()
      yield* Controller.make({ url: api.url, token: api.token, ca: api.serverAuthority.cert })
      const env = { HOME: api.folder, KUBECONFIG: api.kubeconfig, KPU_GATEWAY: `${python.host}:${python.port}` }

      const model = join(api.folder, "model.pt")
      const echoed = join(api.folder, "echoed.pt")
      yield* run(need("pytorch").python, [
        "-c",
        `import sys, torch
torch.manual_seed(1)
torch.save(torch.nn.Linear(64, 32, dtype=torch.bfloat16).state_dict(), sys.argv[1])`,
        model
      ])

      yield* succeed(["apply", "real", "--image", "server:1", "-e", "LOG=DEBUG", "--wait"], { env })
      const sent = decodeTransfer((yield* succeed(["send", "real", model, "-o", "json"], { env })).stdout)
      assert.deepStrictEqual(sent.sent, { tensors: 2, bytes: (64 * 32 + 32) * 2 })
      assert.isTrue(sent.receipt!.success)
      yield* succeed(["stream", "real", model, "--out", echoed], { env })
      yield* run(need("pytorch").python, [
        "-c",
        `import sys, torch
a, b = (torch.load(path) for path in sys.argv[1:])
assert list(a) == list(b) == ["weight", "bias"], (list(a), list(b))
for name in a:
    assert a[name].dtype == b[name].dtype == torch.bfloat16
    assert torch.equal(a[name], b[name]), name`,
        model,
        echoed
      ])

      const healthy = decodeReport((yield* succeed(["doctor", "real", "-o", "json"], { env })).stdout)
      assert.deepStrictEqual(
        healthy.checks.filter(({ status }) => status !== "ok"),
        []
      )
      assert.match(healthy.checks.find(({ id }) => id === "identity")!.found, /^admin \(.*system:masters/)

      // Somebody without any right: each permission is named, and the command line is told what is missing.
      const alice = ["--token", api.users["alice"]!.token]
      const denied = yield* kpu(["get", ...alice], { env })
      assert.strictEqual(denied.code, exitCodes.denied)
      assert.match(denied.stderr, /User "alice" cannot list resource "computes"/)
      assert.notInclude(denied.stderr, api.users["alice"]!.token)
      const doctor = yield* kpu(["doctor", "-o", "json", ...alice], { env })
      assert.strictEqual(doctor.code, exitCodes.unhealthy)
      assert.deepStrictEqual(
        decodeReport(doctor.stdout)
          .checks.filter(({ status }) => status === "failed")
          .map(({ id }) => id),
        ["get", "list", "watch", "create", "patch", "delete"].map((verb) => `permission:${verb}-computes`)
      )

      const wrong = yield* kpu(["get", "--token", "no-such-token"], { env })
      assert.strictEqual(wrong.code, exitCodes.denied)
      assert.notInclude(wrong.stderr, "no-such-token")

      yield* succeed(["suspend", "real"], { env })
      yield* succeed(["resume", "real"], { env })
      yield* succeed(["delete", "real"], { env })
      assert.strictEqual((yield* succeed(["get", "-o", "name"], { env })).stdout, "")
    })
  )

  it.live("finds the CRD missing where it is missing", () =>
    Effect.gen(function* () {
      const api = yield* KubeApiServer.make({ crd: false })
      const env = { HOME: api.folder, KUBECONFIG: api.kubeconfig }
      const listed = yield* kpu(["get"], { env })
      assert.strictEqual(listed.code, exitCodes.notFound)
      assert.match(listed.stderr, /install the KPU operator/)
      const report = decodeReport((yield* kpu(["doctor", "-o", "json"], { env })).stdout)
      assert.strictEqual(report.checks.find(({ status }) => status === "failed")!.id, "crd")
    })
  )
})
