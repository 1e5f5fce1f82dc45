import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "./kit/peers.ts"

const src = join(root, "src")

/** The rooms from the ground up: a room imports from itself and from those before it. */
const rooms = [
  "schema",
  "torch",
  "formats",
  "services",
  "layers",
  "public",
  "local",
  "promise",
  "cli",
  "index"
] as const
type Room = (typeof rooms)[number]

const roomOf = (file: string): Room => {
  const path = relative(src, file)
  if (path === "index.ts") return "index"
  // The public face of the embedded cluster belongs to it.
  if (path === "LocalCluster.ts") return "local"
  if (path === "promise.ts") return "promise"
  const folder = path.split("/")[0]!
  return path.includes("/") ? (folder as Room) : "public"
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.includes("generated"))
  .map((path) => join(src, path))

/** Imports in examples are not the module's. */
const codeOf = (file: string): string => readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\//g, "")

const importsOf = (file: string): ReadonlyArray<string> =>
  [...codeOf(file).matchAll(/^(?:import|export)\b[^"']*?from "([^"]+)"|^import "([^"]+)"/gm)].map(
    (match) => match[1] ?? match[2]!
  )

const edges = files.flatMap((file) =>
  importsOf(file)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => ({ from: file, to: resolve(dirname(file), specifier) }))
)

const show = ({ from, to }: { from: string; to: string }) => `${relative(src, from)} -> ${relative(src, to)}`

describe("the structure", () => {
  it("is read at all", () => {
    assert.isAbove(files.length, 50)
    assert.isAbove(edges.length, 200)
    assert.deepStrictEqual(
      files.filter((file) => !rooms.includes(roomOf(file))),
      []
    )
  })

  it("lets imports go one way: schema, torch, formats, services, layers, public modules, local, command", () => {
    const upwards = edges.filter(({ from, to }) => rooms.indexOf(roomOf(to)) > rooms.indexOf(roomOf(from)))
    assert.deepStrictEqual(upwards.map(show), [])
  })

  it("keeps schema and torch free of services", () => {
    const effects = files
      .filter((file) => ["schema", "torch"].includes(roomOf(file)))
      .flatMap((file) => importsOf(file).map((specifier) => ({ file, specifier })))
      .filter(({ specifier }) =>
        /^effect\/(Layer|Context|FileSystem|http|process)|^node:(fs|http|net|child_process)/.test(specifier)
      )
    assert.deepStrictEqual(
      effects.map(({ file, specifier }) => `${relative(src, file)} imports ${specifier}`),
      []
    )
  })

  it("imports Effect by module, never through its index", () => {
    const index = files.filter((file) => importsOf(file).includes("effect"))
    assert.deepStrictEqual(
      index.map((file) => relative(src, file)),
      []
    )
  })

  it("loads the heavy libraries only where a layer is built", () => {
    const eager = files
      .filter((file) => !["cli", "local"].includes(roomOf(file)))
      .filter((file) =>
        [...readFileSync(file, "utf8").matchAll(/^import (?!type\b)[^"']*?from "([^"]+)"/gm)].some(([, specifier]) =>
          ["@grpc/grpc-js", "@kubernetes/client-node", "undici"].includes(specifier!)
        )
      )
    assert.deepStrictEqual(
      eager.map((file) => relative(src, file)),
      []
    )
  })
})
