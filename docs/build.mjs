// Builds the documentation site into docs/site: the guides beside this file, and the reference from the sources. TypeDoc
// knows TypeScript up to 6, so this folder has packages of its own, installed here when they are not there yet.
// `npm run docs` runs it. A warning is a failure: a link to nowhere, an export without a word about it.
import { spawnSync } from "node:child_process"
import { readdirSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { installTools } from "../scripts/tools.mjs"

const root = resolve(import.meta.dirname, "..")
const docs = join(root, "docs")
installTools(docs)

/** The guides in reading order; a page that is not named here comes after them. */
const order = [
  "quick-start.md",
  "coming-from-python.md",
  "promises.md",
  "composing-layers.md",
  "testing.md",
  "kubernetes.md",
  "tensors.md",
  "performance.md",
  "observability.md",
  "cli.md",
  "security.md",
  "errors.md",
  "limitations.md"
]
const place = (name) => (order.includes(name) ? order.indexOf(name) : order.length)
const pages = readdirSync(docs)
  .filter((name) => name.endsWith(".md"))
  .sort((a, b) => place(a) - place(b) || a.localeCompare(b))

const options = {
  $schema: "https://typedoc.org/schema.json",
  name: "effect-kpu",
  entryPoints: [join(root, "src", "index.ts"), join(root, "src", "promise.ts")],
  tsconfig: join(docs, "tsconfig.json"),
  basePath: root,
  out: join(docs, "site"),
  json: join(docs, "site", "reference.json"),
  readme: join(root, "README.md"),
  projectDocuments: pages.map((name) => join(docs, name)),
  customCss: join(docs, "site.css"),
  cleanOutputDir: true,
  hideGenerator: true,
  disableSources: true,
  includeVersion: true,
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  sort: ["documents-first", "kind", "alphabetical"],
  headings: { readme: false, document: false },
  navigation: { includeCategories: false, includeGroups: false, includeFolders: false },
  visibilityFilters: {},
  validation: { invalidLink: true, invalidPath: true, notExported: false, notDocumented: false },
  treatWarningsAsErrors: true
}
const file = join(docs, "node_modules", ".effect-kpu-typedoc.json")
writeFileSync(file, JSON.stringify(options, undefined, 2))
const { status } = spawnSync(
  process.execPath,
  [join(docs, "node_modules", "typedoc", "bin", "typedoc"), "--options", file],
  {
    cwd: root,
    stdio: "inherit"
  }
)
if (status !== 0) process.exit(status ?? 1)
