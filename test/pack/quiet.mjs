// Importing the package changes no global, prints nothing, opens nothing: this process ends by itself at once.
const before = new Set(Reflect.ownKeys(globalThis))
const listeners = process.eventNames().length
const names = ["effect-kpu", "effect-kpu/promise"]
await import("effect")
await import("@effect/platform-node")
const loaded = new Set(Reflect.ownKeys(globalThis))
for (const name of names) await import(name)
// Node's own fetch registers itself when it is first looked at.
const isNodes = (key) => String(key).includes("undici.globalDispatcher")
const added = Reflect.ownKeys(globalThis).filter((key) => !before.has(key) && !loaded.has(key) && !isNodes(key))
if (added.length > 0) throw new Error(`importing added globals: ${added.map(String).join(", ")}`)
if (process.eventNames().length !== listeners) throw new Error("importing added listeners to the process")
// What is not exported cannot be reached.
for (const closed of [
  "effect-kpu/dist/index.js",
  "effect-kpu/internal/x",
  "effect-kpu/src/index.ts",
  "effect-kpu/schema/Tensor"
]) {
  const reached = await import(closed).then(
    () => true,
    () => false
  )
  if (reached) throw new Error(`${closed} can be imported`)
}
const resources = process.getActiveResourcesInfo?.() ?? []
const open = resources.filter((name) => /TCP|Timeout|Server|FSReq/.test(name))
if (open.length > 0) throw new Error(`importing left open: ${open.join(", ")}`)
