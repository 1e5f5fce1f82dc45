/** A TCP sink and source. A client says which with one byte, and with how many bytes in eight more. */
import * as net from "node:net"

const block = new Uint8Array(2 ** 20).fill(1)

const source = (socket: net.Socket, bytes: number): void => {
  let left = bytes
  const write = () => {
    while (left > 0 && !socket.destroyed) {
      const some = Math.min(left, block.byteLength)
      left -= some
      if (!socket.write(some === block.byteLength ? block : block.subarray(0, some))) {
        socket.once("drain", write)
        return
      }
    }
  }
  write()
}

const server = net.createServer((socket) => {
  socket.on("error", () => {})
  socket.once("readable", () => {
    const head = socket.read(9) as Buffer | null
    if (head === null) {
      socket.destroy()
      return
    }
    const bytes = Number(head.readBigUInt64LE(1))
    if (head[0] === 2) return source(socket, bytes)
    let left = bytes
    socket.on("data", (chunk: Buffer) => {
      left -= chunk.byteLength
      if (left <= 0) socket.end(Buffer.of(1))
    })
  })
})
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: (server.address() as net.AddressInfo).port }))
})
