/**
 * The client's side of one HTTP/2 connection (RFC 9113), for few streams that carry much.
 *
 * **Why not node:http2.** It reads into a new 64 KiB buffer each time and leaves it to the garbage collector, which takes
 * as long as all else that receiving does. Here the socket reads into one buffer, and each byte is handed on from there.
 * It knows what gRPC's clients need and no more: no push, no priorities, no CONNECT.
 *
 * **Flow control.** What comes is handed on at once, so the connection's own window is given back at once, and one paused
 * stream holds up no other. A stream's window is given back as it is used, unless it is paused: then the server stops
 * when the window is full.
 *
 * **Fairness.** Streams that have something to send take turns, each with as much as `quantum`; no more than that is
 * handed to the socket before the kernel has taken it.
 */
import type { Socket } from "node:net"
import { ClientStream, type StreamEvents } from "./ClientStream.ts"
import {
  defaultMaxFrameSize,
  defaultWindow,
  errorCode,
  flag,
  frameHeader,
  frameType,
  goawayFrame,
  headerBytes,
  headersFrames,
  maxWindow,
  pingFrame,
  preface,
  rstStreamFrame,
  setting,
  settingsAck,
  settingsFrame,
  windowUpdateFrame
} from "./frames.ts"
import { emptyTable, encodeHeaders, type HeaderField, HpackDecoder, HpackError } from "./hpack.ts"

export interface SessionOptions {
  /** What the server may send ahead on each stream. */
  readonly receiveWindow: number
}

/** What happens to the session as a whole. */
export interface SessionEvents {
  /** The server's settings are here. */
  readonly up: () => void
  /** The server takes no new streams; those it has run to their ends. */
  readonly goingAway: () => void
  /** It is gone; its streams have been told. */
  readonly closed: (why: string) => void
}

/** Servers that heed it send a chunk of 1 MiB in two frames instead of 64. */
const maxFrameSize = 512 * 1024

/** The connection's window: streams are bounded by their own. */
const connectionWindow = 2 ** 30

/** The most bytes of a header block, and of any frame but DATA. */
const maxHeaderBlock = 64 * 1024

/** What a stream may send in its turn, and what the socket is given before the kernel has taken it. */
const quantum = 512 * 1024
const maxInFlight = 2 * 1024 * 1024

/** Answers to a peer that makes us answer and does not read: more than this, and it is left. */
const maxBacklog = 16 * 2 ** 20

/** The server has broken the protocol. */
class ProtocolError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const refuse = (message: string, code: number = errorCode.protocolError): never => {
  throw new ProtocolError(code, message)
}

export class ClientSession {
  /** No more streams: GOAWAY, or closed. */
  draining = false
  destroyed = false
  private readonly socket: Socket
  private readonly events: SessionEvents
  private readonly receiveWindow: number
  private readonly streams = new Map<number, ClientStream>()
  private readonly hpack = new HpackDecoder()
  private nextId = 1
  private isUp = false

  /** What the server has told. */
  private maxStreams = Number.POSITIVE_INFINITY
  private peerWindow = defaultWindow
  private peerMaxFrameSize = defaultMaxFrameSize
  private tableChanged = false

  private sendWindow = defaultWindow
  private unreturned = 0

  /** Streams that wait for one of the server's places, with their headers. */
  private waiting: Array<readonly [stream: ClientStream, fields: ReadonlyArray<HeaderField>]> = []
  /** Streams with something to send, in turn. */
  private turns: Array<ClientStream> = []
  private out: Array<Uint8Array> = []
  private inFlight = 0
  private willRun = false

  /** The frame under way. */
  private readonly head = Buffer.alloc(headerBytes)
  private headFilled = 0
  private type = 0
  private flags = 0
  private streamId = 0
  private length = 0
  /** Of its payload: bytes to come, and padding among them. */
  private left = 0
  private padding = 0
  private padded = false
  private target: ClientStream | undefined
  private gathered: Array<Buffer> = []
  /** The header block under way, and whose it is. */
  private block: Array<Buffer> = []
  private blockBytes = 0
  private blockStream = 0
  private blockEnds = false

  private pongs: Array<() => void> = []

