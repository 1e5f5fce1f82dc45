/**
 * `node:http2` and nothing else: what the runtime allows. Sending writes each chunk behind its header, without joining
 * them and without a ZIP or a checksum. Receiving parses the bytes as they come and copies them to their place, in memory
 * that is fresh for each tensor or used again, or drops them. Only for one server: it knows that fields come in order and
 * that chunks are not interleaved.
 */
import * as http2 from "node:http2"
import { TensorRequest, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"
import { type Client, expectEqual, memoryOf, shapeOf, type Task } from "./Client.ts"

const window = 16 * 2 ** 20

const varint = (value: number): ReadonlyArray<number> =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]

export const make = (memory: "fresh" | "reused" | "dropped"): Client => {
  let session: http2.ClientHttp2Session | undefined
  const open = async (task: Task, method: string): Promise<http2.ClientHttp2Stream> => {
    if (session === undefined) {
      const made = http2.connect(`http://${task.host}:${task.port}`, {
        settings: { enablePush: false, initialWindowSize: window, maxFrameSize: 512 * 1024 }
      })
      await new Promise((done) => made.once("remoteSettings", done))
      made.setLocalWindowSize(window)
      session = made
    }
    return session.request({
      ":method": "POST",
      ":path": `/kpu.torch.Service/${method}`,
      te: "trailers",
      "content-type": "application/grpc"
    })
  }
  const writeAll = async (stream: http2.ClientHttp2Stream, task: Task): Promise<void> => {
    const data = memoryOf(task.bytes)
    for (let i = 0; i < task.count; i++) {
      const id = Buffer.from(`tensor-${i}`)
      const totalChunks = Math.ceil(task.bytes / task.chunkSize)
      for (let number = 0; number < totalChunks; number++) {
        const size = Math.min(task.chunkSize, task.bytes - number * task.chunkSize)
        const head = Buffer.from([
          ...[0, 0, 0, 0, 0, 0x0a, id.byteLength, ...id, 0x10, ...varint(number), 0x1a, ...varint(size)]
        ])
        const tail = Buffer.from([0x20, ...varint(totalChunks)])
        head.writeUInt32BE(head.byteLength - 5 + size + tail.byteLength, 1)
        stream.cork()
        stream.write(head)
        stream.write(data.subarray(number * task.chunkSize, number * task.chunkSize + size))
        const more = stream.write(tail)
        stream.uncork()
        if (!more) await new Promise((done) => stream.once("drain", done))
      }
    }
    stream.end()
  }
  let kept: Uint8Array = new Uint8Array(0)
  const readAll = (stream: http2.ClientHttp2Stream, task: Task): Promise<void> =>
    new Promise((done, fail) => {
      let left = 0
      let received = 0
      let target: Uint8Array = kept
      let at = 0
      let head: Buffer = Buffer.alloc(0)
      const total = task.bytes * task.count
      stream.on("data", (bytes: Buffer) => {
        if (memory === "dropped") {
          received += bytes.byteLength
          return
        }
        let position = 0
        while (position < bytes.byteLength) {
          if (left > 0) {
            const end = Math.min(position + left, bytes.byteLength)
            let size = end - position
            left -= size
            if (at + size > target.byteLength) {
              // The end of the payload's ZIP, which this program does not look at.
              size = target.byteLength - at
            }
            target.set(bytes.subarray(position, position + size), at)
            at += size
            received += size
            position = end
            continue
          }
          // Fields before the data, gathered until the data's length is known.
          head = head.byteLength === 0 ? bytes.subarray(position) : Buffer.concat([head, bytes.subarray(position)])
          const found = findData(head)
          if (found === undefined) {
            head = Buffer.from(head)
            return
          }
          position = bytes.byteLength - (head.byteLength - found.offset)
          left = found.length
          head = Buffer.alloc(0)
          if (found.first) {
            target = memory === "fresh" || kept.byteLength < task.bytes ? Buffer.allocUnsafeSlow(task.bytes) : kept
            kept = target
            at = 0
          }
        }
      })
      stream.on("end", () => {
        if (received < total) return fail(new Error(`received ${received} bytes of ${total}`))
        done()
      })
      stream.on("error", fail)
    })
  return {
    send: async (task) => {
      const stream = await open(task, "ReceiveTensors")
      const parts: Array<Buffer> = []
      stream.on("data", (bytes: Buffer) => parts.push(bytes))
      const ended = new Promise((done) => stream.once("end", done))
      await writeAll(stream, task)
      await ended
      const response = TensorResponse.decode(Buffer.concat(parts).subarray(5))
      expectEqual("tensors at the server", response.receivedTensorIds.length, task.count)
    },
    receive: async (task) => {
      const stream = await open(task, "SendTensors")
      const message = TensorRequest.encode({
        count: task.count,
        parameters: { shape: shapeOf(task.bytes) }
      }).finish()
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(message.byteLength, 1)
      stream.end(Buffer.concat([prefix, message]))
      await readAll(stream, task)
    },
    ...(memory === "dropped"
      ? {
          stream: async (task: Task) => {
            const stream = await open(task, "StreamTensors")
            await Promise.all([readAll(stream, task), writeAll(stream, task)])
          }
        }
      : {}),
    close: async () => session?.destroy()
  }
}

/** Looks behind what is left of the last message and the next one's prefix for the data field of a chunk. */
const findData = (
  bytes: Buffer
): { readonly offset: number; readonly length: number; readonly first: boolean } | undefined => {
  let at = 0
  let number = 0
  let tag = 0
  const read = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) return Number.NaN
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.byteLength) {
    // A message's prefix begins with 0, which is no tag.
    if (bytes[at] === 0) {
      at += 5
      number = 0
      continue
    }
    tag = read()
    const value = read()
    if (Number.isNaN(value)) return undefined
    if (tag === 0x10) number = value
    else if (tag === 0x1a) return { offset: at, length: value, first: number === 0 }
    else if (tag % 8 === 2) at += value
  }
  return undefined
}
