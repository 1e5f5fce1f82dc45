// What the makers of peers share: the folder, the notes that the tests read (`test/kit/peers.ts`), programs run with
// their output kept for the message when they fail.
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..")
export const folder = resolve(process.env.EFFECT_KPU_PEERS || join(root, ".peers"))

const notes = join(folder, "peers.json")

/** What is noted about the peers made so far: `{ NAME: { path, version, stamp? } }`. */
export const noted = () => {
  try {
    return JSON.parse(readFileSync(notes, "utf8"))
  } catch {
    return {}
  }
}

export const note = (name, peer) => {
  mkdirSync(folder, { recursive: true })
  const partial = `${notes}.${process.pid}`
  writeFileSync(partial, `${JSON.stringify({ ...noted(), [name]: peer }, undefined, 2)}\n`)
  renameSync(partial, notes)
}

/** A short hash of what a peer is made from: when it changes, the peer is made again. */
export const stampOf = (...parts) => {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part).update("\0")
  return hash.digest("hex").slice(0, 16)
}

export const fileText = (...path) => readFileSync(join(root, ...path), "utf8")

/** The noted peer, where it is still there and made from the same things. */
export const kept = (name, stamp) => {
  const peer = noted()[name]
  return peer !== undefined && peer.stamp === stamp && existsSync(peer.path) ? peer : undefined
}

/** Where a program is on the PATH. */
export const which = (name) => {
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(directory, name)
    if (directory !== "" && existsSync(path)) return path
  }
  return undefined
}

export const seconds = (millis) =>
  millis < 60_000 ? `${(millis / 1000).toFixed(1)} s` : `${(millis / 60_000).toFixed(1)} min`

/** Something that the reader of the message can mend. */
export class Problem extends Error {}

export const summary = (error) => (error instanceof Problem ? error.message : String(error.stack ?? error))

/**
 * Runs a program; gives its standard output, or throws with the end of what it wrote. While it runs long, a line every
 * half minute says that it does.
 */
export const run = (command, args, options = {}) =>
  new Promise((done, fail) => {
    const what = options.what ?? [command, ...args].join(" ")
    const start = Date.now()
    const ticking = setInterval(() => console.log(`  … ${what}: ${seconds(Date.now() - start)}`), 30_000)
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let all = ""
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text
      all = (all + text).slice(-20_000)
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      all = (all + text).slice(-20_000)
    })
    child.once("error", (error) => {
      clearInterval(ticking)
      fail(new Problem(`${what} could not be started: ${error.message}`))
    })
    child.once("close", (code, signal) => {
      clearInterval(ticking)
      if (code === 0) done(stdout)
      else fail(new Problem(`${what} ended with ${code ?? signal}:\n${indented(all)}`))
    })
  })

const indented = (text) =>
  text
    .trimEnd()
    .split("\n")
    .slice(-25)
    .map((line) => `    ${line}`)
    .join("\n")
