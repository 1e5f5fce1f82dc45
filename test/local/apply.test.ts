/** Server-side apply as the embedded API does it: its laws, and the words of its conflicts. The real server is beside it in `parity.test.ts`. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { parse } from "yaml"
import * as Computes from "../../src/local/Computes.ts"
import { customResourceDefinition } from "../../src/local/Crd.ts"
import { fromFieldsV1, toFieldsV1 } from "../../src/local/FieldSet.ts"
import { isArray, type JsonObject, objectAt } from "../../src/local/Json.ts"
import * as Namespaces from "../../src/local/Namespaces.ts"
import type { ApiFailure } from "../../src/local/Status.ts"
import * as Store from "../../src/local/Store.ts"
import { fieldsOf, merge } from "../../src/local/TypedMerge.ts"

const make = () => {
  const store = Store.make(1000)
  Namespaces.create(store, { metadata: { name: "default" } }, false)
  const computes = Computes.make(store)
  const apply = (manager: string, spec: JsonObject | undefined, force = true) =>
    computes.apply(
      "default",
      "a",
      undefined,
      { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name: "a" }, spec },
      { fieldManager: manager, fieldValidation: "Warn", dryRun: false, force }
    ).object
  return { store, computes, apply }
}

const failureOf = (act: () => unknown): ApiFailure => {
  try {
    act()
  } catch (error) {
    return error as ApiFailure
  }
  throw new Error("it was not refused")
}

const Text = Schema.Literals(["x", "y", "z"])
const Texts = Schema.Array(Text).check(Schema.isMaxLength(3))
/** Never empty: of an empty map that two managers share nothing may be left but null, which the schema refuses. */
const Env = Schema.Struct({
  A: Text,
  B: Schema.optionalKey(Text),
  C: Schema.optionalKey(Text)
})
const Spec = Schema.Struct({
  image: Schema.optionalKey(Text),
  command: Schema.optionalKey(Texts),
  env: Schema.optionalKey(Env),
  labels: Schema.optionalKey(Env)
})
const specOf = ({ env, ...spec }: typeof Spec.Type): JsonObject => ({
  ...spec,
  env: env === undefined ? undefined : Object.entries(env).map(([name, value]) => ({ name, value }))
})

describe("server-side apply", () => {
  it.prop("writes nothing when the same is applied again", [Schema.Array(Spec)], ([specs]) => {
    const { apply, store } = make()
    for (const [i, spec] of specs.entries()) apply(`m${i % 3}`, specOf(spec))
    const last = apply("m", { image: "last", ...specOf(specs[0] ?? {}) })
    const revision = store.revision()
    assert.strictEqual(apply("m", { image: "last", ...specOf(specs[0] ?? {}) }), last)
    assert.strictEqual(store.revision(), revision)
  })

  it.prop("holds what was applied with force, whatever was there", [Schema.Array(Spec), Spec], ([before, spec]) => {
    const { apply } = make()
    for (const [i, one] of before.entries()) apply(`m${i % 3}`, specOf(one))
    const wanted = { image: "mine", ...specOf(spec) }
    const object = apply("m", wanted)
    // What is there already stays as it is when laid over it.
    assert.deepStrictEqual(merge(object, { spec: wanted }, Computes.schema), object)
  })

  it.prop("removes all that one manager alone has applied when it applies nothing", [Spec, Spec], ([first, second]) => {
    const { apply } = make()
    const alone = make().apply("other", { image: "theirs", ...specOf(second) })
    apply("other", { image: "theirs", ...specOf(second) })
    // Only what the other does not set: taking a field over by force and dropping it removes it.
    const others = new Set(fieldsOf({ spec: { image: "theirs", ...specOf(second) } }, Computes.schema))
    const mine = [...fieldsOf({ spec: specOf(first) }, Computes.schema)]
    if (mine.some((field) => others.has(field))) return
    apply("m", specOf(first))
    const object = apply("m", {})
    assert.deepStrictEqual(objectAt(object, "spec"), objectAt(alone, "spec"))
  })

  it.prop("shows as fieldsV1 what it can read again", [Spec], ([spec]) => {
    const fields = fieldsOf({ spec: specOf(spec) }, Computes.schema)
    assert.deepStrictEqual([...fromFieldsV1(toFieldsV1(fields))].sort(), [...fields].sort())
  })

  it("names the manager and the field of a conflict, and all of several", () => {
    const { apply } = make()
    apply("owner", { image: "x", env: [{ name: "A", value: "1" }], command: ["a"] })
    const one = failureOf(() => apply("m", { image: "y" }, false))
    assert.strictEqual(one.body.code, 409)
    assert.strictEqual(one.body.message, 'Apply failed with 1 conflict: conflict with "owner": .spec.image')
    assert.deepStrictEqual(one.body.details?.causes, [
      { reason: "FieldManagerConflict", message: 'conflict with "owner"', field: ".spec.image" }
    ])
    const two = failureOf(() => apply("m", { env: [{ name: "A", value: "2" }], command: ["b"] }, false))
    assert.strictEqual(
      two.body.message,
      'Apply failed with 2 conflicts: conflicts with "owner":\n- .spec.command\n- .spec.env[name="A"].value'
    )
  })

  it("writes nothing of an apply that is refused", () => {
    const { apply, store } = make()
    apply("owner", { image: "x" })
    const revision = store.revision()
    failureOf(() => apply("m", { image: "y", args: ["z"] }, false))
    failureOf(() => apply("m", { imagee: "y" }))
    assert.strictEqual(store.revision(), revision)
  })

  it("lets managers who agree own a field together", () => {
    const { apply } = make()
    apply("one", { image: "x" })
    const object = apply("two", { image: "x" }, false)
    const managers = objectAt(object, "metadata")["managedFields"]
    assert.deepStrictEqual(isArray(managers) ? managers.map((entry) => (entry as JsonObject)["manager"]).sort() : [], [
      "one",
      "two"
    ])
    // Dropped by one, kept by the other.
    assert.strictEqual(objectAt(apply("one", {}), "spec")["image"], "x")
    assert.strictEqual(objectAt(apply("two", {}), "spec")["image"], undefined)
  })

  it("counts generations by changes of the spec alone", () => {
    const { apply, computes } = make()
    const generation = (object: JsonObject) => objectAt(object, "metadata")["generation"]
    assert.strictEqual(generation(apply("m", { image: "x" })), 1)
    assert.strictEqual(generation(apply("n", { image: "x" })), 1)
    assert.strictEqual(generation(apply("m", { image: "y" })), 2)
    const options = { fieldManager: "c", fieldValidation: "Warn", dryRun: false } as const
    const labelled = computes.update(
      "default",
      "a",
      undefined,
      "patch",
      (live) => ({ ...live, metadata: { ...objectAt(live, "metadata"), labels: { a: "b" } } }),
      options
    )
    assert.strictEqual(generation(labelled.object), 2)
    const reported = computes.update("default", "a", "status", "patch", (live) => ({ ...live, status: {} }), options)
    assert.strictEqual(generation(reported.object), 2)
  })
})

describe("the definition of Computes", () => {
  it("is the one that tests install on a real API server", () => {
    const file = join(import.meta.dirname, "../peers/crd/computes.compute.kpu.dev.yaml")
    assert.deepStrictEqual(customResourceDefinition as unknown, parse(readFileSync(file, "utf8")))
  })
})
