/**
 * The operator's part of `bench:kubernetes`, in a process of its own: one tensor server that every Compute is dialled
 * at, and on command the status of many Computes set to Ready. It also makes bare applies, as many at once as the client
 * under test: what the server can take.
 */

import { Agent, request } from "node:https"
import { createInterface } from "node:readline"
import { start } from "../../src/local/TensorServer.ts"

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

/** One PATCH; the time of its answer. */
const patch = (path: string, contentType: string, content: unknown): Promise<number> =>
  new Promise((done, fail) => {
    const body = JSON.stringify(content)
    const sent = request(
      `${settings.url}/apis/compute.kpu.dev/v1alpha1/namespaces/${path}`,
      {
        agent,
        method: "PATCH",
        headers: {
          authorization: `Bearer ${settings.token}`,
          "content-type": contentType,
          "content-length": Buffer.byteLength(body)
        }
      },
      (response) => {
        response.resume()
        response.once("end", () =>
          (response.statusCode ?? 500) < 300 ? done(Date.now()) : fail(new Error(`${path}: ${response.statusCode}`))
        )
      }
    )
    sent.once("error", fail)
    sent.end(body)
  })

const setReady = (namespace: string, name: string) =>
  patch(`${namespace}/computes/${name}/status`, "application/merge-patch+json", {
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

const apply = (namespace: string, name: string) =>
  patch(`${namespace}/computes/${name}?fieldManager=bare&force=true`, "application/apply-patch+yaml", {
    apiVersion: "compute.kpu.dev/v1alpha1",
    kind: "Compute",
    metadata: { name },
    spec: { image: "example/server", suspend: false }
  })

interface Command {
  readonly do: "apply" | "ready"
  readonly namespace: string
  readonly names: ReadonlyArray<string>
}

for (let command = await next(); command !== undefined; command = await next()) {
  const { do: what, names, namespace } = command as Command
  const started = performance.now()
  const cpu = process.cpuUsage()
  const changed: Array<number> = []
  let at = 0
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (at < names.length) {
        const i = at++
        changed[i] = await (what === "apply" ? apply : setReady)(namespace, names[i]!)
      }
    })
  )
  const { system, user } = process.cpuUsage(cpu)
  reply({ changed, seconds: (performance.now() - started) / 1000, cpuSeconds: (system + user) / 1e6 })
}
process.exit(0)
