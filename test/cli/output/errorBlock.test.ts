import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"
import { CommandError } from "../../../src/cli/CommandError.ts"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { errorBlock, errorReport, formatErrorBlock } from "../../../src/cli/output/errorBlock.ts"
import { ErrorReport } from "../../../src/cli/output/json.ts"
import { coloured, plain, unstyled } from "../../../src/cli/output/Style.ts"
import * as KpuError from "../../../src/schema/KpuError.ts"
import * as Kubernetes from "../../../src/schema/KubernetesError.ts"
import { SendReceipt } from "../../../src/schema/SendReceipt.ts"

const resource = { kind: "Compute", namespace: "team-a", name: "x" }
const kubernetes = (reason: Kubernetes.KubernetesErrorReason) =>
  new Kubernetes.KubernetesError({ verb: "get", resource, reason })
const message = "the server's words"

/** Each error of the client, and the code that `kpu` ends with. */
const errors: ReadonlyArray<readonly [KpuError.KpuError, number]> = [
  [new KpuError.InvalidInput({ field: "name", problem: "is missing" }), exitCodes.usage],
  [new KpuError.KubeConfigError({ problem: "none", tried: [{ source: "a", problem: "b" }] }), exitCodes.unreachable],
  [kubernetes(new Kubernetes.Unauthorized({ message })), exitCodes.denied],
  [kubernetes(new Kubernetes.Forbidden({ message })), exitCodes.denied],
  [kubernetes(new Kubernetes.NotFound({ message })), exitCodes.notFound],
  [kubernetes(new Kubernetes.CrdNotInstalled({ message })), exitCodes.notFound],
  [kubernetes(new Kubernetes.Conflict({ message, causes: [] })), exitCodes.refused],
  [kubernetes(new Kubernetes.Invalid({ message, causes: [] })), exitCodes.refused],
  [kubernetes(new Kubernetes.Rejected({ message, status: 405 })), exitCodes.refused],
  [kubernetes(new Kubernetes.Throttled({ message })), exitCodes.unreachable],
  [kubernetes(new Kubernetes.Unavailable({ message, status: 503 })), exitCodes.unreachable],
  [kubernetes(new Kubernetes.BadResponse({ message, status: 200, firstBytes: "<html>" })), exitCodes.unreachable],
  [kubernetes(new Kubernetes.Transport({ message, isRetryable: true })), exitCodes.unreachable],
  [
    new KpuError.ReadyTimeout({ resource, timeoutMillis: 1000, waitedFor: "ready", conditions: [], problem: message }),
    exitCodes.timeout
  ],
  [new KpuError.ComputeDeleted({ resource, problem: message }), exitCodes.failed],
  [
    new KpuError.ComputeFailed({ resource, pod: "x-0", reason: "ErrImageNeverPull", problem: message }),
    exitCodes.failed
  ],
  [new KpuError.NotReady({ resource, problem: message }), exitCodes.tensors],
  [
    new KpuError.SendRejected({ receipt: new SendReceipt({ success: false, message, receivedTensorIds: [] }) }),
    exitCodes.tensors
  ],
  [new KpuError.GrpcError({ code: "UNAVAILABLE", details: message, method: "m", address: "a" }), exitCodes.tensors],
  [new KpuError.TensorDecodeError({ where: "zip", problem: message }), exitCodes.files],
  [new KpuError.TensorLimitError({ limit: "maxTensorBytes", problem: message }), exitCodes.files]
]

const tagOf = (error: KpuError.KpuError) => (error._tag === "KubernetesError" ? error.reason._tag : error._tag)

describe("an error", () => {
  it.each(errors.map(([error, code]) => [tagOf(error), error, code] as const))(
    "%s ends the command with its code, in one block without a stack trace",
    (_, error, code) => {
      const block = errorBlock(Cause.fail(error))
      assert.strictEqual(block.exitCode, code)
      const text = formatErrorBlock(block, plain, false)
      assert.match(text, /^error: /)
      assert.include(text, error.message.split("\n")[0]!)
      assert.notMatch(text, /^\s+at /m)
      assert.notMatch(text, /undefined|\[object/)
      // With -v there is more.
      assert.isAbove(formatErrorBlock(block, plain, true).length, text.length)
      // The colours are all that differs.
      assert.strictEqual(unstyled(formatErrorBlock(block, coloured, false)), text)
    }
  )

  it("covers every member of the family", () => {
    assert.deepStrictEqual(
      new Set(errors.map(([error]) => error._tag)),
      new Set(KpuError.KpuError.members.map((member) => member.fields._tag.schema.literal))
    )
  })

  it("is one JSON document for programs, of a fixed shape", () => {
    const decode = Schema.decodeUnknownSync(ErrorReport)
    for (const [error, exitCode] of errors) {
      const report = decode(JSON.parse(JSON.stringify(errorReport(errorBlock(Cause.fail(error))))))
      assert.strictEqual(report.exitCode, exitCode)
    }
  })

  it("lists the last conditions of a wait that timed out", () => {
    const error = new KpuError.ReadyTimeout({
      resource,
      timeoutMillis: 1000,
      waitedFor: "ready",
      conditions: [
        {
          type: "Ready",
          status: "False",
          reason: "Starting",
          message: "0/1",
          lastTransitionTime: "2026-01-01T00:00:00Z"
        }
      ],
      problem: "not yet"
    })
    assert.include(formatErrorBlock(errorBlock(Cause.fail(error)), plain, false), "  Ready=False Starting: 0/1")
  })

  it("says once what a wait came to, and how to go on where the Compute is suspended", () => {
    const condition = {
      type: "Suspended",
      status: "True",
      reason: "Suspended",
      message: "it sleeps",
      lastTransitionTime: "2026-01-01T00:00:00Z"
    } as const
    const problem = "it is suspended; resume() it first (Suspended=True Suspended: it sleeps)"
    const timeout = { resource, timeoutMillis: 1000, waitedFor: "ready", conditions: [condition], problem }
    const text = formatErrorBlock(errorBlock(Cause.fail(new KpuError.ReadyTimeout(timeout))), plain, false)
    assert.strictEqual(text.split("it sleeps").length, 2)
    assert.include(text, "try: kpu resume x")
  })

  it("of the command itself says what to do, and its cause only when asked", () => {
    const error = new CommandError({
      problem: "cannot write x",
      advice: "free some space",
      exitCode: exitCodes.files,
      cause: new Error("ENOSPC deep inside")
    })
    const block = errorBlock(Cause.fail(error))
    assert.strictEqual(formatErrorBlock(block, plain, false), "error: cannot write x\n  try: free some space")
    assert.include(formatErrorBlock(block, plain, true), "ENOSPC deep inside")
  })

  it("that nobody expected says so, and keeps its stack for --verbose", () => {
    const block = errorBlock(Cause.die(new TypeError("x is not a function")))
    assert.strictEqual(block.exitCode, exitCodes.failure)
    assert.notMatch(formatErrorBlock(block, plain, false), /^\s+at /m)
    assert.match(formatErrorBlock(block, plain, true), /^\s+at /m)
  })
})
