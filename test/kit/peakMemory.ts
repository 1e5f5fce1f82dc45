import { readFileSync } from "node:fs"

/**
 * This process's resident memory at its peak, in bytes. `process.resourceUsage().maxRSS` begins with that of the process that
 * started this one; the kernel's own mark for this program does not.
 */
export const peakMemory = (): number => {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS * 1024
  const [, kilobytes] = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8")) ?? []
  return Number(kilobytes) * 1024
}
