/**
 * How far a transfer is: a bar with rate and time left on a terminal, a plain line now and then where there is none.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { meanwhile } from "./meanwhile.ts"
import { count, formatBytes, formatDuration, formatRate } from "./quantities.ts"
import { Screen } from "./Screen.ts"
import { truncate, width } from "./Style.ts"

/** What has gone through. */
export interface Moved {
  readonly bytes: number
  readonly tensors: number
}

export interface Summary extends Moved {
  readonly seconds: number
}

export interface ProgressOptions {
  /** What is being done, in a word: `sending`. */
  readonly label: string
  /** The bytes that are to come, where that is known. */
  readonly totalBytes?: number | undefined
  /** The tensors that are to come, where that is known. */
  readonly totalTensors?: number | undefined
}

const liveInterval = "100 millis"
const plainInterval = "5 seconds"
const barColumns = 24
const narrowBars = [barColumns, 12, 6]

/** `[############............]  50%`. */
export const bar = (fraction: number, columns: number = barColumns): string => {
  const share = Math.min(1, Math.max(0, fraction))
  const full = Math.round(share * columns)
  return `[${"#".repeat(full)}${".".repeat(columns - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`
}

/** One line of progress, as it is shown. */
export const progressLine = (
  options: ProgressOptions,
  { bytes, seconds, tensors }: Summary,
  barWidth: number = barColumns
): string => {
  const { label, totalBytes, totalTensors } = options
  const rate = seconds > 0 ? bytes / seconds : 0
  const parts = [label]
  const left = (share: number): string =>
    share > 0 && share < 1 && seconds > 0 ? `${formatDuration((seconds / share) * (1 - share))} left` : ""
  if (totalBytes !== undefined && totalBytes > 0) {
    // The wire carries a little more than the elements.
    const moved = Math.min(bytes, totalBytes)
    parts.push(
      bar(moved / totalBytes, barWidth),
      `${formatBytes(moved)}/${formatBytes(totalBytes)}`,
      formatRate(rate),
      left(moved / totalBytes)
    )
  } else if (totalTensors !== undefined && totalTensors > 0) {
    parts.push(
      bar(tensors / totalTensors, barWidth),
      `${tensors}/${count(totalTensors, "tensor")}`,
      formatBytes(bytes),
      formatRate(rate),
      left(tensors / totalTensors)
    )
  } else {
    parts.push(formatBytes(bytes), formatRate(rate))
  }
  return parts.filter((part) => part !== "").join("  ")
}

/** The line with the widest bar that leaves room for the rest. */
export const fittingLine = (options: ProgressOptions, summary: Summary, columns: number): string => {
  const lines = narrowBars.map((barWidth) => progressLine(options, summary, barWidth))
  return lines.find((line) => width(line) <= columns) ?? truncate(lines.at(-1)!, columns)
}

/** `3 tensors, 12.0 MiB in 1.2s (10.0 MiB/s)`, for the end. */
export const summaryLine = ({ bytes, seconds, tensors }: Summary): string =>
  `${count(tensors, "tensor")}, ${formatBytes(bytes)} in ${formatDuration(seconds)}${seconds > 0 && bytes > 0 ? ` (${formatRate(bytes / seconds)})` : ""}`

/** Runs an effect, shows its progress meanwhile, and gives the seconds that it took. */
export const withProgress =
  (options: ProgressOptions, moved: () => Moved) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<{ readonly value: A; readonly seconds: number }, E, R | Screen> =>
    Effect.gen(function* () {
      const screen = yield* Screen
      const started = yield* Clock.currentTimeMillis
      const elapsed = Effect.map(Clock.currentTimeMillis, (now) => (now - started) / 1000)
      const show = Effect.flatMap(elapsed, (seconds) => {
        const summary = { ...moved(), seconds }
        return screen.isLive
          ? screen.status(fittingLine(options, summary, screen.err.columns - 1))
          : screen.say(progressLine(options, summary))
      })
      const step = screen.isLive
        ? Effect.andThen(show, Effect.sleep(liveInterval))
        : Effect.andThen(Effect.sleep(plainInterval), show)
      const value = yield* meanwhile(step, screen.status(""))(effect)
      return { value, seconds: yield* elapsed }
    })
