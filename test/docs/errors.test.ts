import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { grpcCodes, KpuError, KubernetesError } from "effect-kpu"
import { root } from "./guides.ts"

const page = await readFile(join(root, "docs/errors.md"), "utf8")

/** The sections by their headings. */
const sections = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((section): [string, string] => [section.slice(0, section.indexOf("\n")), section])
)

/** The rows of the tables by each name in their first cell; a row has a cause and a cure. */
const rows = new Map(
  [...page.matchAll(/^\| (`.*?) +\| (.+?) +\| (.+?) +\|$/gm)].flatMap(([, names, cause, cure]) =>
    [...names!.matchAll(/`(\w+)`/g)].map(([, name]): [string, ReadonlyArray<string>] => [name!, [cause!, cure!]])
  )
)

describe("docs/errors.md", () => {
  it("has a section with cause and cure for every error, and for no other", () => {
    const tags = KpuError.members.map(({ identifier }) => identifier)
    assert.sameMembers([...sections.keys()], tags)
    for (const tag of tags) {
      // These two have their causes and cures in tables.
      if (tag === "KubernetesError" || tag === "GrpcError") continue
      assert.match(sections.get(tag)!, /\*\*Cause\.\*\* \S[\s\S]+\*\*Cure\.\*\* \S/, tag)
    }
  })

  it("has a row with cause and cure for every reason of a KubernetesError, and for every gRPC status", () => {
    const reasons = KubernetesError.fields.reason.members.map(({ identifier }) => identifier)
    assert.sameMembers([...rows.keys()], [...reasons, ...grpcCodes.filter((code) => code !== "OK")])
    for (const [name, cells] of rows) for (const cell of cells) assert.match(cell, /\w{3}/, name)
  })

  it("says of each error truly whether it is retryable", () => {
    const never = ["InvalidInput", "KubeConfigError", "ComputeDeleted", "ComputeFailed", "SendRejected"]
    for (const tag of [...never, "TensorDecodeError", "TensorLimitError"]) {
      assert.match(sections.get(tag)!, /Not\s+retryable/, tag)
    }
    for (const tag of ["ReadyTimeout", "NotReady"]) assert.match(sections.get(tag)!, /[^t] Retryable\./, tag)
  })
})
