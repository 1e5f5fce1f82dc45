#!/usr/bin/env node
/**
 * Where the `kpu` command begins: it turns on Node's cache of compiled code, which saves a third of the time to start,
 * before anything large is loaded.
 *
 * **Gotchas.** An old Node reads this file too, and must come as far as the sentence that says so: what Node has only of
 * late is no named import here.
 */
import module from "node:module"
import { nodeProblem } from "./nodeVersion.ts"

const problem = nodeProblem(process.versions.node)
if (problem === undefined) {
  module.enableCompileCache()
  await import("./process.ts")
} else {
  process.stderr.write(`error: ${problem}\n`)
  process.exitCode = 1
}
