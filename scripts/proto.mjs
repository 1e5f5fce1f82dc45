// Generates TypeScript from proto/ with ts-proto, offline: buf compiles, the plugin is the local one.
// With --check it generates into a temporary folder and fails when the committed code differs.
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "..")
const bin = join(root, "node_modules", ".bin")
const generated = "src/schema/generated/kpu/torch/service.ts"
const check = process.argv.includes("--check")
const out = check ? mkdtempSync(join(tmpdir(), "effect-kpu-proto-")) : root

try {
  execFileSync(join(bin, "buf"), ["generate", "--output", out], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, PATH: bin + delimiter + process.env.PATH }
  })
  if (check) {
    const committed = join(root, generated)
    if (!existsSync(committed) || readFileSync(committed, "utf8") !== readFileSync(join(out, generated), "utf8")) {
      console.error(`${generated} is not what proto/ generates: run \`npm run proto\` and commit the result`)
      process.exitCode = 1
    }
  }
} finally {
  if (check) rmSync(out, { recursive: true, force: true })
}
