/**
 * The ratios that decide, each with the bar that it must reach, and goals beyond. A ratio is of medians; its spread is
 * half the distance between the quartiles of the rounds' own ratios. A bar is missed for certain when the ratio lies
 * beyond it by more than that.
 */

import type { ClientId } from "./clients.ts"
import { ours } from "./clients.ts"
import type { Measurement } from "./harness.ts"
import { costs, throughputs } from "./harness.ts"
import { quantile, ratioOf, type Summary } from "./stats.ts"

export interface Bar {
  readonly title: string
  readonly value: Summary
  readonly bar: number
  /** The ratio may be so much at most; otherwise it must be so much at least. */
  readonly atMost: boolean
  /** A goal is reported and fails nothing. */
  readonly goal: boolean
  readonly unit: string
}

export type Verdict = "reached" | "within the spread" | "missed"

export const verdict = ({ atMost, bar, value }: Bar): Verdict => {
  const short = atMost ? value.median - bar : bar - value.median
  if (short <= 0) return "reached"
  return short <= (value.high - value.low) / 2 ? "within the spread" : "missed"
}

/** Looks measurements up. */
export type Find = (name: string, client: ClientId) => Measurement | undefined

export const finder = (measurements: ReadonlyArray<Measurement>): Find => {
  const all = new Map(measurements.map((each) => [`${each.case} ${each.client}`, each]))
  return (name, client) => all.get(`${name} ${client}`)
}

const perSecond = ({ rounds }: Measurement): ReadonlyArray<number> => rounds.map(({ seconds }) => 1 / seconds)

/** Microseconds of a call: the median of each round. */
export const callMicros = ({ rounds }: Measurement): ReadonlyArray<number> =>
  rounds.map(({ samples }) => quantile(samples!, 0.5))

/** The bars that these measurements allow to be judged, for the transport that `client` names. */
export const barsOf = (find: Find, client: ClientId = ours): ReadonlyArray<Bar> => {
  const bars: Array<Bar> = []
  const add = (
    title: string,
    of: (measurement: Measurement) => ReadonlyArray<number>,
    name: string,
    against: ClientId,
    bar: number,
    kind: { readonly atMost?: boolean; readonly goal?: boolean; readonly mine?: ClientId } = {}
  ) => {
    const these = find(name, kind.mine ?? client)
    const those = find(name, against)
    if (these === undefined || those === undefined) return
    const value = ratioOf(of(these), of(those))
    bars.push({ title, value, bar, atMost: kind.atMost === true, goal: kind.goal === true, unit: "×" })
  }
  const send = "64 MiB send"
  const receive = "64 MiB receive"
  const both = "64 MiB bidirectional"
  add("send: grpc-js as documented", throughputs, send, "grpc-js", 1.9)
  add("send: Python", throughputs, send, "python", 3.5)
  add("send: Go", throughputs, send, "go", 1, { goal: true })
  add("receive: bare node:http2, fresh memory", throughputs, receive, "http2-fresh", 0.9)
  const again: { readonly mine: ClientId } = { mine: "ours-http2-reused" }
  add("receive, memory used again: bare node:http2, the same", throughputs, receive, "http2-reused", 0.9, again)
  add("receive: grpc-js as documented", throughputs, receive, "grpc-js", 2.5)
  add("receive: nice-grpc as documented", throughputs, receive, "nice-grpc", 2.5)
  add("receive: connect-node as documented", throughputs, receive, "connect-node", 2.5)
  add("receive: grpc-js tuned by hand", throughputs, receive, "grpc-js-tuned", 1.3)
  add("receive: Python", throughputs, receive, "python", 2)
  add("receive, memory used again: Go", throughputs, receive, "go", 0.8, { ...again, goal: true })
  add("bidirectional: Go", throughputs, both, "go", 0.5)
  add("bidirectional: grpc-js tuned by hand", throughputs, both, "grpc-js-tuned", 1.3)
  add("bidirectional: Python", throughputs, both, "python", 2.5)
  add("bidirectional: Go, goal", throughputs, both, "go", 0.8, { goal: true })
  add("bidirectional, memory used again: Go", throughputs, both, "go", 0.8, { ...again, goal: true })
  add("CPU of send: bare node:http2", costs, send, "http2-fresh", 1.2, { atMost: true })
  add("CPU of receive: bare node:http2", costs, receive, "http2-fresh", 1.2, { atMost: true })
  add("CPU of receive, memory used again: bare node:http2, the same", costs, receive, "http2-reused", 1.2, {
    ...again,
    atMost: true
  })
  add("CPU of bidirectional: bare node:http2", costs, both, "http2-fresh", 1.2, { atMost: true })
  add("CPU of send: bare node:http2 with CRC-32", costs, send, "http2-crc", 1.2, { atMost: true, goal: true })
  add("CPU of bidirectional: bare node:http2 with CRC-32", costs, both, "http2-crc", 1.2, { atMost: true, goal: true })
  add("10×10 round trip: grpc-js, same bytes", callMicros, "10×10 round trip", "grpc-js", 1.3, { atMost: true })
  for (const direction of ["send", "receive", "bidirectional"]) {
    const rate = find(`10×10 ${direction}`, client)
    if (rate === undefined) continue
    const tensors = rate.rounds[0]!.bytes / 400
    const values = perSecond(rate).map((each) => each * tensors)
    const value = { median: quantile(values, 0.5), low: quantile(values, 0.25), high: quantile(values, 0.75) }
    bars.push({
      title: `10×10 ${direction}: tensors a second`,
      value,
      bar: 5000,
      atMost: false,
      goal: false,
      unit: "/s"
    })
  }
  const far = find("far away receive", client)
  if (far !== undefined) {
    add("receive, 10 ms away: grpc-js as documented", throughputs, "far away receive", "grpc-js", 20)
    add("send, 10 ms away: Go (same server window)", throughputs, "far away send", "go", 0.8)
  }
  return bars
}
