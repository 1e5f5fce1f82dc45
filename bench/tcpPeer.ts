/** The other side of bare TCP: `send N` gives N bytes, `drop N` takes N and answers. Prints its port. */
import { createServer } from "node:net"

const block = Buffer.alloc(2 ** 20, 1)
const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {})
  socket.once("data", (first: Buffer) => {
    const line = first.indexOf(10)
    const [what, count] = first.toString("latin1", 0, line).split(" ")
    let left = Number(count)
    if (what === "drop") {
      const take = (bytes: number) => {
        left -= bytes
        if (left <= 0) socket.end("done")
      }
      take(first.byteLength - line - 1)
      socket.on("data", (bytes: Buffer) => take(bytes.byteLength))
      return
    }
    const give = () => {
      while (left > 0) {
        const bytes = Math.min(left, block.byteLength)
        left -= bytes
        if (!socket.write(block.subarray(0, bytes))) {
          socket.once("drain", give)
          return
        }
      }
    }
    give()
  })
})
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify(server.address())))
