/** Where and when something was measured. */
import { readFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg, totalmem } from "node:os"

/** One line: the date, the cores and their model, memory, Node, and how busy the machine is. */
export const machine = (): string => {
  const model = cpus()[0]?.model.trim() ?? "unknown processor"
  const memory = (totalmem() / 2 ** 30).toFixed(0)
  const date = new Date().toISOString().slice(0, 16).replace("T", " ")
  return `${date} UTC, ${availableParallelism()} cores (${model}), ${memory} GiB, ${process.platform} ${process.arch}, Node ${process.version}, load average ${loadavg()[0]!.toFixed(1)}`
}

/** Processes that want a core, the last minute's mean. */
export const load = (): number => loadavg()[0]!

/** The version of an installed package. */
export const versionOf = (root: string, name: string): string =>
  (JSON.parse(readFileSync(`${root}/node_modules/${name}/package.json`, "utf8")) as { readonly version: string })
    .version
