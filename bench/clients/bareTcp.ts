/**
 * TCP in Node without HTTP/2: what the loopback and the event loop give. `data` drops the buffers of `data` events,
 * `onread` reads into one buffer. The counterpart is `servers/tcp.ts`.
 */
import * as net from "node:net"
import { type Client, type Job, serve } from "./protocol.ts"

const variant = process.argv[2] as "data" | "onread"
const block = new Uint8Array(2 ** 20).fill(1)

const request = (socket: net.Socket, kind: "send" | "receive", bytes: number): void => {
  const head = Buffer.alloc(9)
  head[0] = kind === "send" ? 1 : 2
  head.writeBigUInt64LE(BigInt(bytes), 1)
  socket.write(head)
}

const run = ({ count, direction, elements, host, port }: Job): Promise<number> =>
  new Promise((resolve, reject) => {
    const bytes = 4 * elements * count
    let received = 0
    const take = (length: number) => {
      received += length
      if (received < (direction === "send" ? 1 : bytes)) return
      socket.destroy()
      resolve(bytes)
    }
    const socket: net.Socket = net.connect(
      variant === "data"
        ? { host, port }
        : {
            host,
            port,
            onread: {
              buffer: new Uint8Array(2 ** 20),
              callback: (length) => {
                take(length)
                return true
              }
            }
          }
    )
    socket.once("error", reject)
    if (variant === "data") socket.on("data", (chunk) => take(chunk.length))
    if (direction !== "send") {
      request(socket, "receive", bytes)
      return
    }
    request(socket, "send", bytes)
    let left = bytes
    const write = () => {
      while (left > 0) {
        const some = Math.min(left, block.byteLength)
        left -= some
        if (!socket.write(some === block.byteLength ? block : block.subarray(0, some))) {
          socket.once("drain", write)
          return
        }
      }
    }
    write()
  })

const client: Client = { prepare: () => {}, run }

await serve(client)
