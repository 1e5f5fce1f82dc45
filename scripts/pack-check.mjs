// Looks at the package as it would be published: what the tarball holds, whether its declarations resolve, and whether a
// fresh project that installs it compiles under the strictest settings and runs on every runtime that is promised.
// `npm run pack:check` runs it; `--keep` leaves the fresh project for a look.
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { installTools } from "./tools.mjs"

const root = resolve(import.meta.dirname, "..")
const read = (path) => JSON.parse(readFileSync(path, "utf8"))
const manifest = read(join(root, "package.json"))
const keep = process.argv.includes("--keep")

const failures = []
const report = (title, problems, detail = "") => {
  console.log(`${problems.length === 0 ? "✓" : "✗"} ${title}${detail === "" ? "" : `  ${detail}`}`)
  for (const problem of problems) console.log(`    ${problem}`)
  failures.push(...problems)
}

/** Runs a command; what it printed when it failed, nothing when it went well. */
const attempt = (command, args, options = {}) => {
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", ...options })
  if (result.error) return { problems: [String(result.error)], output: "" }
  const output = `${result.stdout}${result.stderr}`.trimEnd()
  const failed = result.status !== 0
  const problems = failed ? [`${command} ${args.join(" ")} ended with ${result.status}`, ...output.split("\n")] : []
  return { problems, output }
}

const tools = installTools(join(root, "scripts", "pack"))
const work = mkdtempSync(join(tmpdir(), "effect-kpu-pack-"))
const fresh = join(work, "fresh")

