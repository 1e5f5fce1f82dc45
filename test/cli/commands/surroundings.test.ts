/** What the command does where its surroundings are not as they should be: full disks, readers that go, an old Node. */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { nodeProblem } from "../../../src/cli/nodeVersion.ts"
import { Tensor } from "../../../src/Tensor.ts"
import * as TorchFile from "../../../src/TorchFile.ts"
import { temporaryFolder } from "../../kit/folder.ts"
import { command, kpu, succeed } from "../kit/command.ts"

/** Runs `kpu` in a line of shell, where `"$@"` is it and its arguments. */
const inShell = (line: string, args: ReadonlyArray<string>) =>
  spawnSync("bash", ["-o", "pipefail", "-c", line, "bash", ...command, ...args], { encoding: "utf8" })

describe("kpu's standard output", () => {
  it.skipIf(!existsSync("/dev/full"))("says what is lost when it cannot be written, also to programs", () => {
    const full = inShell('"$@" > /dev/full', ["--help"])
    assert.strictEqual(full.status, exitCodes.files)
    assert.strictEqual(full.stderr, "error: cannot write standard output: no space is left on the disk\n")
    const asked = inShell('"$@" > /dev/full', ["local", "status", "-ojson"])
    assert.deepInclude(JSON.parse(asked.stderr), { kind: "Error", exitCode: exitCodes.files })
  })

  it("may lose its reader at any time", () => {
    const { status, stderr, stdout } = inShell('"$@" | head -n 1', ["--help"])
    assert.deepStrictEqual([status, stderr, stdout], [0, "", "DESCRIPTION\n"])
    assert.strictEqual(inShell('"$@" | true', ["--help"]).status, 0)
  })
})

describe("an old Node", () => {
  it("is told in a sentence what is needed", () => {
    const [node, ...rest] = command
    const older = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } })'
    const { status, stderr, stdout } = spawnSync(
      node!,
      ["--import", `data:text/javascript,${encodeURIComponent(older)}`, ...rest, "--version"],
      { encoding: "utf8" }
    )
    assert.deepStrictEqual([status, stdout], [exitCodes.failure, ""])
    assert.match(stderr, /^error: kpu needs Node \d+\.\d+ or newer, and this is Node 20\.20\.2\n$/)
  })

  it("is one that package.json does not allow", () => {
    assert.isDefined(nodeProblem("22.18.9"))
    assert.isUndefined(nodeProblem("22.19.0"))
    assert.isUndefined(nodeProblem("24.1.0"))
    assert.isUndefined(nodeProblem(process.versions.node))
  })
})

describe("names in files", () => {
  const file = (name: string, tensors: Readonly<Record<string, Tensor>>) =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const place = join(path, name)
      yield* Effect.provide(TorchFile.write(place, tensors), NodeFileSystem.layer)
      return place
    })

  it.live("can neither colour a terminal nor make lines of their own", () =>
    Effect.gen(function* () {
      const path = yield* file("two\nlines.pt", { "\u001b]0;title\u0007\u001b[31mred\nsecond": Tensor.zeros([2]) })
      for (const env of [{}, { FORCE_COLOR: "1" }]) {
        const { stdout } = yield* succeed(["inspect", path, path], { env })
        assert.include(stdout, "two\\nlines.pt:")
        assert.include(stdout, "\\u001b]0;title\\u0007\\u001b[31mred\\nsecond")
        assert.notInclude(stdout, "\u0007")
        assert.notInclude(stdout, "\u001b[31m")
      }
      // Programs get the name as it is.
      const json = JSON.parse((yield* succeed(["inspect", path, "-o", "json"])).stdout)
      assert.strictEqual(json.items[0].name, "\u001b]0;title\u0007\u001b[31mred\nsecond")
    })
  )

  it.live("are shown once for each time that a file is named, with what a tensor without elements is", () =>
    Effect.gen(function* () {
      const path = yield* file("empty.pt", { empty: Tensor.zeros([0, 3]) })
      const { stdout } = yield* succeed(["inspect", path, path])
      const once = `${path}:\nempty  float32 [0, 3]  0 B\n  no elements\n`
      assert.strictEqual(stdout, `${once}${once}2 tensors, 0 B\n`)
    })
  )

  it.live("are drawn onto standard output when that is asked for, and nothing else goes there", () =>
    Effect.gen(function* () {
      const path = yield* file("drawn.pt", { "<weight>": Tensor.zeros([2]) })
      const { stderr, stdout } = yield* succeed(["inspect", path, "--plot", "-"])
      assert.match(stdout, /^<\?xml [\s\S]*&#60;weight&#62;[\s\S]*<\/svg>\n$/)
      assert.strictEqual(stderr, "")
    })
  )

  it.live("of files that cannot be read are told without harm", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* kpu(["inspect", "\u001b[31mno.pt"])
      assert.strictEqual(code, exitCodes.files)
      assert.strictEqual(stderr, "error: cannot read \\u001b[31mno.pt: there is no such file or folder\n")
    })
  )
})
