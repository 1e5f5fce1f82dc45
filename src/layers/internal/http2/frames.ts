/** The frames of HTTP/2 (RFC 9113) as numbers and bytes. */

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9
} as const

export const flag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6
} as const

export const errorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11
} as const

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1")

/** What holds until settings say otherwise (RFC 9113, 6.5.2), and the largest that a window may be. */
export const defaultWindow = 65_535
export const defaultMaxFrameSize = 16_384
export const maxWindow = 2 ** 31 - 1

export const headerBytes = 9

/** The nine bytes before a frame's payload. */
export const frameHeader = (type: number, flags: number, streamId: number, length: number): Buffer => {
  const bytes = Buffer.allocUnsafe(headerBytes)
  bytes[0] = length >>> 16
  bytes[1] = length >>> 8
  bytes[2] = length
  bytes[3] = type
  bytes[4] = flags
  bytes[5] = streamId >>> 24
  bytes[6] = streamId >>> 16
  bytes[7] = streamId >>> 8
  bytes[8] = streamId
  return bytes
}

const word = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const frame = (type: number, flags: number, streamId: number, payload: Uint8Array): Buffer =>
  Buffer.concat([frameHeader(type, flags, streamId, payload.byteLength), payload])

export const settingsFrame = (settings: ReadonlyArray<readonly [id: number, value: number]>): Buffer => {
  const payload = Buffer.alloc(settings.length * 6)
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, index * 6)
    payload.writeUInt32BE(value, index * 6 + 2)
  }
  return frame(frameType.settings, 0, 0, payload)
}

export const settingsAck = frameHeader(frameType.settings, flag.ack, 0, 0)

export const pingFrame = (payload: Uint8Array, ack: boolean): Buffer =>
  frame(frameType.ping, ack ? flag.ack : 0, 0, payload)

export const windowUpdateFrame = (streamId: number, increment: number): Buffer =>
  frame(frameType.windowUpdate, 0, streamId, word(increment))

export const rstStreamFrame = (streamId: number, code: number): Buffer =>
  frame(frameType.rstStream, 0, streamId, word(code))

export const goawayFrame = (lastStreamId: number, code: number): Buffer =>
  frame(frameType.goaway, 0, 0, Buffer.concat([word(lastStreamId), word(code)]))

/** A header block in as many frames as it takes. */
export const headersFrames = (streamId: number, block: Uint8Array, maxFrameSize: number): ReadonlyArray<Uint8Array> => {
  const out: Array<Uint8Array> = []
  for (let at = 0; at === 0 || at < block.byteLength; at += maxFrameSize) {
    const part = block.subarray(at, at + maxFrameSize)
    const last = at + maxFrameSize >= block.byteLength
    const type = at === 0 ? frameType.headers : frameType.continuation
    out.push(frameHeader(type, last ? flag.endHeaders : 0, streamId, part.byteLength), part)
  }
  return out
}
