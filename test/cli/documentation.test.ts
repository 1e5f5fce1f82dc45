/** docs/cli.md says what the command does. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { exitCodes } from "../../src/cli/exitCodes.ts"
import { globalFlags } from "../../src/cli/globals.ts"
import { kpu } from "../../src/cli/kpu.ts"
import { OutputDocument, outputVersion } from "../../src/cli/output/json.ts"
import { root } from "../kit/peers.ts"

const page = readFileSync(join(root, "docs/cli.md"), "utf8")

describe("docs/cli.md", () => {
  it("tells every exit code, and no other", () => {
    const told = [...page.slice(page.indexOf("## Exit codes")).matchAll(/^\| (\d+) /gm)].map((match) =>
      Number(match[1])
    )
    assert.deepStrictEqual(told, Object.values(exitCodes))
  })

  it("tells every command", () => {
    for (const { commands } of kpu.subcommands) {
      for (const { name } of commands) assert.match(page, new RegExp(`\`${name}[ \`]`), name)
    }
  })

  it("tells the flags that all commands have", () => {
    for (const { id } of globalFlags) assert.match(page, new RegExp(`--${id}|\`-o json\``), id)
  })

  it("tells every kind of document", () => {
    assert.include(page, outputVersion)
    for (const { fields } of OutputDocument.members) assert.include(page, `\`${fields.kind.literal}\``)
  })
})
