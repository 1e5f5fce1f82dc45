/**
 * What importing costs, in a process of its own: `package` imports effect-kpu as it is published; `effect` imports the
 * Effect modules that the package asks for, and nothing of it; `list` prints which those are.
 */
import { registerHooks } from "node:module"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const mode = process.argv[2]

/** Memory that is really held: garbage of compiling is gone. */
const rss = (): number => {
  setFlagsFromString("--expose-gc")
  runInNewContext("gc")()
  return process.memoryUsage.rss()
}

if (mode === "list") {
  const asked = new Set<string>()
  registerHooks({
    resolve: (specifier, context, next) => {
      const resolved = next(specifier, context)
      if (context.parentURL?.includes("/dist/") === true && !context.parentURL.includes("/node_modules/")) {
        if (/\/node_modules\/(effect|@effect)\//.test(resolved.url)) asked.add(resolved.url)
      }
      return resolved
    }
  })
  await import("effect-kpu")
  console.log(JSON.stringify([...asked]))
} else {
  const urls = mode === "package" ? ["effect-kpu"] : (JSON.parse(process.argv[3]!) as ReadonlyArray<string>)
  const before = process.memoryUsage.rss()
  const cpu = process.cpuUsage()
  const begun = performance.now()
  for (const url of urls) await import(url)
  const millis = performance.now() - begun
  const { system, user } = process.cpuUsage(cpu)
  const peak = process.memoryUsage.rss()
  console.log(
    JSON.stringify({ millis, cpuMillis: (system + user) / 1000, rssBytes: peak - before, heldBytes: rss() - before })
  )
}
