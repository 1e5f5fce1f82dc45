/**
 * What `--output json` (and `yaml`) writes, as schemas. The shapes are stable: fields are added, never renamed or
 * removed, within one `apiVersion`. A Compute itself is written as the Kubernetes API has it.
 */
import * as Schema from "effect/Schema"

export const outputVersion = "cli.effect-kpu/v1"

const optional = Schema.optional
const version = Schema.Literal(outputVersion)

export const ComputeRef = Schema.Struct({ namespace: Schema.String, name: Schema.String, uid: optional(Schema.String) })

/** One thing done to one Compute. */
export const ActionResult = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("ActionResult"),
  action: Schema.Literals(["applied", "ready", "suspended", "resumed", "deleted"]),
  compute: ComputeRef
})
export type ActionResult = typeof ActionResult.Type

/** Several of them, in the order of the command line. */
export const ActionResultList = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("ActionResultList"),
  items: Schema.Array(ActionResult)
})

export const TensorHistogram = Schema.Struct({
  edges: Schema.Array(Schema.Finite),
  counts: Schema.Array(Schema.Finite)
})

/** One tensor: what it is, and what its elements look like where that was asked for. */
export const TensorSummary = Schema.Struct({
  name: Schema.String,
  /** Where it was read from or written to. */
  file: optional(Schema.String),
  dtype: Schema.String,
  shape: Schema.Array(Schema.Finite),
  bytes: Schema.Finite,
  nanCount: optional(Schema.Finite),
  infCount: optional(Schema.Finite),
  min: optional(Schema.Finite),
  max: optional(Schema.Finite),
  mean: optional(Schema.Finite),
  std: optional(Schema.Finite),
  histogram: optional(TensorHistogram)
})
export type TensorSummary = typeof TensorSummary.Type

/** What `kpu inspect` found. */
export const TensorSummaryList = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("TensorSummaryList"),
  items: Schema.Array(TensorSummary)
})

/** What `kpu send`, `receive` and `stream` moved. */
export const TransferResult = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("TransferResult"),
  compute: ComputeRef,
  sent: optional(Schema.Struct({ tensors: Schema.Finite, bytes: Schema.Finite })),
  received: optional(Schema.Struct({ tensors: Schema.Finite, bytes: Schema.Finite })),
  seconds: Schema.Finite,
  /** The server's answer to a send. */
  receipt: optional(
    Schema.Struct({
      success: Schema.Boolean,
      message: Schema.String,
      receivedTensorIds: Schema.Array(Schema.String)
    })
  ),
  tensors: Schema.Array(TensorSummary)
})
export type TransferResult = typeof TransferResult.Type

export const CheckStatus = Schema.Literals(["ok", "warning", "failed", "skipped"])

/** What `kpu doctor` found. */
export const DoctorReport = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("DoctorReport"),
  healthy: Schema.Boolean,
  checks: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      title: Schema.String,
      status: CheckStatus,
      found: Schema.String,
      advice: optional(Schema.String)
    })
  )
})
export type DoctorReport = typeof DoctorReport.Type

/** The embedded cluster that `kpu local` runs. */
export const LocalStatus = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("LocalStatus"),
  running: Schema.Boolean,
  pid: optional(Schema.Int),
  server: optional(Schema.String),
  gateway: optional(Schema.String),
  kubeconfig: optional(Schema.String),
  computes: optional(Schema.Finite)
})
export type LocalStatus = typeof LocalStatus.Type

/** An error, on standard error. */
export const ErrorReport = Schema.Struct({
  apiVersion: version,
  kind: Schema.Literal("Error"),
  /** The error's tag, such as `KubernetesError`; `Usage` for a wrong command line. */
  error: Schema.String,
  /** Of a `KubernetesError`: the reason's tag, such as `NotFound`. */
  reason: optional(Schema.String),
  message: Schema.String,
  advice: optional(Schema.String),
  exitCode: Schema.Int
})
export type ErrorReport = typeof ErrorReport.Type

/** Every document that is written. */
export const OutputDocument = Schema.Union([
  ActionResult,
  ActionResultList,
  TensorSummaryList,
  TransferResult,
  DoctorReport,
  LocalStatus,
  ErrorReport
])
