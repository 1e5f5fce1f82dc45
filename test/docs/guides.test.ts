import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { parseAllDocuments } from "yaml"
import { type Block, blocksOf, examplesOf, onLocalCluster, pages, root, sources } from "./guides.ts"

const run = (
  command: string,
  args: ReadonlyArray<string>,
  cwd: string = root
): Promise<{ readonly code: number; readonly output: string }> =>
  new Promise((done) => {
    execFile(command, args, { cwd }, (error, stdout, stderr) =>
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

const ofPages: ReadonlyArray<Block> = (await Promise.all((await pages()).map(blocksOf))).flat()
const ofSources: ReadonlyArray<Block> = (await Promise.all((await sources()).map(examplesOf))).flat()

/** What examples import that is not installed here, as far as they use it; the signatures are those of the packages. */
const standIns = `
declare module "onnxruntime-node" {
  type Type = "float32" | "uint8" | "int8" | "uint16" | "int16" | "int32" | "int64" | "string" | "bool" | "float16" | "float64" | "uint32" | "uint64"
  type Data = Float32Array | Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | BigInt64Array | Float64Array | Uint32Array | BigUint64Array
  class Tensor {
    constructor(type: Type, data: Data | readonly number[], dims?: readonly number[])
    readonly type: Type
    readonly dims: readonly number[]
    readonly data: Data | string[]
  }
}
declare module "@tensorflow/tfjs" {
  type DataType = "float32" | "int32" | "bool" | "complex64" | "string"
  type Values = Float32Array | Int32Array | Uint8Array
  interface Tensor { readonly dtype: DataType; readonly shape: number[]; dataSync(): Values }
  const tensor: (values: Values | number[], shape?: number[], dtype?: DataType) => Tensor
}
`

describe("the code of the guides and of the sources' docs", () => {
  it("is found wherever it stands", async () => {
    assert.isAbove(ofPages.length, 30)
    assert.isAbove(ofSources.length, 60)
    // No TypeScript hides under another name, and YAML is YAML.
    for (const page of await pages()) {
      for (const [, language, code] of (await readFile(page, "utf8")).matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)) {
        assert.include(["console", "python", "sh", "text", "ts", "yaml"], language!, page)
        if (language === "yaml")
          assert.deepStrictEqual(
            parseAllDocuments(code!).flatMap(({ errors }) => errors),
            [],
            page
          )
      }
    }
  })

  it("compiles", async () => {
    await inFolder(async (folder) => {
      for (const { name, source } of [...ofPages, ...ofSources]) await writeFile(join(folder, `${name}.ts`), source)
      await writeFile(join(folder, "stand-ins.d.ts"), standIns)
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

  for (const { name, source, where } of ofPages.filter((block) => block.run)) {
    it(`runs on the embedded cluster: ${where}`, () =>
      inFolder(async (folder) => {
        const file = join(folder, `${name}.ts`)
        await writeFile(file, onLocalCluster(source))
        const { code, output } = await run(process.execPath, ["--conditions=effect-kpu-source", file])
        assert.strictEqual(code, 0, output)
      }))
  }

  it("runs: every program in the sources' docs that needs nothing else", { timeout: 120_000 }, () =>
    inFolder(async (folder) => {
      // The others need a package that is not installed, the test runner, or a server at a port of its own.
      const elsewhere = /"(onnxruntime-node|@tensorflow\/tfjs|@effect\/vitest)"|port: 50051/
      const programs = ofSources.filter((block) => block.run && !elsewhere.test(block.source))
      assert.isAbove(programs.length, 35)
      for (const { name, source } of programs) {
        const exported = /^const program =/m.test(source) ? `${source}\nexport { program }\n` : source
        await writeFile(join(folder, `${name}.ts`), exported)
      }
      const runner = join(import.meta.dirname, "run-examples.ts")
      const names = programs.map(({ name }) => `${name}.ts`)
      const { code, output } = await run(process.execPath, ["--conditions=effect-kpu-source", runner, ...names], folder)
      assert.strictEqual(code, 0, output)
      assert.strictEqual(output.match(/^ran /gm)?.length, programs.length, output)
    })
  )
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
