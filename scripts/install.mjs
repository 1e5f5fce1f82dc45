// Installs what the lockfile names, when node_modules holds something else. It runs before anything is installed, on
// whatever Node the machine has, so it is plain JavaScript on built-in modules.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const marker = join(root, "node_modules", ".effect-kpu-installed")
const wanted = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex")

const installed = () => {
  try {
    return readFileSync(marker, "utf8")
  } catch {
    return undefined
  }
}

if (installed() !== wanted) {
  console.log("Installing dependencies (npm ci)…")
  // At this level npm keeps the warnings about this Node's age to itself: what runs afterwards is the `node` package.
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"]
  const npm = process.env.npm_execpath
  const result = npm
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: "inherit" })
    : spawnSync("npm", args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" })
  if (result.status !== 0) {
    console.error("npm ci failed: see the lines above. Is the registry that npm is set up with reachable?")
    process.exit(result.status ?? 1)
  }
  writeFileSync(marker, wanted)
}
