// Prepares the real counterparts that the tests and measurements run against, into `.peers` (or the folder that
// EFFECT_KPU_PEERS names): kube-apiserver, kubectl and etcd built from their Go modules, the Go tensor programs, a
// Python environment with PyTorch 2.9 and grpcio, PyTorch 1.13, zsh and fish. What is there already is left as it is.
//
//   node scripts/peers.mjs            prepares what is missing
//   node scripts/peers.mjs --list     says what is there and what is missing
//   node scripts/peers.mjs NAME…      prepares these alone
//
// It runs before anything is installed, on whatever Node the machine has: plain JavaScript on built-in modules.
import { mkdirSync } from "node:fs"
import { buildGo, programs } from "./peers/go.mjs"
import { pytorch, pytorch113 } from "./peers/python.mjs"
import { shells } from "./peers/shells.mjs"
import { folder, note, noted, seconds, summary } from "./peers/workshop.mjs"

/** Each peer: its name, what it is, how to find it, how to make it. */
const all = [...programs.map(buildGo), pytorch, pytorch113, ...shells]

const args = process.argv.slice(2)
const names = args.filter((arg) => !arg.startsWith("-"))
const unknown = names.filter((name) => !all.some((peer) => peer.name === name))
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(", ")}. There are ${all.map((peer) => peer.name).join(", ")}.`)
  process.exit(2)
}

if (args.includes("--list")) {
  console.log(`Peers in ${folder}`)
  for (const peer of all) {
    const found = peer.find()
    console.log(
      `  ${peer.name.padEnd(15)} ${found ? `${found.version.padEnd(14)} ${found.path}` : `missing (${peer.title})`}`
    )
  }
  process.exit(all.every((peer) => peer.find()) ? 0 : 1)
}

mkdirSync(folder, { recursive: true })
console.log(`Preparing the peers in ${folder}`)
const began = Date.now()
const failures = []
for (const peer of all.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const start = Date.now()
  const found = peer.find()
  if (found) {
    console.log(`✓ ${peer.title}: ${found.version} at ${found.path}`)
    if (noted()[peer.name]?.path !== found.path) note(peer.name, found)
    continue
  }
  console.log(`… ${peer.title}${peer.takes ? ` (${peer.takes})` : ""}`)
  try {
    const made = await peer.make()
    note(peer.name, made)
    console.log(`✓ ${peer.title}: ${made.version} at ${made.path}, ${seconds(Date.now() - start)}`)
  } catch (error) {
    failures.push(peer)
    note(peer.name, undefined)
    console.error(`✗ ${peer.title}: ${summary(error)}`)
  }
}
if (failures.length === 0) {
  console.log(`All there, ${seconds(Date.now() - began)}.`)
} else {
  console.error(
    `Not prepared: ${failures.map(({ name }) => name).join(", ")}. What went wrong stands above; the tests that`
  )
  console.error("need them are skipped. Run `npm run peers` again when it is mended: what is done is kept.")
  process.exitCode = 1
}
