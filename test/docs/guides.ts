/** The TypeScript in Markdown: found, made whole where it is a fragment, and told apart by whether it is to be run. */
import { readdir, readFile } from "node:fs/promises"
import { basename, join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../..")

export interface Block {
  /** `testing.md:42`, where it stands. */
  readonly where: string
  /** A name for a file. */
  readonly name: string
  /** A module that compiles. */
  readonly source: string
  /** Marked by `<!-- run -->` before it. */
  readonly run: boolean
}

/** All pages that hold code for users. */
export const pages = async (): Promise<ReadonlyArray<string>> => {
  const guides = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md"))
  return [join(root, "README.md"), ...guides.map((name) => join(root, "docs", name))]
}

const everything = `
import { Effect, Layer, Redacted, Schedule, Stream } from "effect"
import { NodeServices } from "@effect/platform-node"
import { it } from "@effect/vitest"
import * as Kit from "effect-kpu"
import { Compute, Endpoint, GrpcChannel, KubeConfig, Kpu, LocalCluster, Namespace, Npy, Safetensors, Tensor, TorchFile } from "effect-kpu"
declare const weight: Tensor, bias: Tensor, myModel: (tensor: Tensor) => Tensor
declare const server: string, token: string, caData: string, bytes: Uint8Array, tensor: Tensor, tensors: ReadonlyArray<Tensor>
`

/** A fragment has no imports: it speaks of a handle named `compute`, and of what its page has introduced. */
const whole = (code: string): string => {
  if (/^import /m.test(code)) return code
  const promises = /\bawait\b/.test(code)
  return promises
    ? `import { Compute, init, shutdown, Tensor } from "effect-kpu/promise"\ndeclare const compute: Compute\n${code}\nexport {}\n`
    : `${everything}declare const compute: Compute.Handle\nexport const fragment = Effect.gen(function* () {\n${code}\n})\nvoid [NodeServices, it, Layer, Redacted, Schedule, Stream, Kit, Endpoint, GrpcChannel, KubeConfig, Kpu, LocalCluster, Namespace, Npy, Safetensors, TorchFile]\n`
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
