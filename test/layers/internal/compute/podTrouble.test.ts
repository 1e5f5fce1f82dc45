import { assert, describe, it } from "@effect/vitest"
import {
  describePod,
  type Event,
  isBetweenCrashes,
  type Pod,
  troubleOf
} from "../../../../src/layers/internal/compute/podTrouble.ts"

const now = Date.parse("2026-01-01T12:00:00Z")

type Status = NonNullable<Pod["status"]>
type Container = NonNullable<Status["containerStatuses"]>[number]

const pod = (status: Status): Pod => ({ metadata: { name: "c-0", uid: "pod-uid" }, status })

const container = (state: Container["state"], more: Partial<Container> = {}): Pod =>
  pod({ phase: "Pending", containerStatuses: [{ name: "server", ready: false, restartCount: 0, state, ...more }] })

const waiting = (reason: string, message = "words") => container({ waiting: { reason, message } })

const event = (reason: string, object: Event["involvedObject"], secondsAgo = 0): Event => ({
  involvedObject: object,
  reason,
  message: `${reason} in words`,
  lastTimestamp: new Date(now - secondsAgo * 1000).toISOString(),
  metadata: {}
})
const onPod = { kind: "Pod", name: "c-0", uid: "pod-uid" }
const onSet = { kind: "StatefulSet", name: "c", uid: "set-uid" }

const trouble = (pod: Pod | undefined, ...events: ReadonlyArray<Event>) => troubleOf("c", pod, events, now - 60_000)

describe("what keeps a Pod from starting", () => {
  it.each(["InvalidImageName", "ErrImageNeverPull"])("%s is terminal", (reason) => {
    const found = trouble(waiting(reason))
    assert.deepStrictEqual([found?.reason, found?.isTerminal], [reason, true])
    assert.strictEqual(found?.message, "container server: words")
    assert.strictEqual(found?.pod, "Pod c-0")
  })

  it.each(["ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError"])(
    "%s can heal",
    (reason) => {
      const found = trouble(waiting(reason))
      assert.deepStrictEqual([found?.reason, found?.isTerminal], [reason, false])
    }
  )

  it("a failed pull and the back-off from it are one trouble", () => {
    assert.strictEqual(trouble(waiting("ErrImagePull"))?.kind, trouble(waiting("ImagePullBackOff"))?.kind)
  })

  it("an init container counts as well", () => {
    const init = pod({
      phase: "Pending",
      initContainerStatuses: [{ name: "init", state: { waiting: { reason: "ImagePullBackOff", message: "words" } } }],
      containerStatuses: [{ name: "server", state: { waiting: { reason: "PodInitializing" } } }]
    })
    assert.strictEqual(trouble(init)?.message, "container init: words")
  })

  it("a crash loop says how the container last ended", () => {
    const crashed = container(
      { waiting: { reason: "CrashLoopBackOff", message: "back-off 10s" } },
      { restartCount: 3, lastState: { terminated: { exitCode: 137, reason: "OOMKilled", message: "too much\n" } } }
    )
    assert.include(trouble(crashed)?.message, "back-off 10s; it last ended with exit code 137 (OOMKilled): too much")
  })

  it("between two crashes there is no trouble to see, and no peace either", () => {
    const running = container({ running: { startedAt: "now" } }, { restartCount: 3 })
    assert.isUndefined(trouble(running))
    assert.isTrue(isBetweenCrashes(running))
    assert.isFalse(isBetweenCrashes(container({ running: { startedAt: "now" } }, { restartCount: 3, ready: true })))
    assert.isFalse(isBetweenCrashes(container({ running: { startedAt: "now" } })))
    assert.isFalse(isBetweenCrashes(undefined))
  })

  it("a failed Pod is terminal, with its own reason or its container's end", () => {
    const evicted = trouble(pod({ phase: "Failed", reason: "Evicted", message: "low on memory" }))
    assert.deepStrictEqual([evicted?.reason, evicted?.message, evicted?.isTerminal], ["Evicted", "low on memory", true])
    const ended = trouble(
      pod({
        phase: "Failed",
        containerStatuses: [{ name: "server", state: { terminated: { exitCode: 2, reason: "Error" } } }]
      })
    )
    assert.deepStrictEqual([ended?.reason, ended?.message], ["Error", "the Pod failed with exit code 2"])
  })

  it("a Pod that no node takes is unschedulable, with the scheduler's words", () => {
    const found = trouble(
      pod({
        phase: "Pending",
        conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes" }]
      })
    )
    assert.deepStrictEqual([found?.reason, found?.message, found?.isTerminal], ["Unschedulable", "0/3 nodes", false])
  })

  it("a mount fails only for the Pod that the event is about, and only until its container runs", () => {
    const creating = waiting("ContainerCreating")
    assert.strictEqual(trouble(creating, event("FailedMount", onPod))?.reason, "FailedMount")
    assert.isUndefined(trouble(creating, event("FailedMount", { ...onPod, uid: "of an earlier Pod" })))
    assert.isUndefined(trouble(container({ running: {} }), event("FailedMount", onPod)))
  })

  it("a quota shows in the StatefulSet's events, while there is no Pod, and not from before the Compute", () => {
    const found = trouble(
      undefined,
      event("FailedCreate", onSet, 30),
      event("FailedCreate", { ...onSet, name: "other" })
    )
    assert.deepStrictEqual([found?.pod, found?.reason, found?.isTerminal], ["StatefulSet c", "FailedCreate", false])
    assert.isUndefined(trouble(undefined, event("FailedCreate", onSet, 90)))
    assert.isUndefined(trouble(waiting("ContainerCreating"), event("FailedCreate", onSet)))
  })

  it("nothing keeps a Pod that is on its way", () => {
    assert.isUndefined(trouble(undefined))
    assert.isUndefined(trouble(pod({ phase: "Pending" })))
    assert.isUndefined(trouble(waiting("ContainerCreating")))
    assert.isUndefined(trouble(waiting("PodInitializing")))
  })

  it("a Pod in a sentence", () => {
    assert.strictEqual(describePod("c", undefined, undefined), "there is no Pod c-0")
    assert.strictEqual(
      describePod("c", waiting("ContainerCreating"), undefined),
      "Pod c-0 is Pending, container server waits (ContainerCreating)"
    )
    assert.strictEqual(
      describePod("c", container({ running: {} }), undefined),
      "Pod c-0 is Pending, container server runs and is not ready"
    )
    const failed = waiting("ImagePullBackOff")
    assert.strictEqual(describePod("c", failed, trouble(failed)), "Pod c-0: ImagePullBackOff: container server: words")
  })
})
