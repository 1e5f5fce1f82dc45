/** The TypeScript in Markdown and in the docs of the sources: found, and made whole where it is a fragment. */
import { readdir, readFile } from "node:fs/promises"
import { basename, join, relative, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../..")

export interface Block {
  /** `testing.md:42`, where it stands. */
  readonly where: string
  /** A name for a file. */
  readonly name: string
  /** A module that compiles. */
  readonly source: string
  /** What can be run: on a page it has `<!-- run -->` before it, in the sources it is a program with imports. */
  readonly run: boolean
}

/** All pages that hold code for users. */
export const pages = async (): Promise<ReadonlyArray<string>> => {
  const guides = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md"))
  return [join(root, "README.md"), ...guides.map((name) => join(root, "docs", name))]
}

/** What fragments speak of: the handle of a Compute, tensors, files, a server. */
const everything = `
import { type FileSystem, Effect, Layer, Redacted, Schedule, Stream } from "effect"
import { NodeServices } from "@effect/platform-node"
import { it } from "@effect/vitest"
import * as Kit from "effect-kpu"
import { ByteSource, Compute, DType, Endpoint, GrpcChannel, KubeConfig, Kpu, LocalCluster, Namespace, Npy, Safetensors, Tensor, TorchFile } from "effect-kpu"
declare const compute: Compute.Handle, myModel: (tensor: Tensor) => Tensor
declare const server: string, token: string, caData: string, fs: FileSystem.FileSystem, file: TorchFile.TorchFile
declare const tensor: Tensor, tensors: ReadonlyArray<Tensor>, weight: Tensor, bias: Tensor, sent: Tensor, echoed: Tensor
declare const bfloat16Tensor: Tensor<"bfloat16">, dtype: DType, shape: ReadonlyArray<number>, data: Uint8Array, bytes: Uint8Array
`

/** A fragment has no imports: it speaks of a handle named `compute`, and of what its page has introduced. */
const whole = (code: string): string => {
  if (/^import /m.test(code)) return code
  const promises = /\bawait\b/.test(code)
  return promises
    ? `import { Compute, init, shutdown, Tensor } from "effect-kpu/promise"\ndeclare const compute: Compute\n${code}\nexport {}\n`
    : `${everything}export const fragment = Effect.gen(function* () {\n{\n${code}\n}\n})\n`
}

/** The `ts` blocks of one page. */
export const blocksOf = async (page: string): Promise<ReadonlyArray<Block>> => {
  const text = await readFile(page, "utf8")
  const found: Array<Block> = []
  for (const match of text.matchAll(/(<!-- run -->\s*)?^```ts\n([\s\S]*?)^```$/gm)) {
    const line = text.slice(0, match.index).split("\n").length
    found.push({
      where: `${basename(page)}:${line}`,
      name: `${basename(page, ".md")}-${line}`,
      source: whole(match[2]!),
      run: match[1] !== undefined
    })
  }
  return found
}

/**
 * The examples of the sources: fenced blocks, and what stands in backquotes behind `@example`. Whole programs are run,
 * lines are compiled.
 */
export const examplesOf = async (file: string): Promise<ReadonlyArray<Block>> => {
  const text = await readFile(file, "utf8")
  const path = relative(join(root, "src"), file)
  const found: Array<Block> = []
  for (const comment of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const words = comment[0].replace(/^[ \t]*\* ?/gm, "")
    for (const match of words.matchAll(/^```ts\n([\s\S]*?)^```|@example `([^`\n]+)`/gm)) {
      const code = match[1] ?? match[2]!
      const line = text.slice(0, comment.index).split("\n").length + words.slice(0, match.index).split("\n").length - 1
      found.push({
        where: `src/${path}:${line}`,
        name: `${path.replaceAll(/[/.]/g, "-")}-${line}`,
        source: whole(code),
        run: /^import /m.test(code)
      })
    }
  }
  return found
}

/** Every source file. */
export const sources = async (): Promise<ReadonlyArray<string>> => {
  const names = await readdir(join(root, "src"), { recursive: true })
  return names
    .filter((name) => name.endsWith(".ts") && !name.includes("generated"))
    .map((name) => join(root, "src", name))
}

/** The same program on the embedded cluster: what the guides promise is all the difference. */
export const onLocalCluster = (source: string): string => {
  if (/effect-kpu\/promise/.test(source)) {
    if (/\binit\(/.test(source)) return source
    return `import { LocalCluster as Local_ } from "effect-kpu"
import { init as init_ } from "effect-kpu/promise"
await using _local = init_({ layer: Local_.layer })
${source}`
  }
  if (/\bLocalCluster\b/.test(source)) return source
  return source
    .replaceAll("Kpu.layer", "LocalCluster.layer")
    .replace(/\bKpu\b(?=[^"]*from "effect-kpu")/, "LocalCluster")
}
