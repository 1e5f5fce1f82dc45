/**
 * Where the command writes: results on standard output, all that is said about the work on standard error. Knows what
 * each of them is (a terminal or not) and how much may be said.
 *
 * **Gotchas.** Lines are written synchronously where the stream is a file or a terminal and queued by Node where it is a
 * pipe; `flush` waits for the queue, and a command that ends calls it. A reader that goes away (`kpu get | head`) is
 * no error: what would be written to it is dropped.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { coloured, plain, type Style } from "./Style.ts"
import { harmless } from "./visible.ts"

/** How results are written. */
export type Format = "text" | "json" | "yaml" | "name"

export interface Stream {
  readonly isTerminal: boolean
  /** The terminal's width; 80 where there is none. */
  readonly columns: number
  readonly style: Style
}

export class Screen extends Context.Service<
  Screen,
  {
    readonly out: Stream
    readonly err: Stream
    /** Writes a result: one text, a line end added. */
    readonly print: (text: string) => Effect.Effect<void>
    /** Writes bytes of a result, waiting where the reader is slow. */
    readonly write: (bytes: Uint8Array) => Effect.Effect<void>
    /** Says something about the work; nothing where `--quiet`. */
    readonly say: (text: string) => Effect.Effect<void>
    /** Says something that must be read, `--quiet` or not. */
    readonly warn: (text: string) => Effect.Effect<void>
    /** Shows a line that the next one replaces; does nothing where standard error is no terminal, or with `--quiet`. */
    readonly status: (line: string) => Effect.Effect<void>
    /** Whether `status` shows anything. */
    readonly isLive: boolean
    /** Waits until everything has left this process. */
    readonly flush: Effect.Effect<void>
  }
>()("effect-kpu/cli/Screen") {}

export interface ScreenOptions {
  readonly quiet: boolean
}

/** What a stream of this process is. */
export const streamOf = (stream: NodeJS.WriteStream): Stream => {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  const isTerminal = stream.isTTY === true
  const forced = FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0" && FORCE_COLOR !== "false"
  const hasColour = (NO_COLOR === undefined || NO_COLOR === "") && TERM !== "dumb" && (isTerminal || forced)
  return { isTerminal, columns: (isTerminal && stream.columns) || 80, style: hasColour ? coloured : plain }
}

const clearLine = "\r\u001b[2K"

const send = (stream: NodeJS.WriteStream, data: string | Uint8Array): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (stream.destroyed || stream.writableEnded || stream.write(data)) return resume(Effect.void)
    const done = () => {
      stream.off("drain", done)
      stream.off("close", done)
      resume(Effect.void)
    }
    stream.once("drain", done)
    stream.once("close", done)
  })

const flushed = (stream: NodeJS.WriteStream): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    // What went wrong with a stream is told a turn of the event loop later.
    const done = () => void setImmediate(() => resume(Effect.void))
    if (stream.destroyed || stream.writableLength === 0) done()
    else stream.write("", done)
  })

// A reader that goes away must not end the process with a stack trace.
let guarded = false
const guard = (): void => {
  if (guarded) return
  guarded = true
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
}

/** The screen of this process. */
export const layer = (options: ScreenOptions): Layer.Layer<Screen> =>
  Layer.effect(
    Screen,
    Effect.acquireRelease(
      Effect.sync(() => {
        guard()
        const out = streamOf(process.stdout)
        const err = streamOf(process.stderr)
        const isLive = err.isTerminal && !options.quiet && process.env["TERM"] !== "dumb"
        let shown = ""
        const erase = (): string => {
          const text = shown === "" ? "" : clearLine
          shown = ""
          return text
        }
        const line = (text: string): Effect.Effect<void> =>
          Effect.suspend(() => {
            const status = shown
            const cleared = erase()
            shown = status
            return send(process.stderr, `${cleared}${harmless(text, err.style === coloured)}\n${status}`)
          })
        const service = Screen.of({
          out,
          err,
          isLive,
          print: (text) =>
            Effect.suspend(() => {
              const cleared = erase()
              const shown = `${harmless(text, out.style === coloured)}\n`
              return cleared === ""
                ? send(process.stdout, shown)
                : Effect.andThen(send(process.stderr, cleared), send(process.stdout, shown))
            }),
          write: (bytes) => send(process.stdout, bytes),
          say: (text) => (options.quiet ? Effect.void : line(text)),
          warn: line,
          status: (text) =>
            isLive
              ? Effect.suspend(() => {
                  const cleared = erase()
                  shown = text
                  return send(process.stderr, `${cleared}${text}`)
                })
              : Effect.void,
          flush: Effect.andThen(flushed(process.stdout), flushed(process.stderr))
        })
        return { service, erase }
      }),
      ({ erase }) => Effect.suspend(() => send(process.stderr, erase()))
    ).pipe(Effect.map(({ service }) => service))
  )