  /** Takes a socket that is connected, or will be; bytes that it reads go to `receive`. */
  constructor(socket: Socket, options: SessionOptions, events: SessionEvents) {
    this.socket = socket
    this.events = events
    this.receiveWindow = options.receiveWindow
    this.out.push(
      preface,
      settingsFrame([
        [setting.enablePush, 0],
        [setting.initialWindowSize, options.receiveWindow],
        [setting.maxFrameSize, maxFrameSize],
        [setting.maxHeaderListSize, maxHeaderBlock]
      ]),
      windowUpdateFrame(0, connectionWindow - defaultWindow)
    )
    this.flush(0)
  }

  /** Starts a stream; undefined when the session takes no more. */
  request(fields: ReadonlyArray<HeaderField>, events: StreamEvents): ClientStream | undefined {
    if (this.draining || this.destroyed || this.nextId >= 2 ** 31) return undefined
    const stream = new ClientStream(this, this.receiveWindow, events)
    this.waiting.push([stream, fields])
    this.soon()
    return stream
  }

  /** Sends a ping; `pong` is called when it is answered. */
  ping(pong: () => void): void {
    this.pongs.push(pong)
    this.control(pingFrame(Buffer.alloc(8), false))
  }

  /** Ends everything. What has been handed to the kernel still goes out. */
  destroy(why: string): void {
    if (this.destroyed) return
    this.destroyed = true
    this.draining = true
    this.socket.destroy()
    const streams = [...this.streams.values(), ...this.waiting.map(([stream]) => stream)]
    this.streams.clear()
    this.waiting = []
    this.turns = []
    this.out = []
    for (const stream of streams) stream.close({ _tag: "Lost", why })
    this.events.closed(why)
  }

  /** Says goodbye, and ends everything when that is on its way. */
  close(why: string): void {
    if (this.destroyed) return
    this.draining = true
    this.out.push(goawayFrame(0, errorCode.noError))
    this.flush(0)
    setImmediate(() => this.destroy(why))
  }

  // Sending

  /** A stream has something to send. */
  schedule(stream: ClientStream): void {
    if (!stream.scheduled && stream.id !== 0) {
      stream.scheduled = true
      this.turns.push(stream)
    }
    this.soon()
  }

  /** Forgets a stream that the client ends; the server is told. */
  drop(stream: ClientStream, code: number): void {
    if (stream.id === 0) {
      this.waiting = this.waiting.filter(([each]) => each !== stream)
      return
    }
    this.streams.delete(stream.id)
    this.control(rstStreamFrame(stream.id, code))
    this.afterStream()
  }

  /** Counts bytes that came as used, and gives the server room again when it is worth a frame. */
  giveBack(stream: ClientStream, bytes: number): void {
    stream.unreturned += bytes
    if (stream.paused || stream.over || stream.unreturned < this.receiveWindow / 4) return
    stream.receiveWindow += stream.unreturned
    this.control(windowUpdateFrame(stream.id, stream.unreturned))
    stream.unreturned = 0
  }

  private control(frame: Uint8Array): void {
    if (this.destroyed) return
    this.out.push(frame)
    this.soon()
  }

  /** What one event brings about goes out together. */
  private soon(): void {
    if (this.willRun || this.destroyed) return
    this.willRun = true
    process.nextTick(() => {
      this.willRun = false
      this.run()
    })
  }

  private run(): void {
    if (this.destroyed) return
    this.begin()
    let bytes = 0
    // A stream without room waits for its window outside the turns; so do all when the connection has none.
    while (this.turns.length > 0 && this.sendWindow > 0 && this.inFlight + bytes < maxInFlight) {
      const stream = this.turns.shift()!
      stream.scheduled = false
      if (stream.over) continue
      bytes += this.sendSome(stream)
      if (stream.hasRoom()) {
        stream.wanting = false
        stream.events.drain()
      }
      if (!stream.over && stream.queued > 0 && stream.sendWindow > 0 && !stream.scheduled) {
        stream.scheduled = true
        this.turns.push(stream)
      }
    }
    this.endEmpty()
    this.flush(bytes)
  }

  /** Opens streams, as many as the server takes at once. */
  private begin(): void {
    while (this.waiting.length > 0 && this.isUp && this.streams.size < this.maxStreams) {
      const [stream, fields] = this.waiting.shift()!
      if (stream.over) continue
      stream.id = this.nextId
      this.nextId += 2
      stream.sendWindow = this.peerWindow
      this.streams.set(stream.id, stream)
      const encoded = encodeHeaders(fields)
      const block = this.tableChanged ? Buffer.concat([emptyTable, encoded]) : encoded
      this.tableChanged = false
      this.out.push(...headersFrames(stream.id, block, this.peerMaxFrameSize))
      if (stream.queued > 0 || stream.ending) {
        stream.scheduled = true
        this.turns.push(stream)
      }
    }
  }

