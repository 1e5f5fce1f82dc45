import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import {
  believedRefusals,
  firstBackoff,
  initial,
  maxBackoff,
  quietMillis,
  step,
  versionOf,
  type WatchInput,
  type WatchState
} from "../../../../src/layers/internal/kubernetes/watchMachine.ts"
import { KubeConfigError } from "../../../../src/schema/KpuError.ts"
import {
  Forbidden,
  KubernetesError,
  type KubernetesErrorReason,
  Rejected,
  Throttled,
  Transport,
  Unauthorized,
  Unavailable
} from "../../../../src/schema/KubernetesError.ts"
import { compute } from "../../../kit/computes.ts"

const failure = (reason: KubernetesErrorReason): WatchInput => ({
  _tag: "Failure",
  error: new KubernetesError({ verb: "watch", resource: { kind: "Compute" }, reason })
})

const reset = failure(new Transport({ message: "reset", code: "ECONNRESET", isRetryable: true }))
const refused = failure(new Transport({ message: "refused", code: "ECONNREFUSED", isRetryable: true }))
const gone = failure(new Rejected({ message: "too old", status: 410, statusReason: "Expired" }))
const tooLarge = failure(
  new Unavailable({
    message: "504 Timeout: Too large resource version: 9, current: 3",
    status: 504,
    retryAfterSeconds: 1
  })
)
const throttled = (seconds: number) => failure(new Throttled({ message: "later", retryAfterSeconds: seconds }))
const forbidden = failure(new Forbidden({ message: "no" }))
const unauthorized = failure(new Unauthorized({ message: "no" }))
const noConfig: WatchInput = { _tag: "Failure", error: new KubeConfigError({ problem: "no", tried: [] }) }
const listed = (version: number): WatchInput => ({
  _tag: "Listed",
  list: { resourceVersion: String(version), items: [] }
})
const event = (version: number): WatchInput => ({
  _tag: "Event",
  event: { _tag: "Modified", resource: compute("a", version) }
})
const bookmark = (version: number): WatchInput => ({
  _tag: "Event",
  event: { _tag: "Bookmark", resourceVersion: String(version), initialEventsEnd: false }
})
const ended = (millis: number): WatchInput => ({ _tag: "Ended", millis })
const waited: WatchInput = { _tag: "Waited" }

const run = (...inputs: ReadonlyArray<WatchInput>): WatchState => inputs.reduce(step, initial)

const watching = (state: WatchState): string => {
  assert.strictEqual(state._tag, "Watching")
  return (state as Extract<WatchState, { readonly _tag: "Watching" }>).resourceVersion
}
const waiting = (state: WatchState) => {
  assert.strictEqual(state._tag, "Waiting")
  return state as Extract<WatchState, { readonly _tag: "Waiting" }>
}

