/**
 * The Compute resource as the Kubernetes API holds it: `compute.kpu.dev/v1alpha1`, kind `Compute`.
 *
 * Decoding keeps fields that are not named here (`decodeComputeResource`), so that what a newer operator adds is not
 * lost on the way to a person's screen.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Condition } from "./Condition.ts"

export const group = "compute.kpu.dev"
export const version = "v1alpha1"
export const apiVersion = `${group}/${version}`
export const kind = "Compute"
export const plural = "computes"

/** An environment variable as Kubernetes' core/v1 has it; `valueFrom` is passed through as it is. */
export const EnvVar = Schema.Struct({
  name: Schema.String,
  value: Schema.optional(Schema.String),
  valueFrom: Schema.optional(Schema.Record(Schema.String, Schema.Unknown))
})
export type EnvVar = typeof EnvVar.Type

const StringMap = Schema.Record(Schema.String, Schema.String)

/** `spec`: what was asked for. */
export const ComputeSpec = Schema.Struct({
  image: Schema.optional(Schema.String),
  command: Schema.optional(Schema.Array(Schema.String)),
  args: Schema.optional(Schema.Array(Schema.String)),
  env: Schema.optional(Schema.Array(EnvVar)),
  labels: Schema.optional(StringMap),
  annotations: Schema.optional(StringMap),
  suspend: Schema.optional(Schema.Boolean)
})
export type ComputeSpec = typeof ComputeSpec.Type

/** `status`: what the operator found. */
export const ComputeStatus = Schema.Struct({
  conditions: Schema.optional(Schema.Array(Condition))
})
export type ComputeStatus = typeof ComputeStatus.Type

/** Which manager owns which fields, and since when. */
export const ManagedFieldsEntry = Schema.Struct({
  manager: Schema.optional(Schema.String),
  operation: Schema.optional(Schema.String),
  apiVersion: Schema.optional(Schema.String),
  time: Schema.optional(Schema.String),
  fieldsType: Schema.optional(Schema.String),
  fieldsV1: Schema.optional(Schema.Record(Schema.String, Schema.Unknown)),
  subresource: Schema.optional(Schema.String)
})
export type ManagedFieldsEntry = typeof ManagedFieldsEntry.Type

export const ObjectMeta = Schema.Struct({
  name: Schema.String,
  namespace: Schema.String,
  uid: Schema.String,
  resourceVersion: Schema.String,
  generation: Schema.optional(Schema.Int),
  creationTimestamp: Schema.optional(Schema.String),
  deletionTimestamp: Schema.optional(Schema.String),
  labels: Schema.optional(StringMap),
  annotations: Schema.optional(StringMap),
  finalizers: Schema.optional(Schema.Array(Schema.String)),
  managedFields: Schema.optional(Schema.Array(ManagedFieldsEntry))
})
export type ObjectMeta = typeof ObjectMeta.Type

/** A Compute as the API server answers it. */
export const ComputeResource = Schema.Struct({
  apiVersion: Schema.Literal(apiVersion),
  kind: Schema.Literal(kind),
  metadata: ObjectMeta,
  spec: Schema.optional(ComputeSpec),
  status: Schema.optional(ComputeStatus)
})
export type ComputeResource = typeof ComputeResource.Type

const checkComputeResource = Schema.decodeUnknownEffect(ComputeResource)

/**
 * Checks an API server's answer and gives it whole: the schema transforms nothing, so the checked value is the answer
 * itself, with the fields that this version does not name.
 */
export const decodeComputeResource = (answer: unknown): Effect.Effect<ComputeResource, Schema.SchemaError> =>
  Effect.as(checkComputeResource(answer), answer as ComputeResource)

/** The condition of that type, when the operator has set it. */
export const findCondition = (resource: ComputeResource, type: string): Condition | undefined =>
  resource.status?.conditions?.find((condition) => condition.type === type)
