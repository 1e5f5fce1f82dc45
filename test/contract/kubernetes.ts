/**
 * What a Kubernetes API does with Computes, as this client relies on it. One suite for every world: where two worlds
 * differ, the real API is right.
 */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { type ComputeResource, findCondition } from "../../src/schema/ComputeResource.ts"
import type { KubernetesError } from "../../src/schema/KubernetesError.ts"
import { type ApiError, ComputeApi, type ComputeRef } from "../../src/services/ComputeApi.ts"
import { ComputeWatch, type Observation } from "../../src/services/ComputeWatch.ts"
import { kubernetes } from "../kit/kubernetesClient.ts"
import { World } from "./World.ts"

const path = (namespace: string) => `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes`

/** An apply by another manager, as the reference client and kubectl make it. */
const applyAs = Effect.fnUntraced(function* (manager: string, ref: ComputeRef, spec: object, force = true) {
  const { client } = yield* World
  const { body, status } = yield* client.request(
    "PATCH",
    `${path(ref.namespace)}/${ref.name}?fieldManager=${manager}&force=${force}`,
    {
      contentType: "application/apply-patch+yaml",
      body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name: ref.name }, spec }
    }
  )
  assert.oneOf(status, [200, 201], JSON.stringify(body))
  return body as ComputeResource
})

const reasonOf = <A, R>(effect: Effect.Effect<A, ApiError, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual(error._tag, "KubernetesError")
    return (error as KubernetesError).reason
  })

const isReady = (resource: ComputeResource) => findCondition(resource, "Ready")?.status === "True"
const isSuspended = (resource: ComputeResource) => findCondition(resource, "Suspended")?.status === "True"

/** The first state in which the operator has done what `holds` says. */
const until = (ref: ComputeRef, since: string, holds: (resource: ComputeResource) => boolean) =>
  Effect.gen(function* () {
    const watch = yield* ComputeWatch
    const states = yield* watch.observe(ref, { since }).pipe(
      Stream.filter((observation) => observation._tag === "Present" && holds(observation.resource)),
      Stream.take(1),
      Stream.runCollect
    )
    return (states[0] as Extract<Observation, { readonly _tag: "Present" }>).resource
  })

/** A Compute that the operator has finished with: nobody changes it any more. */
const settled = Effect.fnUntraced(function* (ref: ComputeRef, spec: ComputeResource["spec"]) {
  const api = yield* ComputeApi
  const applied = yield* api.apply({ ...ref, spec: spec ?? {} })
  return yield* until(ref, applied.metadata.resourceVersion, isReady)
})

const version = ({ metadata }: ComputeResource) => BigInt(metadata.resourceVersion)

const manager = (resource: ComputeResource, name: string) =>
  resource.metadata.managedFields?.find((entry) => entry.manager === name && entry.operation === "Apply")

/** Runs with the client under test in this world. */
const withClient = <A, E, R>(effect: Effect.Effect<A, E, R>, fieldManager?: string) =>
  Effect.gen(function* () {
    const { config } = yield* World
    return yield* Effect.provide(effect, kubernetes(config, { fieldManager }))
  })

