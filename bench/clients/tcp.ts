/**
 * Bare TCP against a peer of its own, which sends or drops bytes: the ceiling above every protocol. Receiving reads into
 * one buffer (`onread`), without copying.
 */
import { connect } from "node:net"
import type { Client, Task } from "./Client.ts"
import { memoryOf } from "./Client.ts"

export const make = (): Client => ({
  send: (task) =>
    new Promise((done, fail) => {
      const socket = connect({ host: task.host, port: task.port, noDelay: true })
      socket.on("error", fail)
      socket.write(`drop ${task.bytes * task.count}\n`)
      socket.once("data", () => {
        socket.destroy()
        done()
      })
      const data = memoryOf(task.bytes)
      const write = async () => {
        for (let i = 0; i < task.count; i++) {
          for (let at = 0; at < task.bytes; at += task.chunkSize) {
            const more = socket.write(data.subarray(at, Math.min(at + task.chunkSize, task.bytes)))
            if (!more) await new Promise((drained) => socket.once("drain", drained))
          }
        }
      }
      void write()
    }),
  receive: (task: Task) =>
    new Promise((done, fail) => {
      let left = task.bytes * task.count
      const socket = connect({
        host: task.host,
        port: task.port,
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafeSlow(512 * 1024),
          callback: (bytes) => {
            left -= bytes
            if (left > 0) return true
            socket.destroy()
            done()
            return false
          }
        }
      })
      socket.on("error", fail)
      socket.write(`send ${left}\n`)
    }),
  close: async () => {}
})