try {
  execFileSync(process.execPath, [join(root, "scripts", "build.mjs")], { stdio: "inherit" })
  const npm = (args, options) => attempt("npm", args, options)
  const packed = npm(["pack", "--json", "--silent", "--ignore-scripts", "--pack-destination", work])
  if (packed.problems.length > 0) throw new Error(packed.problems.join("\n"))
  // npm gives a list, and since 12 a record by name.
  const answer = JSON.parse(packed.output)
  const [tarball] = Array.isArray(answer) ? answer : Object.values(answer)
  const file = join(work, tarball.filename)

  const allowed = /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|(dist|src|proto)\/.+)$/
  const names = tarball.files.map(({ path }) => path)
  report(
    "the tarball holds what users need",
    [
      ...names.filter((name) => !allowed.test(name)).map((name) => `${name} does not belong in the package`),
      ...names
        .filter((name) => /\.test\.|tsbuildinfo|node_modules/.test(name))
        .map((name) => `${name} is not for users`),
      ...["README.md", "LICENSE", "CHANGELOG.md", "dist/index.js", "dist/index.d.ts"]
        .filter((name) => !names.includes(name))
        .map((name) => `${name} is missing`)
    ],
    `${names.length} files, ${(statSync(file).size / 1024).toFixed(0)} KiB packed, ${(tarball.unpackedSize / 1024).toFixed(0)} KiB unpacked`
  )

  const targets = Object.values(manifest.exports).flatMap((entry) =>
    typeof entry === "string" ? [entry] : Object.values(entry ?? {})
  )
  report(
    "every declared export is in the tarball",
    targets.filter((target) => !names.includes(target.replace("./", ""))).map((target) => `${target} is missing`)
  )
  report("publint", attempt(tools.bin("publint"), ["run", file, "--strict"]).problems)
  report(
    "are the types wrong? (profile esm-only)",
    attempt(tools.bin("attw"), [file, "--profile", "esm-only", "--no-emoji", "--no-color"]).problems
  )

  // A fresh project, as a user would make it.
  cpSync(join(root, "test", "pack"), fresh, { recursive: true })
  // The program of the quick start, as it stands there.
  const [, quickStart] = /Save this as `main\.ts`:[\s\S]*?^```ts\n([\s\S]*?)^```$/m.exec(
    readFileSync(join(root, "docs", "quick-start.md"), "utf8")
  )
  writeFileSync(join(fresh, "quick-start.ts"), quickStart)
  const pin = (name) => manifest.devDependencies[name]
  const project = {
    name: "fresh",
    private: true,
    type: "module",
    dependencies: {
      "effect-kpu": `file:${file}`,
      effect: pin("effect"),
      "@effect/platform-node": pin("@effect/platform-node")
    },
    devDependencies: { typescript: pin("typescript"), "@types/node": pin("@types/node") }
  }
  writeFileSync(join(fresh, "package.json"), JSON.stringify(project, undefined, 2))
  report(
    "a fresh project installs it",
    npm(["install", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: fresh }).problems
  )
  writeFileSync(
    join(fresh, "wrong.ts"),
    'import { Tensor } from "effect-kpu"\nexport const shape: string = Tensor.zeros([2, 2]).shape\n'
  )
  const compilers = [
    [`TypeScript ${pin("typescript")}`, join(fresh, "node_modules", ".bin", "tsc")],
    [`TypeScript ${tools.versionOf("typescript")}`, tools.bin("tsc")]
  ]
  for (const [title, tsc] of compilers) {
    report(
      `${title} compiles it: strict, exactOptionalPropertyTypes, skipLibCheck false`,
      attempt(tsc, ["-p", "tsconfig.json"], { cwd: fresh }).problems
    )
  }
  report(
    "a wrong program does not compile",
    attempt(compilers[0][1], ["-p", "tsconfig.wrong.json"], { cwd: fresh }).problems.some((line) => /TS2322/.test(line))
      ? []
      : ["wrong.ts should have been refused with TS2322: the declarations check nothing"]
  )

  // Bun has a stand-in for undici that lacks what the Kubernetes client needs: the parts without it are promised there.
  const runtimes = [
    [`Node ${pin("node")}`, join(root, "node_modules", ".bin", "node"), ["parts.js", "main.js"]],
    [`Node ${tools.versionOf("node")}`, tools.bin("node"), ["parts.js", "main.js"]],
    [`Bun ${tools.versionOf("bun")}`, tools.bin("bun"), ["parts.js"]]
  ]
  for (const [title, command, programs] of runtimes) {
    for (const program of programs) {
      const run = attempt(command, [join("out", program)], { cwd: fresh, timeout: 300_000 })
      report(`${title} runs ${program}`, run.problems, run.output.split("\n").at(-1))
    }
    if (programs.includes("main.js")) {
      const quick = attempt(command, ["quick-start.ts"], { cwd: fresh, timeout: 300_000 })
      report(
        `${title} runs the quick start, as TypeScript`,
        quick.problems.length > 0 || quick.output.includes("1 came back")
          ? quick.problems
          : ["it should have told how many tensors came back"]
      )
      const bin = join("node_modules", "effect-kpu", manifest.bin.kpu)
      const help = attempt(command, [bin, "--help"], { cwd: fresh })
      report(
        `${title} runs the kpu command`,
        help.problems.length > 0 || help.output.includes("apply") ? help.problems : ["kpu --help does not name apply"]
      )
    }
    report(`${title}: importing does nothing else`, attempt(command, ["quiet.mjs"], { cwd: fresh }).problems)
  }

  const lock = read(join(root, "package-lock.json"))
  const licences = new Map()
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === "" || entry.dev === true || entry.devOptional === true) continue
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)
    licences.set(name, entry.license ?? "unknown")
  }
  const permissive = new Set([
    "MIT",
    "PSF-2.0",
    "Unlicense",
    "ISC",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "BlueOak-1.0.0",
    "Python-2.0",
    "(Apache-2.0 AND BSD-3-Clause)"
  ])
  report(
    "every dependency that comes along has a permissive licence",
    [...licences].filter(([, licence]) => !permissive.has(licence)).map(([name, licence]) => `${name}: ${licence}`),
    `${licences.size} packages: ${[...new Set(licences.values())].sort().join(", ")}`
  )
} finally {
  if (keep) console.log(`kept: ${work}`)
  else rmSync(work, { recursive: true, force: true })
}

if (failures.length > 0) {
  console.error(`\n${failures.length} line(s) of trouble: see above.`)
  process.exit(1)
}
console.log("\nThe package can be published.")
