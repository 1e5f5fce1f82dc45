/** Numbers as people read them: bytes, rates, durations, ages. */

const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const

/** `512 B`, `1.5 KiB`, `38.1 MiB`. */
export const formatBytes = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** `38.1 MiB/s`. */
export const formatRate = (bytesPerSecond: number): string => `${formatBytes(bytesPerSecond)}/s`

/** `29ms`, `0.4s`, `12s`, `3m20s`, `2h5m`, `4d3h`, as kubectl shows them. */
export const formatDuration = (seconds: number): string => {
  if (seconds > 0 && seconds < 0.1) return `${Math.max(1, Math.round(seconds * 1000))}ms`
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)}s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole}s`
  const [minutes, hours, days] = [Math.floor(whole / 60), Math.floor(whole / 3600), Math.floor(whole / 86400)]
  const pair = (large: number, largeUnit: string, small: number, smallUnit: string) =>
    `${large}${largeUnit}${small === 0 ? "" : `${small}${smallUnit}`}`
  if (hours === 0) return pair(minutes, "m", whole % 60, "s")
  if (days === 0) return pair(hours, "h", minutes % 60, "m")
  return pair(days, "d", hours % 24, "h")
}

/** How long ago a Kubernetes timestamp was, in whole units. */
export const formatAge = (timestamp: string | undefined, now: number): string => {
  const then = timestamp === undefined ? Number.NaN : Date.parse(timestamp)
  if (Number.isNaN(then)) return "<unknown>"
  const seconds = Math.max(0, Math.floor((now - then) / 1000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86400)}d`
}

/** A number of a tensor: whole ones as they are, others in at most six significant digits. */
export const formatNumber = (value: number): string => {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value)
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "inf" : "-inf"
  const rounded = Number(value.toPrecision(6))
  // Digits that are not known are not written as zeros.
  return Math.abs(rounded) >= 1e6 ? rounded.toExponential() : String(rounded)
}

/** `1 tensor`, `2 tensors`. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`
