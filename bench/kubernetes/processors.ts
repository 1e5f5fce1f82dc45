/**
 * Who uses the processors: this program and its children, or others. A round in which others took a share says nothing
 * of the clients: one that keeps both cores busy loses what one that uses half of them has to spare.
 */
import { readdirSync, readFileSync } from "node:fs"

/** Ticks of all processors: busy in programs, and altogether. */
const machineTicks = (): { readonly busy: number; readonly all: number } => {
  const [user = 0, nice = 0, system = 0, ...rest] = readFileSync("/proc/stat", "utf8")
    .split("\n", 1)[0]!
    .trim()
    .split(/\s+/)
    .slice(1, 9)
    .map(Number)
  const busy = user + nice + system
  return { busy, all: busy + rest.reduce((sum, ticks) => sum + ticks, 0) }
}

/** Ticks of this process and all that it has started. */
const ownTicks = (): number => {
  const children = new Map<number, Array<{ readonly pid: number; readonly ticks: number }>>()
  let own = 0
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue
    let fields: ReadonlyArray<string>
    try {
      // the name of the command, in parentheses, may hold anything
      fields = readFileSync(`/proc/${entry}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ")
    } catch {
      continue
    }
    const pid = Number(entry)
    const ticks = Number(fields[11]) + Number(fields[12])
    if (pid === process.pid) own = ticks
    const parent = Number(fields[1])
    children.set(parent, [...(children.get(parent) ?? []), { pid, ticks }])
  }
  const sum = (pid: number): number =>
    (children.get(pid) ?? []).reduce((total, child) => total + child.ticks + sum(child.pid), 0)
  return own + sum(process.pid)
}

/** Starts to measure; call the result for the share of all processors, from 0 to 1, that others have used since. */
export const shareOfOthers = (): (() => number) => {
  const before = machineTicks()
  const ownBefore = ownTicks()
  return () => {
    const after = machineTicks()
    const others = after.busy - before.busy - (ownTicks() - ownBefore)
    return Math.max(0, others) / Math.max(1, after.all - before.all)
  }
}
