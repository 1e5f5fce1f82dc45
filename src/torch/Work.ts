/**
 * What reading cost: counted so that tests can show that no input makes more work than its size allows, and the place
 * where every refusal of bytes is made.
 */
import { TensorDecodeError } from "../schema/KpuError.ts"

/** Counters of work done on an input. */
export interface Work {
  /** Pickle opcodes executed. */
  opcodes: number
  /** ZIP directory entries and local headers looked at. */
  records: number
  /** Bytes read, compared or copied. */
  bytes: number
  /** Bytes allocated for elements. */
  allocated: number
}

export const makeWork = (): Work => ({ opcodes: 0, records: 0, bytes: 0, allocated: 0 })

/** Refuses the input. */
export const refuse = (where: string, problem: string): never => {
  throw new TensorDecodeError({ where, problem })
}

/** Text of a peer for a message: printable, short, quoted. */
export const quote = (text: string): string => {
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text
  return JSON.stringify(short).replace(/[\u007f-\uffff]/g, (c) =>
    c === "…" ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
}
