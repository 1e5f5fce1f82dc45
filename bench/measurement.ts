/** Running one client in a process of its own, and what several such runs say together. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { need, root } from "../test/kit/peers.ts"
import type { Mode, Task } from "./clients/Client.ts"

/** One run. */
export interface Run {
  readonly seconds: number
  readonly cpuSeconds: number
  /** The peak of resident memory above what it was after the warm-up. */
  readonly mebibytesAbove: number
}

/** The median of several numbers, and the least and the most of them. */
export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export const spreadOf = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
    least: sorted[0]!,
    most: sorted.at(-1)!
  }
}

const mebibyte = 2 ** 20

/** MiB of elements a second, one way. */
export const throughput = (run: Run, task: Task): number => (task.bytes * task.count) / mebibyte / run.seconds
/** CPU seconds of the client for each GiB of elements, one way. */
export const cpuPerGiB = (run: Run, task: Task): number => run.cpuSeconds / ((task.bytes * task.count) / 2 ** 30)

const program = (command: string, args: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(command, args, { cwd: root, maxBuffer: 16 * mebibyte }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${[command, ...args].join(" ")}\n${stderr || error.message}`))
    })
  })

/** Runs a client once; undefined where it has no such mode. */
export const run = async (client: string, mode: Mode, task: Task, warmUp = 1): Promise<Run | undefined> => {
  const { bytes, chunkSize, count, host, port } = task
  const numbers = [host, port, bytes, count, chunkSize, warmUp].map(String)
  if (client === "Python grpcio + torch") {
    const script = join(root, "bench/clients/python_client.py")
    return JSON.parse(await program(need("pytorch").python, [script, mode, ...numbers])) as Run
  }
  if (client === "Go grpc") {
    const output = await program(need("kputensor"), [
      "client",
      `--address=${host}:${port}`,
      `--operation=${mode}`,
      `--shape=${bytes / 4}`,
      `--tensors=${count}`,
      `--chunk-size=${chunkSize}`,
      "--rounds=1",
      "--warmup=1"
    ])
    const { cpuSeconds, seconds } = JSON.parse(output.trim().split("\n").at(-1)!) as Run
    return { seconds, cpuSeconds, mebibytesAbove: Number.NaN }
  }
  const measured = JSON.parse(
    await program(process.execPath, [
      "--conditions=effect-kpu-source",
      join(root, "bench/measure.ts"),
      client,
      mode,
      ...numbers
    ])
  ) as Partial<Run>
  return measured.seconds === undefined ? undefined : (measured as Run)
}
