/**
 * What a measured client and the harness say to each other. A client is a process of its own that reads one job a line
 * from standard input and answers with one outcome a line; it keeps its connection and its process between jobs, so that
 * every round but the first finds it warm.
 *
 * Only the job's own work is measured: the tensor that is sent is made before, and garbage of the job before is collected
 * before. Processor time is that of the whole process, all its threads.
 */
import { createInterface } from "node:readline"

export type Direction = "send" | "receive" | "bidirectional" | "roundtrip" | "fairness"

export interface Job {
  readonly direction: Direction
  readonly host: string
  readonly port: number
  /** How many tensors; of `roundtrip`: how many calls, one after the other; of `fairness`: tensors of each of 100 calls. */
  readonly count: number
  /** float32 elements of a tensor. */
  readonly elements: number
  /** Bytes of a chunk that the client sends. */
  readonly chunkSize: number
}

export interface Outcome {
  readonly seconds: number
  readonly cpuSeconds: number
  /** Bytes of the tensors' elements, one way. */
  readonly bytes: number
  readonly startRssBytes: number
  readonly peakRssBytes: number
  /** Of `roundtrip`: microseconds of each call. Of `fairness`: tensors of each call when half of all were there. */
  readonly samples?: ReadonlyArray<number> | undefined
}

/** One way to move tensors. */
export interface Client {
  /** Makes what the job needs beforehand; what it keeps is let go by the next `prepare`. */
  readonly prepare: (job: Job) => void | Promise<void>
  /** Does the job; gives the bytes of elements that it moved, and samples where the job asks for them. */
  readonly run: (job: Job) => Promise<number | { readonly bytes: number; readonly samples: ReadonlyArray<number> }>
}

declare const gc: (() => void) | undefined

const measure = async (client: Client, job: Job): Promise<Outcome> => {
  await client.prepare(job)
  if (typeof gc === "function") gc()
  const startRssBytes = process.memoryUsage.rss()
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const result = await client.run(job)
  const seconds = (performance.now() - begun) / 1000
  const { system, user } = process.cpuUsage(cpu)
  const bytes = typeof result === "number" ? result : result.bytes
  const expected = job.direction === "fairness" ? 0 : 4 * job.elements * job.count
  if (expected > 0 && bytes !== expected) throw new Error(`moved ${bytes} bytes in place of ${expected}`)
  return {
    seconds,
    cpuSeconds: (system + user) / 1e6,
    bytes,
    startRssBytes,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    samples: typeof result === "number" ? undefined : result.samples
  }
}

/** Serves jobs until standard input ends. */
export const serve = async (client: Client): Promise<void> => {
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      console.log(JSON.stringify(await measure(client, JSON.parse(line) as Job)))
    } catch (error) {
      console.error(error)
      process.exit(1)
    }
  }
  process.exit(0)
}
