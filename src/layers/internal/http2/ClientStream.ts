/** One request and its answer on a session: what is to be sent of it, and its share of flow control. */

import type { ClientSession } from "./ClientSession.ts"
import { errorCode } from "./frames.ts"
import type { Headers } from "./hpack.ts"

/** Why a stream is over. */
export type StreamEnd =
  /** The server has sent all. */
  | { readonly _tag: "Ended" }
  /** The server has reset it. */
  | { readonly _tag: "Reset"; readonly code: number }
  /** The connection is gone. */
  | { readonly _tag: "Lost"; readonly why: string }

/** What happens on a stream. `closed` comes once and last, and never after `reset`. None of these may throw. */
export interface StreamEvents {
  /** The answer's headers. */
  readonly headers: (headers: Headers) => void
  /** Some of the answer's data, in memory that is used again when this returns. */
  readonly data: (bytes: Uint8Array) => void
  readonly trailers: (headers: Headers) => void
  /** More may be written, after `write` gave false. */
  readonly drain: () => void
  readonly closed: (end: StreamEnd) => void
}

/** Below this much that waits to be sent, the next message may come: many small ones go out together. */
const lowWater = 64 * 1024

export class ClientStream {
  readonly events: StreamEvents
  /** 0 until the session has room for it. */
  id = 0
  over = false
  answered = false
  /** What the server takes, and what it may still send. */
  sendWindow = 0
  receiveWindow: number
  /** Bytes that have come and are not yet given back to the server. */
  unreturned = 0
  paused = false
  /** Bytes that wait to be sent, in views; the first is sent up to `viewAt`. */
  queued = 0
  views: Array<Uint8Array> = []
  view = 0
  viewAt = 0
  ending = false
  /** Nothing more will be sent. */
  ended = false
  /** It is in the session's turn. */
  scheduled = false
  /** `write` gave false. */
  wanting = false
  private readonly session: ClientSession

  constructor(session: ClientSession, receiveWindow: number, events: StreamEvents) {
    this.session = session
    this.receiveWindow = receiveWindow
    this.events = events
  }

  /** Sends bytes, which stay as they are until they are sent. False: wait for `drain`. */
  write(views: ReadonlyArray<Uint8Array>): boolean {
    if (this.over || this.ending) return false
    for (const view of views) {
      if (view.byteLength === 0) continue
      this.views.push(view)
      this.queued += view.byteLength
    }
    this.session.schedule(this)
    this.wanting = this.queued >= lowWater
    return !this.wanting
  }

  end(): void {
    if (this.over || this.ending) return
    this.ending = true
    this.session.schedule(this)
  }

  /** Gives the server no more room than it has. */
  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.session.giveBack(this, 0)
  }

  /** Ends the stream on both sides. */
  reset(code: number = errorCode.cancel): void {
    if (this.over) return
    this.over = true
    this.session.drop(this, code)
    this.clear()
  }

  /** The session's word that it is over. */
  close(end: StreamEnd): void {
    if (this.over) return
    this.over = true
    this.clear()
    this.events.closed(end)
  }

  /** Whether there is room for the next message now. */
  hasRoom(): boolean {
    return this.wanting && this.queued < lowWater && !this.over
  }

  /** Takes bytes off what waits, as views. */
  take(length: number, out: Array<Uint8Array>): void {
    this.queued -= length
    while (length > 0) {
      const view = this.views[this.view]!
      const rest = view.byteLength - this.viewAt
      if (rest <= length) {
        out.push(this.viewAt === 0 ? view : view.subarray(this.viewAt))
        length -= rest
        this.view++
        this.viewAt = 0
      } else {
        out.push(view.subarray(this.viewAt, this.viewAt + length))
        this.viewAt += length
        length = 0
      }
    }
    if (this.view === this.views.length) {
      this.views = []
      this.view = 0
    } else if (this.view > 1024) {
      this.views = this.views.slice(this.view)
      this.view = 0
    }
  }

  private clear(): void {
    this.views = []
    this.queued = 0
  }
}
