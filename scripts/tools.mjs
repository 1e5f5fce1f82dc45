// Installs the packages of a folder that has a package.json and a lockfile of its own, when they are not there yet: tools
// that would weigh down everybody's `npm ci`, or that need another TypeScript than the project's.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export const installTools = (folder) => {
  const modules = join(folder, "node_modules")
  const marker = join(modules, ".effect-kpu-installed")
  const wanted = createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex")
  if (!existsSync(marker) || readFileSync(marker, "utf8") !== wanted) {
    console.log(`Installing the tools of ${folder}…`)
    const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: folder,
      stdio: "inherit",
      shell: process.platform === "win32"
    })
    if (status !== 0) throw new Error(`npm ci failed in ${folder}: see the lines above`)
    writeFileSync(marker, wanted)
  }
  return {
    /** The path of a command. */
    bin: (name) => join(modules, ".bin", name),
    versionOf: (name) => JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8")).version
  }
}
