/** Random scripts of applies, patches and status writes by several managers on one Compute. */
import * as Schema from "effect/Schema"
import type { Step } from "./exchange.ts"

const Some = Schema.Literals(["1", "2", "3"])
const List = <S extends Schema.Top>(item: S) => Schema.Array(item).check(Schema.isMaxLength(4))
const Nullable = <S extends Schema.Top>(schema: S) => Schema.NullOr(schema)
const Manager = Schema.Literals(["m", "n", "o"])

const Env = List(
  Schema.Struct({
    name: Schema.Literals(["A", "B", "C", "D"]),
    value: Schema.optionalKey(Some),
    valueFrom: Schema.optionalKey(Schema.Struct({ fieldRef: Schema.Struct({ fieldPath: Some }) }))
  })
)
const Texts = Schema.Struct({
  k: Schema.optionalKey(Some),
  l: Schema.optionalKey(Some),
  "example.com/m": Schema.optionalKey(Some)
})
const Spec = Schema.Struct({
  image: Schema.optionalKey(Some),
  command: Schema.optionalKey(List(Some)),
  env: Schema.optionalKey(Env),
  labels: Schema.optionalKey(Texts),
  annotations: Schema.optionalKey(Texts),
  suspend: Schema.optionalKey(Schema.Boolean)
})
const Metadata = Schema.Struct({ labels: Schema.optionalKey(Texts), annotations: Schema.optionalKey(Texts) })
const Conditions = List(
  Schema.Struct({
    type: Schema.Literals(["Ready", "Suspended", "Other"]),
    status: Schema.Literals(["True", "False"]),
    reason: Schema.Literals(["R", "S"])
  })
)

const Apply = Schema.Struct({
  door: Schema.tag("apply"),
  manager: Manager,
  force: Schema.Boolean,
  metadata: Metadata,
  spec: Schema.optionalKey(Spec)
})
const ApplyStatus = Schema.Struct({ door: Schema.tag("applyStatus"), manager: Manager, conditions: Conditions })
const Merge = Schema.Struct({
  door: Schema.tag("merge"),
  manager: Manager,
  sub: Schema.Literals(["", "/status"]),
  metadata: Schema.optionalKey(Metadata),
  spec: Schema.optionalKey(
    Nullable(
      Schema.Struct({
        image: Schema.optionalKey(Nullable(Some)),
        env: Schema.optionalKey(Nullable(Env)),
        labels: Schema.optionalKey(Nullable(Texts))
      })
    )
  ),
  conditions: Schema.optionalKey(Nullable(Conditions))
})

/** A first apply, and what several managers do after it. */
export const RandomScript = Schema.Struct({
  first: Apply,
  rest: Schema.Array(Schema.Union([Apply, Apply, ApplyStatus, Merge])).check(Schema.isMaxLength(8))
})
export type RandomScript = typeof RandomScript.Type

const distinct = <A>(items: ReadonlyArray<A>, key: (item: A) => string): ReadonlyArray<A> => [
  ...new Map(items.map((item) => [key(item), item])).values()
]
const envOf = (env: typeof Env.Type | null | undefined) => (env ? distinct(env, ({ name }) => name) : env)
const conditionsOf = (conditions: typeof Conditions.Type | null | undefined) =>
  conditions
    ? distinct(conditions, ({ type }) => type).map((one) => ({
        ...one,
        message: "",
        lastTransitionTime: "2020-01-01T00:00:00Z"
      }))
    : conditions

/**
 * No map in the metadata becomes empty: what the real server stores of such is not what it answers, so that it counts
 * one write more. A label and an annotation of someone else see to that, as does leaving out empty maps here.
 */
const metadataOf = (metadata: typeof Metadata.Type | undefined) =>
  metadata === undefined
    ? undefined
    : Object.fromEntries(Object.entries(metadata).filter(([, map]) => Object.keys(map).length > 0))

const object = (rest: object, metadata: object = {}) => ({
  apiVersion: "compute.kpu.dev/v1alpha1",
  kind: "Compute",
  metadata: { name: "a", ...metadata },
  ...rest
})

const stepOf = (one: RandomScript["rest"][number]): Step => {
  switch (one.door) {
    case "apply":
      return {
        method: "PATCH",
        path: `a?fieldManager=${one.manager}&force=${one.force}`,
        type: "application/apply-patch+yaml",
        body: object(
          one.spec === undefined ? {} : { spec: { ...one.spec, env: envOf(one.spec.env) } },
          metadataOf(one.metadata)
        )
      }
    case "applyStatus":
      return {
        method: "PATCH",
        path: `a/status?fieldManager=${one.manager}&force=true`,
        type: "application/apply-patch+yaml",
        body: object({ status: { conditions: conditionsOf(one.conditions) } })
      }
    case "merge":
      return {
        method: "PATCH",
        path: `a${one.sub}?fieldManager=${one.manager}`,
        type: "application/merge-patch+json",
        body: {
          metadata: metadataOf(one.metadata),
          spec: one.spec ? { ...one.spec, env: envOf(one.spec.env) } : one.spec,
          status: one.conditions === undefined ? undefined : { conditions: conditionsOf(one.conditions) }
        }
      }
  }
}

export const toScript = ({ first, rest }: RandomScript): ReadonlyArray<Step> => [
  {
    method: "POST",
    path: "?fieldManager=base",
    body: object({ spec: { image: "0" } }, { labels: { base: "x" }, annotations: { base: "x" } })
  },
  stepOf(first),
  ...rest.map(stepOf),
  { method: "GET", path: "a" }
]
