/**
 * A proxy that holds each direction back by some milliseconds and has room for everything: distance without a limit of
 * its own. Arguments: the port to forward to, and the delay.
 */
import * as net from "node:net"

const target = Number(process.argv[2])
const delayMillis = Number(process.argv[3])

const forward = (from: net.Socket, to: net.Socket): void => {
  const waiting: Array<{ readonly at: number; readonly bytes: Buffer | undefined }> = []
  let armed = false
  const arm = (millis: number) => {
    armed = true
    setTimeout(flush, millis)
  }
  const flush = () => {
    armed = false
    const now = performance.now()
    let due = 0
    to.cork()
    while (due < waiting.length && waiting[due]!.at <= now) {
      const { bytes } = waiting[due++]!
      if (bytes === undefined) to.end()
      else to.write(bytes)
    }
    to.uncork()
    waiting.splice(0, due)
    if (waiting.length > 0) arm(Math.max(0, waiting[0]!.at - now))
  }
  const hold = (bytes: Buffer | undefined) => {
    waiting.push({ at: performance.now() + delayMillis, bytes })
    if (!armed) arm(delayMillis)
  }
  from.on("data", hold)
  from.on("end", () => hold(undefined))
  from.on("error", () => to.destroy())
}

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = net.connect({ host: "127.0.0.1", port: target, allowHalfOpen: true, noDelay: true })
  forward(near, far)
  forward(far, near)
})
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: (server.address() as net.AddressInfo).port }))
})
