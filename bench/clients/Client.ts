/** What every client of the benchmark does, the whole way: from a tensor in the user's hands to one in the user's hands. */

export interface Task {
  readonly host: string
  readonly port: number
  /** Bytes of a tensor's elements. */
  readonly bytes: number
  /** How many tensors. */
  readonly count: number
  /** Bytes of data in a chunk that is sent; what comes back is cut as the server likes. */
  readonly chunkSize: number
}

export interface Client {
  readonly send?: ((task: Task) => Promise<void>) | undefined
  readonly receive?: ((task: Task) => Promise<void>) | undefined
  readonly stream?: ((task: Task) => Promise<void>) | undefined
  /** Closes what is open. */
  readonly close: () => Promise<void>
}

export type Mode = "send" | "receive" | "stream"

/** Fails where a client has not done what it was measured for. */
export const expectEqual = (what: string, actual: unknown, expected: unknown): void => {
  if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`)
}

/** Memory whose every page is its own: zeros that were never written would all lie in one page, and in the cache. */
export const memoryOf = (bytes: number): Uint8Array => {
  const made = memories.get(bytes)
  if (made !== undefined) return made
  const words = new Uint32Array(bytes / 4)
  let state = 1
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    words[at] = state
  }
  const memory = new Uint8Array(words.buffer)
  memories.set(bytes, memory)
  return memory
}

/** Made in the warm-up, not in what is measured. */
const memories = new Map<number, Uint8Array>()

/** The parameters of `SendTensors` that ask for a float32 tensor of so many bytes. */
export const shapeOf = (bytes: number): string => String(bytes / 4)