  /** Frames of what a stream has to send, as far as windows and its turn go. */
  private sendSome(stream: ClientStream): number {
    let sent = 0
    while (sent < quantum && stream.queued > 0) {
      const length = Math.min(stream.queued, this.peerMaxFrameSize, this.sendWindow, stream.sendWindow)
      if (length <= 0) break
      const last = stream.ending && length === stream.queued
      this.out.push(frameHeader(frameType.data, last ? flag.endStream : 0, stream.id, length))
      stream.take(length, this.out)
      stream.sendWindow -= length
      this.sendWindow -= length
      sent += length
      if (last) stream.ended = true
    }
    if (stream.ending && !stream.ended && stream.queued === 0) {
      stream.ended = true
      this.out.push(frameHeader(frameType.data, flag.endStream, stream.id, 0))
    }
    return sent
  }

  /** An end without data needs no window. */
  private endEmpty(): void {
    if (this.sendWindow > 0 || this.turns.length === 0) return
    this.turns = this.turns.filter((stream) => {
      if (stream.over || (stream.ending && stream.queued === 0)) {
        stream.scheduled = false
        if (!stream.over) this.sendSome(stream)
        return false
      }
      return true
    })
  }

  /** Hands what is ready to the socket, in one write; `bytes` of it count until the kernel has them. */
  private flush(bytes: number): void {
    const { out, socket } = this
    if (out.length === 0) return
    this.out = []
    if (socket.writableLength > maxBacklog) {
      this.destroy("the server does not read")
      return
    }
    socket.cork()
    const last = out.length - 1
    for (let index = 0; index < last; index++) socket.write(out[index]!)
    if (bytes === 0) socket.write(out[last]!)
    else {
      this.inFlight += bytes
      socket.write(out[last]!, () => {
        this.inFlight -= bytes
        if (this.turns.length > 0) this.run()
      })
    }
    socket.uncork()
  }

  // Receiving

  /** Takes what the socket has read. The memory is the socket's again when this returns. */
  receive(bytes: Uint8Array): void {
    try {
      this.read(bytes)
    } catch (error) {
      if (error instanceof ProtocolError) this.fail(error.code, error.message)
      else if (error instanceof HpackError) this.fail(errorCode.compressionError, error.message)
      else throw error
    }
  }

  private fail(code: number, message: string): void {
    if (this.destroyed) return
    this.out.push(goawayFrame(0, code))
    this.flush(0)
    this.destroy(`the server broke HTTP/2: ${message}`)
  }

  private read(bytes: Uint8Array): void {
    const total = bytes.byteLength
    let at = 0
    while (at < total && !this.destroyed) {
      if (this.left === 0) {
        if (this.headFilled === 0 && total - at >= headerBytes) {
          this.startFrame(bytes, at)
          at += headerBytes
        } else {
          this.head[this.headFilled++] = bytes[at++]!
          if (this.headFilled < headerBytes) continue
          this.headFilled = 0
          this.startFrame(this.head, 0)
        }
        if (this.left === 0) this.endFrame()
        continue
      }
      if (this.type === frameType.data) {
        at = this.readData(bytes, at)
      } else {
        const end = Math.min(at + this.left, total)
        // An unknown frame's payload is passed over.
        if (this.type <= frameType.continuation) this.gathered.push(Buffer.from(bytes.subarray(at, end)))
        this.left -= end - at
        at = end
      }
      if (this.left === 0) this.endFrame()
    }
  }

  private readData(bytes: Uint8Array, at: number): number {
    if (this.padded) {
      this.padded = false
      this.padding = bytes[at]!
      this.left--
      if (this.padding > this.left) refuse("padding that is longer than its frame")
      return at + 1
    }
    const data = this.left - this.padding
    if (data === 0) {
      const end = Math.min(at + this.left, bytes.byteLength)
      this.left -= end - at
      this.padding = this.left
      return end
    }
    const end = Math.min(at + data, bytes.byteLength)
    this.left -= end - at
    const { target } = this
    if (target !== undefined && !target.over) {
      target.events.data(at === 0 && end === bytes.byteLength ? bytes : bytes.subarray(at, end))
    }
    return end
  }