describe("the watch's state machine", () => {
  it("lists first, and watches on from the list's version", () => {
    assert.strictEqual(initial._tag, "Listing")
    assert.strictEqual(watching(run(listed(7))), "7")
  })

  it("goes on from the version of each event and of each bookmark", () => {
    assert.strictEqual(watching(run(listed(7), event(8))), "8")
    assert.strictEqual(watching(run(listed(7), event(8), bookmark(12))), "12")
  })

  it("watches on at once after a watch that brought something", () => {
    assert.strictEqual(watching(run(listed(7), event(8), ended(3))), "8")
  })

  it("backs off from a server that ends every watch at once, and keeps the version", () => {
    const first = waiting(run(listed(7), ended(2)))
    assert.deepStrictEqual([first.millis, first.resourceVersion], [firstBackoff, "7"])
    const second = waiting(run(listed(7), ended(2), waited, ended(2)))
    assert.deepStrictEqual([second.millis, second.resourceVersion], [2 * firstBackoff, "7"])
  })

  it("counts an event only for the connection that brought it", () => {
    waiting(run(listed(7), event(8), ended(2), ended(2)))
  })

  it("lists after a watch that lasted and brought nothing: the server may not know the version", () => {
    assert.strictEqual(run(listed(7), ended(quietMillis))._tag, "Listing")
  })

  it("lists at once when the version is too old, and after a backoff when that does not help", () => {
    assert.strictEqual(run(listed(7), gone)._tag, "Listing")
    const again = waiting(run(listed(7), gone, listed(9), gone))
    assert.strictEqual(again.resourceVersion, undefined)
    assert.strictEqual(run(listed(7), gone, listed(9), gone, waited)._tag, "Listing")
  })

  it("lists after a wait when the version is ahead of the server", () => {
    const state = waiting(run(listed(7), tooLarge))
    assert.strictEqual(state.resourceVersion, undefined)
    assert.strictEqual(state.millis, 1000)
  })

  it("keeps the version over one reset, and lists when the next connection breaks as well", () => {
    assert.strictEqual(waiting(run(listed(7), reset)).resourceVersion, "7")
    assert.strictEqual(waiting(run(listed(7), reset, waited, reset)).resourceVersion, undefined)
    assert.strictEqual(waiting(run(listed(7), reset, waited, event(8), reset)).resourceVersion, "8")
  })

  it("keeps the version however often the server answers 500, and doubles the wait up to its limit", () => {
    const failing = failure(new Unavailable({ message: "etcdserver: leader changed", status: 500 }))
    const waits: Array<number> = []
    let state = run(listed(7))
    for (let i = 0; i < 8; i++) {
      state = step(state, failing)
      const { millis, resourceVersion } = waiting(state)
      assert.strictEqual(resourceVersion, "7")
      waits.push(millis)
      state = step(state, waited)
    }
    assert.deepStrictEqual(waits, [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000])
  })

  it("starts over with the backoff after an event", () => {
    assert.strictEqual(
      waiting(run(listed(7), throttled(0), waited, throttled(0), waited, event(8), reset)).millis,
      firstBackoff
    )
  })

  it("does not start over with the backoff after a list alone", () => {
    assert.isAbove(waiting(run(listed(7), tooLarge, waited, listed(8), tooLarge)).millis, 1000)
  })

  it("lists when nobody listened: what comes back may have lost its data", () => {
    assert.strictEqual(waiting(run(listed(7), refused)).resourceVersion, undefined)
  })

  it("waits as long as the server asks for", () => {
    assert.strictEqual(waiting(run(listed(7), throttled(20))).millis, 20_000)
    assert.strictEqual(waiting(run(listed(7), throttled(0))).millis, firstBackoff)
  })

  it("fails with a refusal before anything has worked", () => {
    for (const input of [forbidden, unauthorized, noConfig]) assert.strictEqual(run(input)._tag, "Failed")
  })

  it("believes a refusal only when it is repeated, once things have worked", () => {
    let state = run(listed(7), event(8))
    for (let i = 1; i < believedRefusals; i++) {
      state = step(state, forbidden)
      assert.strictEqual(waiting(state).resourceVersion, "8")
      state = step(state, waited)
    }
    assert.strictEqual(step(state, forbidden)._tag, "Failed")
    assert.strictEqual(step(step(step(state, event(9)), forbidden), waited)._tag, "Watching")
  })

  const weather = Schema.Struct({
    what: Schema.Literals([
      "listed",
      "event",
      "bookmark",
      "ended",
      "reset",
      "refused",
      "gone",
      "ahead",
      "throttled",
      "waited"
    ]),
    n: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 }))
  })

  const inputOf = ({ n, what }: typeof weather.Type): WatchInput => {
    switch (what) {
      case "listed":
        return listed(n)
      case "event":
        return event(n)
      case "bookmark":
        return bookmark(n)
      case "ended":
        return ended(n)
      case "reset":
        return reset
      case "refused":
        return refused
      case "gone":
        return gone
      case "ahead":
        return tooLarge
      case "throttled":
        return throttled(n % 30)
      case "waited":
        return waited
    }
  }

  it.prop(
    "rides out any weather: it never fails, never waits longer than 30 s, and never makes up a version",
    [Schema.Array(weather)],
    ([inputs]) => {
      const told = new Set<string>()
      let state = initial
      for (const input of inputs.map(inputOf)) {
        if (input._tag === "Listed") told.add(input.list.resourceVersion)
        if (input._tag === "Event") told.add(versionOf(input.event))
        state = step(state, input)
        assert.notStrictEqual(state._tag, "Failed")
        if (state._tag === "Waiting") assert.isAtMost(state.millis, maxBackoff)
        if (state._tag === "Watching") assert.isTrue(told.has(state.resourceVersion))
      }
    },
    { arbitrary: { runs: 500 } }
  )
})
