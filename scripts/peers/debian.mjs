// Peers that Debian has as packages.
import { Problem, run, which } from "./workshop.mjs"

/** Installs a package, or says why that cannot be done and what would do. */
export const installPackage = async (what, name, wish = `Install it (Debian: apt-get install ${name}).`) => {
  if (!which("apt-get"))
    throw new Problem(`${what} comes from Debian's packages, and there is no apt-get here. ${wish}`)
  if (process.getuid?.() !== 0)
    throw new Problem(`${what} comes from Debian's packages, which only root installs. ${wish}`)
  const env = { DEBIAN_FRONTEND: "noninteractive" }
  await run("apt-get", ["update", "-q"], { env })
  await run("apt-get", ["install", "-y", "-q", "--no-install-recommends", name], { env })
}