  private startFrame(head: Uint8Array, at: number): void {
    const length = (head[at]! << 16) | (head[at + 1]! << 8) | head[at + 2]!
    const type = head[at + 3]!
    const flags = head[at + 4]!
    const streamId = ((head[at + 5]! & 0x7f) << 24) | (head[at + 6]! << 16) | (head[at + 7]! << 8) | head[at + 8]!
    if (!this.isUp && (type !== frameType.settings || (flags & flag.ack) !== 0)) refuse("it began without settings")
    if (this.blockStream !== 0 && (type !== frameType.continuation || streamId !== this.blockStream)) {
      refuse("a frame within a header block")
    }
    if (length > maxFrameSize || (type !== frameType.data && type < 10 && length > maxHeaderBlock)) {
      refuse(`a frame of ${length} bytes`, errorCode.frameSizeError)
    }
    this.type = type
    this.flags = flags
    this.streamId = streamId
    this.length = length
    this.left = length
    if (type !== frameType.data) return
    if (streamId === 0 || streamId >= this.nextId || streamId % 2 === 0) refuse("data on a stream that there is not")
    this.padded = (flags & flag.padded) !== 0
    this.padding = 0
    if (this.padded && length === 0) refuse("padding without room", errorCode.frameSizeError)
    const stream = this.streams.get(streamId)
    this.target = stream
    this.unreturned += length
    if (this.unreturned > connectionWindow) refuse("more data than the window", errorCode.flowControlError)
    if (this.unreturned >= connectionWindow / 4) {
      this.control(windowUpdateFrame(0, this.unreturned))
      this.unreturned = 0
    }
    if (stream === undefined) return
    if (!stream.answered) refuse("data before headers")
    stream.receiveWindow -= length
    if (stream.receiveWindow < 0) refuse("more data than the stream's window", errorCode.flowControlError)
  }

  private endFrame(): void {
    const { flags, streamId, type } = this
    if (type === frameType.data) {
      const stream = this.target
      this.target = undefined
      if (stream === undefined || stream.over) return
      if ((flags & flag.endStream) !== 0) this.finish(stream)
      else this.giveBack(stream, this.length)
      return
    }
    const payload = this.gathered.length === 1 ? this.gathered[0]! : Buffer.concat(this.gathered)
    this.gathered = []
    switch (type) {
      case frameType.headers:
        this.onHeaders(streamId, flags, payload)
        break
      case frameType.continuation:
        if (this.blockStream === 0) refuse("a continuation of nothing")
        this.addBlock(payload, flags)
        break
      case frameType.rstStream: {
        if (payload.byteLength !== 4) refuse("RST_STREAM of another size", errorCode.frameSizeError)
        const stream = this.streams.get(streamId)
        if (stream !== undefined) {
          this.streams.delete(streamId)
          stream.close({ _tag: "Reset", code: payload.readUInt32BE(0) })
          this.afterStream()
        }
        break
      }
      case frameType.settings:
        this.onSettings(flags, payload)
        break
      case frameType.pushPromise:
        refuse("a push, which was refused")
        break
      case frameType.ping:
        if (payload.byteLength !== 8) refuse("PING of another size", errorCode.frameSizeError)
        if ((flags & flag.ack) !== 0) this.pongs.shift()?.()
        else this.control(pingFrame(payload, true))
        break
      case frameType.goaway:
        this.onGoaway(payload)
        break
      case frameType.windowUpdate:
        this.onWindowUpdate(streamId, payload)
        break
      default:
      // PRIORITY is advice that a client has no use for.
    }
  }

  private onHeaders(streamId: number, flags: number, payload: Buffer): void {
    if (streamId === 0 || streamId >= this.nextId || streamId % 2 === 0) refuse("headers on a stream that there is not")
    let start = 0
    let end = payload.byteLength
    if ((flags & flag.padded) !== 0) {
      end -= payload[0] ?? 0
      start = 1
    }
    if ((flags & flag.priority) !== 0) start += 5
    if (start > end) refuse("padding that is longer than its frame")
    this.blockStream = streamId
    this.blockEnds = (flags & flag.endStream) !== 0
    this.addBlock(payload.subarray(start, end), flags)
  }

