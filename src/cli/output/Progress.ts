/**
 * How far a transfer is: a bar with rate and time left on a terminal, a plain line now and then where there is none.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { count, formatBytes, formatDuration, formatRate } from "./quantities.ts"
import { Screen } from "./Screen.ts"
import { truncate } from "./Style.ts"

export interface ProgressOptions {
  /** What is being done, in a word: `sending`. */
  readonly label: string
  /** The bytes that are to come, where that is known. */
  readonly totalBytes?: number | undefined
  /** The tensors that are to come, where that is known. */
  readonly totalTensors?: number | undefined
}

export interface Progress {
  /** So many bytes and tensors more have gone through. */
  readonly add: (bytes: number, tensors: number) => void
  /** What has gone through so far. */
  readonly summary: Effect.Effect<Summary>
}

export interface Summary {
  readonly bytes: number
  readonly tensors: number
  readonly seconds: number
}

const liveInterval = "100 millis"
const plainInterval = "5 seconds"
const barColumns = 24

/** `[############............]  50%`. */
export const bar = (fraction: number, columns: number = barColumns): string => {
  const share = Math.min(1, Math.max(0, fraction))
  const full = Math.round(share * columns)
  return `[${"#".repeat(full)}${".".repeat(columns - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`
}

/** One line of progress, as it is shown. */
export const progressLine = (options: ProgressOptions, { bytes, seconds, tensors }: Summary): string => {
  const { label, totalBytes, totalTensors } = options
  const rate = seconds > 0 ? bytes / seconds : 0
  const tensorsDone =
    totalTensors === undefined ? count(tensors, "tensor") : `${tensors}/${totalTensors} tensor${totalTensors === 1 ? "" : "s"}`
  const parts = [label]
  if (totalBytes !== undefined && totalBytes > 0) {
    const left = rate > 0 ? (totalBytes - bytes) / rate : undefined
    parts.push(
      bar(bytes / totalBytes),
      `${formatBytes(bytes)}/${formatBytes(totalBytes)}`,
      tensorsDone,
      formatRate(rate),
      left === undefined ? "" : `${formatDuration(left)} left`
    )
  } else {
    if (totalTensors !== undefined && totalTensors > 0) parts.push(bar(tensors / totalTensors))
    parts.push(formatBytes(bytes), tensorsDone, formatRate(rate))
    if (totalTensors !== undefined && tensors > 0 && tensors < totalTensors) {
      parts.push(`${formatDuration((seconds / tensors) * (totalTensors - tensors))} left`)
    }
  }
  return parts.filter((part) => part !== "").join("  ")
}

/** `3 tensors, 12.0 MiB in 1.2s (10.0 MiB/s)`, for the end. */
export const summaryLine = ({ bytes, seconds, tensors }: Summary): string =>
  `${count(tensors, "tensor")}, ${formatBytes(bytes)} in ${formatDuration(seconds)}${seconds > 0 && bytes > 0 ? ` (${formatRate(bytes / seconds)})` : ""}`

/** Shows progress until the scope closes. */
export const showProgress = Effect.fnUntraced(function* (
  options: ProgressOptions
): Effect.fn.Return<Progress, never, Screen | Scope.Scope> {
  const screen = yield* Screen
  const started = yield* Clock.currentTimeMillis
  let bytes = 0
  let tensors = 0
  const summary = Effect.map(Clock.currentTimeMillis, (now) => ({ bytes, tensors, seconds: (now - started) / 1000 }))
  const show = Effect.flatMap(summary, (now) => {
    const line = progressLine(options, now)
    return screen.isLive ? screen.status(truncate(line, screen.err.columns - 1)) : screen.say(line)
  })
  if (screen.isLive) yield* Effect.addFinalizer(() => screen.status(""))
  yield* show.pipe(
    Effect.delay(screen.isLive ? liveInterval : plainInterval),
    Effect.forever,
    Effect.forkScoped
  )
  return {
    add: (moreBytes, moreTensors) => {
      bytes += moreBytes
      tensors += moreTensors
    },
    summary
  }
})