export const kubernetesContract = (world: Layer.Layer<World>): void => {
  layer(world, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    const test = <E>(
      title: string,
      body: (namespace: string) => Effect.Effect<void, E, World | ComputeApi | ComputeWatch>
    ) =>
      it.effect(title, () =>
        Effect.gen(function* () {
          const { namespace } = yield* World
          yield* withClient(body(yield* namespace))
        })
      )

    test("an apply creates: uid, generation 1, the CRD's defaults, and the field manager on record", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const made = yield* api.apply({ namespace, name: "made", spec: { image: "example/a" } })
        assert.match(made.metadata.uid, /^[0-9a-f-]{36}$/)
        assert.strictEqual(made.metadata.generation, 1)
        assert.deepStrictEqual(made.spec, { image: "example/a", suspend: false })
        assert.isDefined(manager(made, "kpu-typescript-client"))
        assert.strictEqual((yield* api.get({ namespace, name: "made" })).metadata.uid, made.metadata.uid)
      }))

    test("an apply of another spec updates the same Compute and raises its generation", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "updated" }
        const first = yield* settled(ref, { image: "example/a" })
        const second = yield* api.apply({ ...ref, spec: { image: "example/b" } })
        assert.strictEqual(second.metadata.uid, first.metadata.uid)
        assert.strictEqual(second.metadata.generation, 2)
        assert.strictEqual(second.spec?.image, "example/b")
        assert.isTrue(version(second) > version(first))
      }))

    test("an identical apply changes neither generation nor resource version", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "same" }
        const spec = { image: "example/a", env: [{ name: "A", value: "1" }], labels: { team: "ml" } }
        const first = yield* settled(ref, spec)
        const second = yield* api.apply({ ...ref, spec })
        assert.strictEqual(second.metadata.resourceVersion, first.metadata.resourceVersion)
        assert.strictEqual(second.metadata.generation, first.metadata.generation)
      }))

    test("what an apply no longer sends is removed", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "less" }
        yield* api.apply({
          ...ref,
          spec: {
            image: "example/a",
            args: ["--verbose"],
            env: [
              { name: "A", value: "1" },
              { name: "B", value: "2" }
            ],
            labels: { a: "1", b: "2" }
          }
        })
        const less = yield* api.apply({
          ...ref,
          spec: { image: "example/a", env: [{ name: "B", value: "2" }], labels: { a: "1" } }
        })
        assert.deepStrictEqual(less.spec, {
          image: "example/a",
          env: [{ name: "B", value: "2" }],
          labels: { a: "1" },
          suspend: false
        })
      }))

    test("command and args are replaced whole, environment variables one by one", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "lists" }
        yield* applyAs("someone", ref, { env: [{ name: "THEIRS", value: "1" }] })
        yield* api.apply({ ...ref, spec: { args: ["a", "b"], env: [{ name: "OURS", value: "1" }] } })
        const now = yield* api.apply({ ...ref, spec: { args: ["c"], env: [{ name: "OURS", value: "2" }] } })
        assert.deepStrictEqual(now.spec?.args, ["c"])
        assert.sameDeepMembers(
          [...(now.spec?.env ?? [])],
          [
            { name: "THEIRS", value: "1" },
            { name: "OURS", value: "2" }
          ]
        )
      }))

    test("fields of other managers stay, also when an apply does not mention them", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "shared" }
        yield* applyAs("someone", ref, { labels: { theirs: "1" }, annotations: { note: "theirs" } })
        yield* api.apply({ ...ref, spec: { image: "example/a", labels: { ours: "1" } } })
        const now = yield* api.apply({ ...ref, spec: { image: "example/a" } })
        assert.deepStrictEqual(now.spec?.labels, { theirs: "1" })
        assert.deepStrictEqual(now.spec?.annotations, { note: "theirs" })
      }))

    test("without force, another manager's field is a conflict that names manager and field", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "contested" }
        yield* applyAs("someone", ref, { image: "example/theirs" })
        const reason = yield* reasonOf(api.apply({ ...ref, spec: { image: "example/ours" }, force: false }))
        assert.strictEqual(reason._tag, "Conflict")
        if (reason._tag !== "Conflict") return
        assert.deepStrictEqual(
          reason.causes.map(({ field, reason }) => ({ field, reason })),
          [{ field: ".spec.image", reason: "FieldManagerConflict" }]
        )
        assert.include(reason.causes[0]?.message, `"someone"`)
        assert.include(reason.message, "someone")
        assert.include(reason.message, ".spec.image")
        assert.strictEqual((yield* api.get(ref)).spec?.image, "example/theirs")
      }))

    test("with force the field is taken over, and the other manager no longer owns it", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "taken" }
        yield* applyAs("someone", ref, { image: "example/theirs" })
        const now = yield* api.apply({ ...ref, spec: { image: "example/ours" } })
        assert.strictEqual(now.spec?.image, "example/ours")
        assert.notInclude(JSON.stringify(manager(now, "someone")?.fieldsV1 ?? {}), "f:image")
        assert.include(JSON.stringify(manager(now, "kpu-typescript-client")?.fieldsV1), "f:image")
      }))

    test("a Compute that the Python client applied first stays co-owned by it", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "both" }
        yield* applyAs("kpu-python-client", ref, { image: "example/a", labels: { team: "ml" }, suspend: false })
        const ours = yield* api.apply({ ...ref, spec: { image: "example/a" } })
        assert.include(JSON.stringify(manager(ours, "kpu-python-client")?.fieldsV1), "f:image")
        // what only we stop sending stays, as the other still wants it
        const without = yield* api.apply({ ...ref, spec: { args: ["x"] } })
        assert.strictEqual(without.spec?.image, "example/a")
        assert.deepStrictEqual(without.spec?.labels, { team: "ml" })
      }))

    test("such a Compute is taken over entirely when the other manager applies nothing", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const { client } = yield* World
        const ref = { namespace, name: "ours" }
        yield* applyAs("kpu-python-client", ref, { image: "example/a", labels: { team: "ml" }, suspend: false })
        yield* api.apply({ ...ref, spec: { image: "example/a" } })
        const { body, status } = yield* client.request(
          "PATCH",
          `${path(namespace)}/${ref.name}?fieldManager=kpu-python-client&force=true`,
          {
            contentType: "application/apply-patch+yaml",
            body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name: ref.name } }
          }
        )
        assert.strictEqual(status, 200, JSON.stringify(body))
        const now = yield* api.get(ref)
        assert.strictEqual(now.spec?.image, "example/a")
        assert.isUndefined(now.spec?.labels)
        assert.isUndefined(manager(now, "kpu-python-client"))
        assert.isDefined(manager(now, "kpu-typescript-client"))
      }))

    it.effect("the field manager is an option", () =>
      Effect.gen(function* () {
        const { namespace } = yield* World
        const ref = { namespace: yield* namespace, name: "managed" }
        const made = yield* withClient(
          Effect.gen(function* () {
            const api = yield* ComputeApi
            assert.strictEqual(api.fieldManager, "team-a-deployer")
            return yield* api.apply({ ...ref, spec: { image: "example/a" } })
          }),
          "team-a-deployer"
        )
        assert.isDefined(manager(made, "team-a-deployer"))
        assert.isUndefined(manager(made, "kpu-typescript-client"))
      })
    )

    test("a name that breaks the rule is Invalid, with the rule as the cause", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const digit = yield* reasonOf(api.apply({ namespace, name: "1st", spec: { image: "a" } }))
        assert.strictEqual(digit._tag, "Invalid")
        if (digit._tag === "Invalid") {
          assert.include(digit.causes[0]?.message, "metadata.name must match RFC 1035 DNS label format")
        }
        const long = yield* reasonOf(api.apply({ namespace, name: "a".repeat(64), spec: { image: "a" } }))
        assert.strictEqual(long._tag, "Invalid")
        assert.include(long.message, "metadata.name must be no more than 63 characters")
      }))

    test("a spec of the wrong type is refused, and the message names the field", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const spec = { image: 5 } as unknown as { image: string }
        const reason = yield* reasonOf(api.apply({ namespace, name: "wrong", spec }))
        assert.strictEqual(reason._tag, "Invalid")
        if (reason._tag === "Invalid") assert.strictEqual(reason.causes[0]?.field, "spec.image")
      }))

    const asked = (
      api: ComputeApi["Service"],
      ref: ComputeRef
    ): Readonly<Record<string, Effect.Effect<unknown, ApiError>>> => ({
      get: api.get(ref),
      list: api.list({ namespace: ref.namespace }),
      patch: api.apply({ ...ref, spec: { image: "a" } }),
      delete: api.delete({ ...ref, uid: "0" }),
      watch: api.watch({ namespace: ref.namespace, timeoutSeconds: 5 }).pipe(Stream.runDrain)
    })

    it.effect("a token that the server does not know is Unauthorized, whatever was asked", () =>
      Effect.gen(function* () {
        const { namespace, stranger } = yield* World
        const ref = { namespace: yield* namespace, name: "closed" }
        yield* Effect.gen(function* () {
          for (const request of Object.values(asked(yield* ComputeApi, ref))) {
            const reason = yield* reasonOf(request)
            assert.strictEqual(reason._tag, "Unauthorized")
            assert.include(reason.message, "explicit options")
          }
        }).pipe(Effect.provide(kubernetes(stranger)))
      })
    )

    it.effect("what one may not do is Forbidden, by verb and resource", () =>
      Effect.gen(function* () {
        const { powerless } = yield* World
        const ref = { namespace: "default", name: "closed" }
        yield* Effect.gen(function* () {
          for (const [verb, request] of Object.entries(asked(yield* ComputeApi, ref))) {
            const reason = yield* reasonOf(request)
            assert.strictEqual(reason._tag, "Forbidden")
            assert.include(reason.message, `cannot ${verb} resource "computes" in API group "compute.kpu.dev"`)
            assert.include(reason.message, `namespace "default"`)
          }
        }).pipe(Effect.provide(kubernetes(powerless)))
      })
    )

    it.effect("one who may only touch a single name follows it all the same, by a watch of its own", () =>
      Effect.gen(function* () {
        const { confined, namespace } = yield* World
        const ref = { namespace: yield* namespace, name: "mine" }
        yield* Effect.gen(function* () {
          const api = yield* ComputeApi
          const watch = yield* ComputeWatch
          const retrying = Effect.retry({ times: 100, schedule: Schedule.spaced("50 millis") })
          const applied = yield* retrying(api.apply({ ...ref, spec: { image: "a" } }))
          assert.strictEqual((yield* reasonOf(api.list({ namespace: ref.namespace })))._tag, "Forbidden")
          const other = api.apply({ namespace: ref.namespace, name: "other", spec: { image: "a" } })
          assert.strictEqual((yield* reasonOf(other))._tag, "Forbidden")
          const seen = yield* watch.observe(ref, { since: applied.metadata.resourceVersion }).pipe(
            Stream.takeUntil(({ _tag }) => _tag === "Absent"),
            Stream.tap(({ _tag }) =>
              _tag === "Present" ? Effect.ignore(api.delete({ ...ref, uid: applied.metadata.uid })) : Effect.void
            ),
            Stream.runCollect
          )
          assert.strictEqual(seen[0]?._tag, "Present")
          assert.strictEqual(seen.at(-1)?._tag, "Absent")
        }).pipe(Effect.provide(kubernetes(yield* confined(ref))))
      })
    )

    test("what does not exist is NotFound, by name", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const reason = yield* reasonOf(api.get({ namespace, name: "nobody" }))
        assert.strictEqual(reason._tag, "NotFound")
        assert.include(reason.message, `"nobody" not found`)
      }))

    test("an apply into a namespace that does not exist says so", () =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const reason = yield* reasonOf(api.apply({ namespace: "nowhere", name: "a", spec: { image: "a" } }))
        assert.strictEqual(reason._tag, "NotFound")
        assert.include(reason.message, `namespaces "nowhere" not found`)
      }))

    test("a deletion is accepted once, and then there is nothing to delete", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "deleted" }
        const { metadata } = yield* api.apply({ ...ref, spec: { image: "a" } })
        assert.strictEqual(yield* api.delete({ ...ref, uid: metadata.uid, gracePeriodSeconds: 5 }), "accepted")
        assert.strictEqual(yield* api.delete({ ...ref, uid: metadata.uid }), "absent")
        assert.strictEqual(yield* api.delete(ref), "absent")
        assert.strictEqual((yield* reasonOf(api.get(ref)))._tag, "NotFound")
      }))

    test("a deletion by uid leaves another Compute of the same name alone", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "replaced" }
        const first = yield* api.apply({ ...ref, spec: { image: "a" } })
        yield* api.delete(ref)
        const second = yield* api.apply({ ...ref, spec: { image: "a" } })
        assert.notStrictEqual(second.metadata.uid, first.metadata.uid)
        assert.strictEqual(yield* api.delete({ ...ref, uid: first.metadata.uid }), "absent")
        assert.strictEqual((yield* api.get(ref)).metadata.uid, second.metadata.uid)
      }))

    test("an apply for one uid does not touch another Compute of the same name, nor make a new one", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "exactly" }
        const first = yield* api.apply({ ...ref, spec: { image: "a" } })
        yield* api.delete(ref)
        const uid = first.metadata.uid
        assert.strictEqual((yield* reasonOf(api.apply({ ...ref, uid, spec: { image: "b" } })))._tag, "Conflict")
        yield* api.apply({ ...ref, spec: { image: "a" } })
        assert.strictEqual((yield* reasonOf(api.apply({ ...ref, uid, spec: { image: "b" } })))._tag, "Conflict")
        assert.strictEqual((yield* api.get(ref)).spec?.image, "a")
      }))

    test("an apply for an older resource version is a conflict", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "versioned" }
        const first = yield* settled(ref, { image: "a" })
        const second = yield* api.apply({
          ...ref,
          resourceVersion: first.metadata.resourceVersion,
          spec: { image: "b" }
        })
        assert.strictEqual(second.spec?.image, "b")
        const { resourceVersion } = first.metadata
        assert.strictEqual(
          (yield* reasonOf(api.apply({ ...ref, resourceVersion, spec: { image: "c" } })))._tag,
          "Conflict"
        )
      }))

    test("a list holds what was applied, whole or by name, and a watch goes on from it", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        yield* settled({ namespace, name: "one" }, { image: "a" })
        yield* settled({ namespace, name: "two" }, { image: "a" })
        const all = yield* api.list({ namespace })
        assert.deepStrictEqual(all.items.map(({ metadata }) => metadata.name).sort(), ["one", "two"])
        const one = yield* api.list({ namespace, fieldSelector: "metadata.name=one" })
        assert.deepStrictEqual(
          one.items.map(({ metadata }) => metadata.name),
          ["one"]
        )
        const events = yield* api.watch({ namespace, resourceVersion: all.resourceVersion, timeoutSeconds: 30 }).pipe(
          Stream.filter((event) => event._tag !== "Bookmark"),
          Stream.take(1),
          Stream.runCollect,
          Effect.forkChild
        )
        yield* api.delete({ namespace, name: "two" })
        const [event] = yield* Fiber.join(events)
        assert.strictEqual(event?._tag, "Deleted")
      }))

    test("a watch brings creation, change and deletion in order, with versions that rise", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "watched" }
        const { resourceVersion } = yield* api.list({ namespace })
        const fiber = yield* api.watch({ namespace, resourceVersion, timeoutSeconds: 30 }).pipe(
          Stream.filter((event) => event._tag !== "Bookmark"),
          Stream.takeUntil((event) => event._tag === "Deleted"),
          Stream.runCollect,
          Effect.forkChild
        )
        yield* settled(ref, { image: "a" })
        yield* api.delete(ref)
        const events = yield* Fiber.join(fiber)
        const tags = events.map(({ _tag }) => _tag)
        assert.strictEqual(tags[0], "Added")
        assert.strictEqual(tags.at(-1), "Deleted")
        assert.isTrue(tags.slice(1, -1).every((tag) => tag === "Modified"))
        const versions = events.map(({ resource }) => version(resource))
        assert.isTrue(versions.every((version, i) => i === 0 || version > versions[i - 1]!))
        // the deleted Compute's last state still says that it is ready
        const last = events.at(-1)
        assert.isTrue(last?._tag === "Deleted" && isReady(last.resource))
      }))

    test("a watch of one name hears of no other", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const { resourceVersion } = yield* api.list({ namespace })
        const fiber = yield* api
          .watch({ namespace, fieldSelector: "metadata.name=mine", resourceVersion, timeoutSeconds: 30 })
          .pipe(
            Stream.filter((event) => event._tag !== "Bookmark"),
            Stream.takeUntil((event) => event._tag === "Deleted"),
            Stream.runCollect,
            Effect.forkChild
          )
        yield* api.apply({ namespace, name: "other", spec: { image: "a" } })
        yield* api.apply({ namespace, name: "mine", spec: { image: "a" } })
        yield* api.delete({ namespace, name: "other" })
        yield* api.delete({ namespace, name: "mine" })
        const names = (yield* Fiber.join(fiber)).map(({ resource }) => resource.metadata.name)
        assert.deepStrictEqual([...new Set(names)], ["mine"])
      }))

    test("a watch ends when the server's time is up, without an error", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const { resourceVersion } = yield* api.list({ namespace })
        const events = yield* api.watch({ namespace, resourceVersion, timeoutSeconds: 1 }).pipe(Stream.runCollect)
        assert.isTrue(events.every(({ _tag }) => _tag === "Bookmark"))
      }))

    test("a watch from a version that the server has not reached brings nothing", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const fiber = yield* api.watch({ namespace, resourceVersion: "9000000000", timeoutSeconds: 2 }).pipe(
          Stream.filter((event) => event._tag !== "Bookmark"),
          Stream.runCollect,
          // older servers say so: 504, Too large resource version
          Effect.catchReason("KubernetesError", "Unavailable", () => Effect.succeed([])),
          Effect.forkChild
        )
        yield* api.apply({ namespace, name: "unseen", spec: { image: "a" } })
        assert.deepStrictEqual(yield* Fiber.join(fiber), [])
      }))

    test("a watch from a version whose history is forgotten ends with 410", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        yield* api.apply({ namespace, name: "past", spec: { image: "a" } })
        const resourceVersion = yield* (yield* World).forgotten
        const reason = yield* reasonOf(
          api.watch({ namespace, resourceVersion, timeoutSeconds: 10 }).pipe(Stream.runDrain)
        )
        assert.strictEqual(reason._tag, "Rejected")
        if (reason._tag === "Rejected") assert.strictEqual(reason.status, 410)
      }))

    test("observing shows the absence, each state, and the deletion with the last state", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const watch = yield* ComputeWatch
        const ref = { namespace, name: "observed" }
        const seen: Array<Observation> = []
        const fiber = yield* watch.observe(ref).pipe(
          Stream.tap((observation) => Effect.sync(() => seen.push(observation))),
          Stream.takeUntil((observation) => observation._tag === "Absent" && observation.last !== undefined),
          Stream.runDrain,
          Effect.forkChild
        )
        // the absence is seen before there is anything
        while (seen.length === 0) yield* Effect.sleep("10 millis")
        const ready = yield* settled(ref, { image: "a" })
        yield* api.delete(ref)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(seen[0], { _tag: "Absent", last: undefined })
        assert.isTrue(seen.slice(1, -1).every(({ _tag }) => _tag === "Present"))
        const last = seen.at(-1)
        assert.isTrue(last?._tag === "Absent" && last.last?.metadata.uid === ready.metadata.uid)
      }))

    test("observing since an apply never shows what was before it", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const watch = yield* ComputeWatch
        const ref = { namespace, name: "since" }
        // keeps the namespace's watch open, so that it may lag behind the applies
        yield* watch.observe({ namespace, name: "another" }).pipe(Stream.runDrain, Effect.forkScoped)
        for (let i = 0; i < 10; i++) {
          const applied = yield* api.apply({ ...ref, spec: { image: `example/${i}` } })
          const [first] = yield* watch
            .observe(ref, { since: applied.metadata.resourceVersion })
            .pipe(Stream.take(1), Stream.runCollect)
          assert.strictEqual(first?._tag, "Present")
          if (first?._tag === "Present") {
            assert.strictEqual(first.resource.metadata.uid, applied.metadata.uid)
            assert.isTrue(version(first.resource) >= version(applied))
          }
          if (i % 3 === 2) yield* api.delete({ ...ref, uid: applied.metadata.uid })
        }
      }).pipe(Effect.scoped))

    test("a Compute that is deleted and made anew is absent in between", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const watch = yield* ComputeWatch
        const ref = { namespace, name: "anew" }
        const first = yield* settled(ref, { image: "a" })
        const fiber = yield* watch.observe(ref, { since: first.metadata.resourceVersion }).pipe(
          Stream.takeUntil(
            (observation) => observation._tag === "Present" && observation.resource.metadata.uid !== first.metadata.uid
          ),
          Stream.runCollect,
          Effect.forkChild
        )
        yield* api.delete(ref)
        const second = yield* api.apply({ ...ref, spec: { image: "a" } })
        const seen = yield* Fiber.join(fiber)
        const tags = seen.map((observation) =>
          observation._tag === "Absent"
            ? "absent"
            : observation.resource.metadata.uid === first.metadata.uid
              ? "first"
              : "second"
        )
        assert.include(tags, "absent")
        assert.isTrue(tags.indexOf("absent") > tags.lastIndexOf("first"))
        assert.strictEqual(tags.at(-1), "second")
        assert.notStrictEqual(second.metadata.uid, first.metadata.uid)
      }))

    test("the operator reports ready, suspended and resumed in its words", (namespace) =>
      Effect.gen(function* () {
        const api = yield* ComputeApi
        const ref = { namespace, name: "lifecycle" }
        const ready = yield* settled(ref, { image: "a" })
        assert.strictEqual(findCondition(ready, "Ready")?.reason, "StatefulSetReady")
        assert.isUndefined(findCondition(ready, "Suspended"))
        const suspending = yield* api.apply({ ...ref, spec: { image: "a", suspend: true } })
        const suspended = yield* until(
          ref,
          suspending.metadata.resourceVersion,
          (resource) => isSuspended(resource) && !isReady(resource)
        )
        assert.strictEqual(findCondition(suspended, "Suspended")?.message, "Compute is suspended")
        assert.strictEqual(findCondition(suspended, "Ready")?.reason, "StatefulSetNotReady")
        const resuming = yield* api.apply({ ...ref, spec: { image: "a", suspend: false } })
        const resumed = yield* until(
          ref,
          resuming.metadata.resourceVersion,
          (resource) => isReady(resource) && !isSuspended(resource)
        )
        assert.strictEqual(findCondition(resumed, "Suspended")?.reason, "Resumed")
      }))
  })
}
