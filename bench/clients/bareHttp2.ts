/**
 * `node:http2` without a gRPC library: the floor for every JavaScript client. Sends the head, the data and the tail of a
 * message without joining them; receives by reading the bytes as they arrive and copying each to its place, in memory
 * that is fresh for each tensor (`fresh`) or used again (`reused`), or drops the bytes (`dropped`). `crc` is `fresh` with
 * the CRC-32 of the bytes sent, which every tensor's file needs.
 */
import * as http2 from "node:http2"
import { crc32 } from "node:zlib"
import { TensorRequest, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"
import { chunksOfAll, Payload } from "./payload.ts"
import { type Client, type Job, serve } from "./protocol.ts"
import { FragmentReader, frameOf } from "./wire.ts"

const variant = process.argv[2] as "fresh" | "reused" | "dropped" | "crc"
const windowBytes = 16 * 2 ** 20
/** More than what the file of a tensor has beside its elements. */
const fileRoom = 8192

const sessions = new Map<number, http2.ClientHttp2Session>()
const payload = new Payload()
let memory = new Uint8Array(0)

const connect = async ({ host, port }: Job): Promise<http2.ClientHttp2Session> => {
  const open = sessions.get(port)
  if (open !== undefined) return open
  const session = http2.connect(`http://${host}:${port}`, {
    settings: { initialWindowSize: windowBytes, maxFrameSize: 512 * 1024, enablePush: false },
    maxSessionMemory: 1024
  })
  await new Promise((resolve, reject) => session.once("remoteSettings", resolve).once("error", reject))
  session.setLocalWindowSize(windowBytes)
  sessions.set(port, session)
  return session
}

const client: Client = {
  prepare: async (job) => {
    await connect(job)
    if (job.direction === "receive") payload.clear()
    else payload.prepare(job.elements)
    const room = job.direction === "send" || variant !== "reused" ? 0 : 4 * job.elements + fileRoom
    if (memory.byteLength !== room) memory = new Uint8Array(room).fill(1)
  },
  run: async (job) => {
    const session = await connect(job)
    const { chunkSize, count, direction, elements } = job
    const method = { send: "ReceiveTensors", receive: "SendTensors", bidirectional: "StreamTensors" }[
      direction as "send" | "receive" | "bidirectional"
    ]
    const stream = session.request(
      {
        ":method": "POST",
        ":path": `/kpu.torch.Service/${method}`,
        "content-type": "application/grpc",
        te: "trailers"
      },
      { endStream: false }
    )
    const ended = new Promise<void>((resolve, reject) => {
      stream.once("end", resolve).once("error", reject)
    })
    let tensors = 0
    const parts: Array<Buffer> = []
    if (direction === "send") stream.on("data", (bytes: Buffer) => parts.push(bytes))
    else {
      const room = 4 * elements + fileRoom
      let file = memory
      let at = 0
      let reading = false
      const reader = new FragmentReader(
        (bytes) => {
          if (variant === "dropped") return
          if (!reading) {
            reading = true
            at = 0
            if (variant !== "reused") file = new Uint8Array(room)
          }
          file.set(bytes, at)
          at += bytes.byteLength
        },
        () => {
          reading = false
          if (variant !== "dropped" && at < 4 * elements) throw new Error("a file is not whole")
          tensors++
        }
      )
      stream.on("data", (bytes: Buffer) => reader.feed(bytes))
    }
    if (direction === "receive") {
      const request = TensorRequest.encode({ count, parameters: { shape: String(elements) } }).finish()
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(request.byteLength, 1)
      stream.end(Buffer.concat([prefix, request]))
    } else {
      let crc = 0
      for (const chunk of chunksOfAll(payload.bytes, elements, chunkSize, count)) {
        if (variant === "crc") crc = crc32(chunk.data, crc)
        const { head, tail } = frameOf(chunk)
        const first = Buffer.alloc(5 + head.length)
        first.writeUInt32BE(head.length + chunk.data.byteLength + tail.length, 1)
        first.set(head, 5)
        stream.cork()
        stream.write(first)
        stream.write(chunk.data)
        const more = stream.write(Buffer.from(tail))
        stream.uncork()
        if (!more) await new Promise((resolve) => stream.once("drain", resolve))
      }
      stream.end()
    }
    await ended
    if (direction === "send") tensors = TensorResponse.decode(Buffer.concat(parts).subarray(5)).receivedTensorIds.length
    return 4 * elements * tensors
  }
}

await serve(client)
