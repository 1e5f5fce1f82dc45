/**
 * Newline-delimited JSON as it comes from a socket: in pieces that end anywhere, in the middle of an object or of a
 * UTF-8 character.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** etcd holds objects of at most 1.5 MiB: a line that grows beyond this is no object. */
export const maxLineLength = 16 * 1024 * 1024

/** A line that is not JSON, or has no end. */
export class BadLine {
  readonly _tag = "BadLine"
  readonly line: string
  constructor(line: string) {
    this.line = line
  }
}

/**
 * The parsed lines. What follows the last line break when the bytes end is half an object that a broken connection left
 * behind: it is dropped, and the resource version says where to go on.
 */
export const jsonLines = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<unknown, E | BadLine, R> =>
  Stream.suspend(() => {
    const decoder = new TextDecoder()
    let pending: Array<string> = []
    let length = 0
    const split = (chunk: Uint8Array): ReadonlyArray<unknown> => {
      const values: Array<unknown> = []
      const text = decoder.decode(chunk, { stream: true })
      let start = 0
      // only the new piece is searched: a large object that trickles in is not read again with every piece
      for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", start)) {
        pending.push(text.slice(start, end))
        const line = pending.length === 1 ? pending[0]! : pending.join("")
        pending = []
        length = 0
        start = end + 1
        if (line.trim() === "") continue
        try {
          values.push(JSON.parse(line))
        } catch {
          throw new BadLine(line)
        }
      }
      pending.push(text.slice(start))
      length += text.length - start
      if (length > maxLineLength) throw new BadLine(pending.join(""))
      return values
    }
    return bytes.pipe(
      Stream.mapEffect((chunk) => Effect.try({ try: () => split(chunk), catch: (error) => error as BadLine })),
      Stream.flattenIterable
    )
  })
