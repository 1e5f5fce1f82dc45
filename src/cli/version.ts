/** The version of this package, and of the Node that it needs, from its own package.json. */
import { readFileSync } from "node:fs"

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
  readonly engines: { readonly node: string }
}

export const packageVersion: string = manifest.version

/** Such as `>=22.19`. */
export const requiredNode: string = manifest.engines.node
