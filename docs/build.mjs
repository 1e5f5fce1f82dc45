// Builds the documentation site into docs/site: the guides beside this file, and the reference from the sources. TypeDoc
// knows TypeScript up to 6, so this folder has packages of its own, installed here when they are not there yet.
// `npm run docs` runs it. A warning is a failure: a link to nowhere, an export without a word about it.
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
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
  plugin: [join(docs, "titles.mjs")],
  highlightLanguages: ["bash", "console", "json", "python", "sh", "text", "ts", "typescript", "yaml"],
  cleanOutputDir: true,
  hideGenerator: true,
  disableSources: true,
  includeVersion: true,
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  sort: ["documents-first", "kind", "source-order"],
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

// Every link within the site leads somewhere, anchors included, and every picture is there.
const site = join(docs, "site")
const html = readdirSync(site, { recursive: true }).filter((name) => name.endsWith(".html"))
const idsOf = new Map()
const ids = (file) => {
  if (!idsOf.has(file)) {
    idsOf.set(
      file,
      existsSync(file)
        ? new Set([...readFileSync(file, "utf8").matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id))
        : undefined
    )
  }
  return idsOf.get(file)
}
const problems = []
for (const name of html) {
  const page = join(site, name)
  for (const [, href] of readFileSync(page, "utf8").matchAll(/<(?:a [^>]*href|img [^>]*src)="([^"]+)"/g)) {
    if (/^(https?:|mailto:|javascript:)/.test(href)) continue
    const [path, anchor] = href.replaceAll("&amp;", "&").split("#")
    const file = path === "" ? page : resolve(dirname(page), decodeURIComponent(path))
    if (!existsSync(file)) problems.push(`${name}: ${href} leads nowhere`)
    else if (anchor && file.endsWith(".html") && !ids(file).has(decodeURIComponent(anchor))) {
      problems.push(`${name}: ${href} has no such place`)
    }
  }
}

// Every export that a user can name says what it is, and shows it.
const reference = JSON.parse(readFileSync(join(site, "reference.json"), "utf8"))
const textOf = (comment) =>
  [
    ...(comment?.summary ?? []),
    ...(comment?.blockTags ?? []).flatMap(({ content, tag }) => [{ text: tag }, ...content])
  ]
    .map(({ text }) => text)
    .join("")
const commentOf = (reflection) => reflection.comment ?? reflection.signatures?.[0]?.comment
const undocumented = []
const walk = (reflection, path) => {
  const listed = new Set()
  for (const child of reflection.children ?? []) {
    const name = [...path, child.name].join(".")
    // `export type` of what is both a value and a type gives two entries of one kind.
    const entry = `${child.kind} ${child.name}`
    if (listed.has(entry)) undocumented.push(`${name} is listed twice`)
    listed.add(entry)
    // Modules, namespaces and what is exported again stand for what is in them.
    if (child.variant === "document" || child.kind === 4194304) continue
    if (child.kind === 2 || child.kind === 4) {
      walk(child, [...path, child.name])
      continue
    }
    const text = textOf(commentOf(child))
    if (text === "") undocumented.push(`${name} has no word about it`)
    else if (
      !text.includes("```") &&
      !text.includes("@example") &&
      (child.kind === 64 || child.kind === 128 || child.kind === 32)
    ) {
      undocumented.push(`${name} has no example`)
    }
  }
}
walk(reference, [])

for (const problem of [...problems, ...undocumented]) console.error(problem)
console.log(
  `${html.length} pages, ${problems.length} broken links, ${undocumented.length} exports without word or example, or listed twice`
)
if (problems.length + undocumented.length > 0) process.exit(1)
