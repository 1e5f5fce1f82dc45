// The shells whose completion is tested in themselves. bash is wherever the rest runs.
import { spawnSync } from "node:child_process"
import { installPackage } from "./debian.mjs"
import { Problem, which } from "./workshop.mjs"

const find = (name) => {
  const path = which(name)
  const { status, stdout } = path === undefined ? {} : spawnSync(path, ["--version"], { encoding: "utf8" })
  const version = /\d+\.\d+(\.\d+)?/.exec(stdout ?? "")?.[0]
  return status === 0 && version !== undefined ? { path, version } : undefined
}

const shell = (name) => ({
  name,
  title: `the ${name} shell`,
  takes: `Debian's ${name}`,
  find: () => find(name),
  make: async () => {
    await installPackage(`The ${name} shell`, name)
    const made = find(name)
    if (!made) throw new Problem(`${name} is installed, but it is not on the PATH or does not tell its version.`)
    return made
  }
})

export const shells = [shell("zsh"), shell("fish")]