  private addBlock(part: Buffer, flags: number): void {
    this.block.push(part)
    this.blockBytes += part.byteLength
    if (this.blockBytes > maxHeaderBlock || this.block.length > 64) {
      refuse("headers without end", errorCode.enhanceYourCalm)
    }
    if ((flags & flag.endHeaders) === 0) return
    const block = this.block.length === 1 ? this.block[0]! : Buffer.concat(this.block)
    const stream = this.streams.get(this.blockStream)
    const ends = this.blockEnds
    this.block = []
    this.blockBytes = 0
    this.blockStream = 0
    // Decoded also where nobody wants it: the table goes on.
    const headers = this.hpack.decode(block)
    if (stream === undefined) return
    if (stream.answered) {
      if (!ends) refuse("trailers that do not end the stream")
      stream.events.trailers(headers)
    } else if (!/^1\d\d$/.test(headers[":status"] ?? "")) {
      stream.answered = true
      stream.events.headers(headers)
    } else if (ends) refuse("an interim answer that ends the stream")
    if (ends && !stream.over) this.finish(stream)
  }

  /** The server has sent all. A request that is still being sent is not wanted any more. */
  private finish(stream: ClientStream): void {
    this.streams.delete(stream.id)
    if (!stream.ended) this.control(rstStreamFrame(stream.id, errorCode.cancel))
    stream.close({ _tag: "Ended" })
    this.afterStream()
  }

  /** A place is free; a session that is going away may be at its end. */
  private afterStream(): void {
    if (this.waiting.length > 0) this.soon()
    if (this.draining && this.streams.size === 0 && !this.destroyed) {
      setImmediate(() => this.destroy("the server went away"))
    }
  }

  private onSettings(flags: number, payload: Buffer): void {
    if (this.streamId !== 0) refuse("settings on a stream")
    if ((flags & flag.ack) !== 0) return
    if (payload.byteLength % 6 !== 0) refuse("settings of another size", errorCode.frameSizeError)
    for (let at = 0; at < payload.byteLength; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      switch (payload.readUInt16BE(at)) {
        case setting.headerTableSize:
          this.tableChanged = true
          break
        case setting.maxConcurrentStreams:
          this.maxStreams = value
          break
        case setting.initialWindowSize: {
          if (value > maxWindow) refuse("a window that is too large", errorCode.flowControlError)
          const more = value - this.peerWindow
          this.peerWindow = value
          for (const stream of this.streams.values()) this.enlarge(stream, more)
          break
        }
        case setting.maxFrameSize:
          if (value < defaultMaxFrameSize || value >= 2 ** 24) refuse("a frame size out of range")
          this.peerMaxFrameSize = value
          break
        default:
      }
    }
    this.control(settingsAck)
    if (!this.isUp) {
      this.isUp = true
      this.events.up()
    }
  }

  private enlarge(stream: ClientStream, more: number): void {
    stream.sendWindow += more
    if (stream.sendWindow > maxWindow) refuse("a window that is too large", errorCode.flowControlError)
    if (stream.sendWindow > 0 && (stream.queued > 0 || (stream.ending && !stream.ended))) this.schedule(stream)
  }

  private onWindowUpdate(streamId: number, payload: Buffer): void {
    if (payload.byteLength !== 4) refuse("WINDOW_UPDATE of another size", errorCode.frameSizeError)
    const more = payload.readUInt32BE(0) & 0x7fffffff
    if (more === 0) refuse("a window update of 0")
    if (streamId !== 0) {
      const stream = this.streams.get(streamId)
      if (stream !== undefined) this.enlarge(stream, more)
      return
    }
    this.sendWindow += more
    if (this.sendWindow > maxWindow) refuse("a window that is too large", errorCode.flowControlError)
    if (this.turns.length > 0) this.soon()
  }

  private onGoaway(payload: Buffer): void {
    if (payload.byteLength < 8) refuse("GOAWAY of another size", errorCode.frameSizeError)
    const lastStreamId = payload.readUInt32BE(0) & 0x7fffffff
    const why = `the server is going away (${payload.toString("utf8", 8, 200) || payload.readUInt32BE(4)})`
    this.draining = true
    this.events.goingAway()
    // Streams above it were not looked at.
    const unseen = this.waiting.map(([stream]) => stream)
    this.waiting = []
    for (const [id, stream] of this.streams) {
      if (id <= lastStreamId) continue
      this.streams.delete(id)
      unseen.push(stream)
    }
    for (const stream of unseen) stream.close({ _tag: "Lost", why })
    this.afterStream()
  }
}
