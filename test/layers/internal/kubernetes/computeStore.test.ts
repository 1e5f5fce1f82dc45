import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { ComputeStore, isOlder, makeObserver } from "../../../../src/layers/internal/kubernetes/computeStore.ts"
import type { ComputeResource } from "../../../../src/schema/ComputeResource.ts"
import type { WatchEvent } from "../../../../src/services/ComputeApi.ts"
import type { Observation } from "../../../../src/services/ComputeWatch.ts"
import { compute } from "../../../kit/computes.ts"

const added = (resource: ComputeResource): WatchEvent => ({ _tag: "Added", resource })
const modified = (resource: ComputeResource): WatchEvent => ({ _tag: "Modified", resource })
const deleted = (resource: ComputeResource): WatchEvent => ({ _tag: "Deleted", resource })
const bookmark = (version: number): WatchEvent => ({
  _tag: "Bookmark",
  resourceVersion: String(version),
  initialEventsEnd: false
})

const list = (store: ComputeStore, version: number, ...items: ReadonlyArray<ComputeResource>) => {
  const number = store.beginList()
  store.replace({ resourceVersion: String(version), items }, number)
}

/** An observer, and what it was shown: `7` for a state, `-7` for an absence after it, `-` for one after nothing. */
const observe = (store: ComputeStore, name: string, since?: number) => {
  const shown: Array<string> = []
  const observer = makeObserver(name, since === undefined ? undefined : String(since), (observation) => {
    shown.push(
      observation._tag === "Present"
        ? observation.resource.metadata.resourceVersion
        : `-${observation.last?.metadata.resourceVersion ?? ""}`
    )
  })
  store.add(observer)
  return { observer, shown }
}

describe("what observers of a namespace are shown", () => {
  it("nothing before the first list, and then the state or its absence", () => {
    const store = new ComputeStore()
    const a = observe(store, "a")
    const b = observe(store, "b")
    assert.deepStrictEqual(a.shown, [])
    list(store, 5, compute("a", 3))
    assert.deepStrictEqual(a.shown, ["3"])
    assert.deepStrictEqual(b.shown, ["-"])
  })

  it("each change of their own name, and the deletion with the last state", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3))
    const { shown } = observe(store, "a")
    store.apply(modified(compute("a", 6)))
    store.apply(modified(compute("b", 7)))
    store.apply(deleted(compute("a", 8)))
    assert.deepStrictEqual(shown, ["3", "6", "-8"])
  })

  it("no state twice, when a list repeats what the watch has brought", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3))
    const { shown } = observe(store, "a")
    store.apply(modified(compute("a", 6)))
    list(store, 9, compute("a", 6))
    assert.deepStrictEqual(shown, ["3", "6"])
  })

  it("a deletion that only a list reveals", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3))
    const { shown } = observe(store, "a")
    list(store, 9)
    assert.deepStrictEqual(shown, ["3", "-3"])
  })

  it("the absence between two Computes of one name, also when only a list reveals them", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3, { uid: "first" }))
    const { shown } = observe(store, "a")
    list(store, 9, compute("a", 8, { uid: "second" }))
    assert.deepStrictEqual(shown, ["3", "-3", "8"])
  })

  it("not the absence that was before their apply", () => {
    const store = new ComputeStore()
    list(store, 5)
    const { shown } = observe(store, "a", 7)
    store.apply(modified(compute("b", 6)))
    assert.deepStrictEqual(shown, [])
    store.apply(added(compute("a", 7)))
    assert.deepStrictEqual(shown, ["7"])
  })

  it("not the state that their apply has overtaken", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3))
    const { shown } = observe(store, "a", 7)
    store.apply(modified(compute("a", 6)))
    assert.deepStrictEqual(shown, [])
    store.apply(modified(compute("a", 7)))
    assert.deepStrictEqual(shown, ["7"])
  })

  it("not the deletion of the Compute before their apply", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3, { uid: "first" }))
    const { shown } = observe(store, "a", 7)
    store.apply(deleted(compute("a", 6, { uid: "first" })))
    store.apply(added(compute("a", 7, { uid: "second" })))
    assert.deepStrictEqual(shown, ["7"])
  })

  it("the state of an apply that changed nothing, at once", () => {
    const store = new ComputeStore()
    list(store, 5, compute("a", 3))
    assert.deepStrictEqual(observe(store, "a", 3).shown, ["3"])
  })

  it("an absence at or after their version, known from a bookmark or from the event of another", () => {
    for (const event of [bookmark(8), modified(compute("b", 8))]) {
      const store = new ComputeStore()
      list(store, 5)
      const { shown } = observe(store, "a", 7)
      store.apply(event)
      assert.deepStrictEqual(shown, ["-"])
    }
  })

  it("nothing from a list that was asked for before they came and is older than their version", () => {
    const store = new ComputeStore()
    const number = store.beginList()
    const { shown } = observe(store, "a", 7)
    store.replace({ resourceVersion: "5", items: [] }, number)
    assert.deepStrictEqual(shown, [])
  })

  it("what a list says that was asked for after they came, whatever its version: the server has lost its data", () => {
    const store = new ComputeStore()
    list(store, 5000)
    const { shown } = observe(store, "a", 7000)
    list(store, 3)
    assert.deepStrictEqual(shown, ["-"])
  })

  it("nothing any more once they have gone", () => {
    const store = new ComputeStore()
    list(store, 5)
    const { observer, shown } = observe(store, "a")
    store.remove(observer)
    store.apply(added(compute("a", 7)))
    assert.deepStrictEqual(shown, ["-"])
  })

  it("versions that are no numbers are never older", () => {
    assert.isTrue(isOlder("9", "10"))
    assert.isTrue(isOlder("99999999999999999998", "99999999999999999999"))
    assert.isFalse(isOlder("10", "9"))
    assert.isFalse(isOlder("abc", "9"))
  })

  it.prop("versions compare as numbers of any size", [Schema.BigInt, Schema.BigInt], ([x, y]) => {
    const [a, b] = [1n + x * x * x * x, 1n + y * y * y * y]
    assert.strictEqual(isOlder(String(a), String(b)), a < b)
  })
})

