/**
 * The operator's part of `bench:kubernetes`, in a process of its own: one tensor server that every Compute is dialled
 * at, and on command the status of many Computes set to Ready.
 */

import { Agent, request } from "node:https"
import { createInterface } from "node:readline"
import { start } from "../src/local/TensorServer.ts"

interface Settings {
  readonly url: string
  readonly token: string
  readonly ca: string
}

const reply = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async (): Promise<any> => {
  const line = await lines.next()
  return line.done === true ? undefined : JSON.parse(line.value)
}

const settings: Settings = await next()
const agent = new Agent({ ca: settings.ca, keepAlive: true, maxSockets: 32 })
const tensors = await start({ host: "127.0.0.1", port: 0, chunkSize: 1 << 20, maxMessageBytes: 64 << 20 })
reply({ port: tensors.port })

const setReady = (namespace: string, name: string): Promise<number> =>
  new Promise((done, fail) => {
    const body = JSON.stringify({
      status: {
        conditions: [
          {
            type: "Ready",
            status: "True",
            reason: "StatefulSetReady",
            message: "All 1 replicas are ready",
            lastTransitionTime: new Date().toISOString().replace(/\.\d+/, "")
          }
        ]
      }
    })
    const patch = request(
      `${settings.url}/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes/${name}/status`,
      {
        agent,
        method: "PATCH",
        headers: {
          authorization: `Bearer ${settings.token}`,
          "content-type": "application/merge-patch+json",
          "content-length": Buffer.byteLength(body)
        }
      },
      (response) => {
        response.resume()
        response.once("end", () =>
          response.statusCode === 200 ? done(Date.now()) : fail(new Error(`status of ${name}: ${response.statusCode}`))
        )
      }
    )
    patch.once("error", fail)
    patch.end(body)
  })

for (let command = await next(); command !== undefined; command = await next()) {
  const { names, namespace } = command as { readonly namespace: string; readonly names: ReadonlyArray<string> }
  const changed: Array<number> = []
  let at = 0
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (at < names.length) {
        const i = at++
        changed[i] = await setReady(namespace, names[i]!)
      }
    })
  )
  reply({ changed })
}
process.exit(0)
