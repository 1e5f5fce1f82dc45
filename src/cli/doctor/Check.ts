/** One thing that `kpu doctor` looks at, and what it found. */
import type { KpuError } from "../../schema/KpuError.ts"
import type { CheckStatus } from "../output/json.ts"

export type Status = typeof CheckStatus.Type

export interface Finding {
  readonly status: Status
  /** What was found, one sentence. */
  readonly found: string
  /** What to do about it. */
  readonly advice?: string | undefined
}

export interface Checked extends Finding {
  readonly id: string
  readonly title: string
}

export const ok = (found: string): Finding => ({ status: "ok", found })
export const warning = (found: string, advice?: string): Finding => ({ status: "warning", found, advice })
export const failed = (found: string, advice?: string): Finding => ({ status: "failed", found, advice })
export const skipped = (found: string, advice?: string): Finding => ({ status: "skipped", found, advice })

/** What an error says, without the request that it names: the check is its place. */
export const wordsOf = (error: KpuError): string =>
  error._tag === "KubernetesError" ? error.reason.message : error.message