/** A server with one Compute's history, and a watch that lags behind it. */
const action = Schema.Literals(["apply", "apply", "delete", "other", "deliver", "deliver", "list", "observe"])

describe("for every history and every lag of the watch", () => {
  it.prop(
    "states are real, rise, begin at the version asked for, are parted by an absence where the uid changes, and end at the truth",
    [Schema.Array(action)],
    ([actions]) => {
      const store = new ComputeStore()
      const history: Array<WatchEvent> = []
      const real = new Set<string>()
      let delivered = 0
      let version = 1
      let uid = 0
      let current: ComputeResource | undefined
      let listed = false
      let relisted = false
      let shown: Array<Observation> | undefined
      let since: string | undefined
      let expected: Array<string> = []

      const listNow = () => {
        const number = store.beginList()
        store.replace({ resourceVersion: String(version), items: current === undefined ? [] : [current] }, number)
        delivered = history.length
        listed = true
      }
      const happen = (event: WatchEvent) => {
        history.push(event)
        if (event._tag !== "Bookmark" && event.resource.metadata.name === "a") {
          real.add(event.resource.metadata.resourceVersion)
          expected.push(`${event._tag === "Deleted" ? "-" : ""}${event.resource.metadata.resourceVersion}`)
        }
      }
      const act = (what: typeof action.Type) => {
        switch (what) {
          case "apply": {
            version += 1
            const isNew = current === undefined
            if (isNew) uid += 1
            current = compute("a", version, { uid: `uid-${uid}` })
            happen(isNew ? added(current) : modified(current))
            return
          }
          case "delete":
            if (current === undefined) return
            version += 1
            happen(deleted(compute("a", version, { uid: current.metadata.uid })))
            current = undefined
            return
          case "other":
            version += 1
            happen(modified(compute("b", version)))
            return
          case "deliver":
            if (listed && delivered < history.length) store.apply(history[delivered++]!)
            return
          case "list":
            if (shown !== undefined && listed) relisted = true
            listNow()
            return
          case "observe": {
            // as one does who has just applied
            if (shown !== undefined || current === undefined) return
            since = current.metadata.resourceVersion
            const seen: Array<Observation> = []
            shown = seen
            expected = [since]
            store.add(makeObserver("a", since, (observation) => seen.push(observation)))
          }
        }
      }

      for (const what of actions) act(what)
      if (!listed) listNow()
      while (delivered < history.length) act("deliver")
      if (shown === undefined) return

      const first = shown[0]
      assert.isTrue(first !== undefined)
      let last: ComputeResource | undefined
      let absent = false
      for (const observation of shown) {
        if (observation._tag === "Absent") {
          assert.isFalse(absent, "two absences in a row")
          absent = true
          continue
        }
        const { metadata } = observation.resource
        assert.isTrue(real.has(metadata.resourceVersion), "a state that never was")
        assert.isFalse(isOlder(metadata.resourceVersion, since!), "older than what was asked for")
        if (last !== undefined) {
          assert.isTrue(isOlder(last.metadata.resourceVersion, metadata.resourceVersion), "versions do not rise")
          if (last.metadata.uid !== metadata.uid) assert.isTrue(absent, "no absence between two Computes")
        }
        last = observation.resource
        absent = false
      }
      const end = shown.at(-1)
      assert.strictEqual(
        end?._tag === "Present" ? end.resource.metadata.resourceVersion : undefined,
        current?.metadata.resourceVersion
      )
      if (!relisted && actions.indexOf("list") !== -1 && actions.indexOf("list") < actions.indexOf("observe")) {
        // with the watch unbroken since the observer came, nothing is lost
        const tags = shown.map((observation) =>
          observation._tag === "Present"
            ? observation.resource.metadata.resourceVersion
            : `-${observation.last?.metadata.resourceVersion ?? ""}`
        )
        assert.deepStrictEqual(tags, expected)
      }
    },
    { arbitrary: { runs: 2000 } }
  )
})
