import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"

const root = resolve(import.meta.dirname, "../..")

/** What the compiler says of one file of this folder. */
const compile = (file: string): Promise<{ readonly code: number; readonly output: string }> =>
  new Promise((done) => {
    const settings = [
      ["--noEmit", "--target", "es2024", "--module", "nodenext", "--strict", "--exactOptionalPropertyTypes"],
      ["--skipLibCheck", "--verbatimModuleSyntax", "--allowImportingTsExtensions", "--types", "node"],
      ["--lib", "es2024,dom,esnext.disposable,esnext.float16", "--customConditions", "effect-kpu-source"]
    ].flat()
    execFile(
      join(root, "node_modules/.bin/tsc"),
      ["--ignoreConfig", ...settings, file],
      { cwd: root },
      (error, stdout) => done({ code: typeof error?.code === "number" ? error.code : 0, output: stdout })
    )
  })

describe("the public types", () => {
  it("are what they promise: values, errors and services of each call", async () => {
    const { code, output } = await compile(join(import.meta.dirname, "api.ts"))
    assert.strictEqual(output, "")
    assert.strictEqual(code, 0)
  })

  it("would be found out if they were not", async () => {
    const folder = await mkdtemp(join(import.meta.dirname, "wrong-"))
    try {
      const text = await readFile(join(import.meta.dirname, "api.ts"), "utf8")
      const wrong = text
        .replace('"./equal.ts"', '"../equal.ts"')
        .replace("Equal<Failure<typeof sent>, Send | Mine>", "Equal<Failure<typeof sent>, Send>")
      const file = join(folder, "api.ts")
      await writeFile(file, wrong)
      const { code, output } = await compile(file)
      assert.notStrictEqual(code, 0)
      assert.match(output, /TS2344: Type 'false' does not satisfy the constraint 'true'/)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
