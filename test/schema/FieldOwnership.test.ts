import { assert, describe, it } from "@effect/vitest"
import { apiVersion, type ComputeResource, kind } from "../../src/schema/ComputeResource.ts"
import { ownedSpec } from "../../src/schema/FieldOwnership.ts"

const resource: ComputeResource = {
  apiVersion,
  kind,
  metadata: {
    name: "a",
    namespace: "default",
    uid: "u",
    resourceVersion: "1",
    managedFields: [
      {
        manager: "ours",
        operation: "Apply",
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:spec": {
            "f:image": {},
            "f:args": {},
            "f:env": {
              'k:{"name":"A"}': { ".": {}, "f:name": {}, "f:value": {} },
              'k:{"name":"GONE"}': { ".": {}, "f:name": {} }
            },
            "f:labels": { "f:team": {} }
          }
        }
      },
      { manager: "theirs", operation: "Apply", fieldsV1: { "f:spec": { "f:command": {} } } },
      { manager: "ours", operation: "Update", subresource: "status", fieldsV1: { "f:status": {} } }
    ]
  },
  spec: {
    image: "i",
    args: ["x", "y"],
    command: ["theirs"],
    env: [
      { name: "A", value: "1" },
      { name: "B", value: "2" }
    ],
    labels: { team: "ml", other: "theirs" },
    suspend: false
  }
}

describe("ownedSpec", () => {
  it("gives what the manager has applied, and nothing of others", () => {
    assert.deepStrictEqual(ownedSpec(resource, "ours"), {
      image: "i",
      args: ["x", "y"],
      env: [{ name: "A", value: "1" }],
      labels: { team: "ml" }
    })
  })

  it("is empty for a manager that has applied nothing", () => {
    assert.deepStrictEqual(ownedSpec(resource, "nobody"), {})
    assert.deepStrictEqual(
      ownedSpec({ ...resource, metadata: { ...resource.metadata, managedFields: [] } }, "ours"),
      {}
    )
  })
})
