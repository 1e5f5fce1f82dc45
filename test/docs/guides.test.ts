import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type Block, blocksOf, onLocalCluster, pages, root } from "./guides.ts"

const run = (
  command: string,
  args: ReadonlyArray<string>
): Promise<{ readonly code: number; readonly output: string }> =>
  new Promise((done) => {
    execFile(command, args, { cwd: root }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}${stderr}` })
    )
  })

const inFolder = async (use: (folder: string) => Promise<void>): Promise<void> => {
  // Within the package, so that it finds itself by its name.
  const cache = join(root, ".cache")
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, "guides-"))
  try {
    await use(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

const all: ReadonlyArray<Block> = (await Promise.all((await pages()).map(blocksOf))).flat()

describe("the code of the guides", () => {
  it("compiles", async () => {
    assert.isAbove(all.length, 30)
    await inFolder(async (folder) => {
      for (const { name, source } of all) await writeFile(join(folder, `${name}.ts`), source)
      const config = {
        extends: join(root, "tsconfig.json"),
        compilerOptions: { noEmit: true, noUnusedLocals: false },
        include: ["*.ts"]
      }
      await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config))
      const { output } = await run(join(root, "node_modules/.bin/tsc"), ["-p", join(folder, "tsconfig.json")])
      assert.strictEqual(output, "")
    })
  })

  for (const { name, source, where } of all.filter((block) => block.run)) {
    it(`runs on the embedded cluster: ${where}`, () =>
      inFolder(async (folder) => {
        const file = join(folder, `${name}.ts`)
        await writeFile(file, onLocalCluster(source))
        const { code, output } = await run(process.execPath, ["--conditions=effect-kpu-source", file])
        assert.strictEqual(code, 0, output)
      }))
  }
})

describe("the links of the guides", () => {
  it("lead to files and headings that are there", async () => {
    const anchorsOf = async (page: string) =>
      new Set(
        [...(await readFile(page, "utf8")).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
          heading!
            .toLowerCase()
            .replace(/[^\w\- ]/g, "")
            .replaceAll(" ", "-")
        )
      )
    const broken: Array<string> = []
    for (const page of await pages()) {
      const text = (await readFile(page, "utf8")).replace(/^```[\s\S]*?^```$/gm, "")
      for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target!)) continue
        const [path = "", anchor] = target!.split("#")
        const file = path === "" ? page : resolve(dirname(page), path)
        const anchors = await anchorsOf(file).catch(() => undefined)
        if (anchors === undefined || (anchor !== undefined && !anchors.has(anchor))) broken.push(`${page}: ${target}`)
      }
    }
    assert.deepStrictEqual(broken, [])
  })
})
