/** The embedded cluster as clients meet it: over its sockets. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type ClusterShape, start } from "../../src/local/Cluster.ts"
import * as ApiClient from "../kit/ApiClient.ts"

const computes = "/apis/compute.kpu.dev/v1alpha1/namespaces/default/computes"

const applied = (name: string, spec: unknown = { image: "server" }) => ({
  body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name }, spec },
  contentType: "application/apply-patch+yaml"
})

const apply = (client: ApiClient.ApiClient, name: string, spec?: unknown) =>
  client.request("PATCH", `${computes}/${name}?fieldManager=test&force=true`, applied(name, spec))

const condition = (object: any, type: string) => object.status?.conditions?.find((one: any) => one.type === type)

/** Waits until a Compute's condition is so. */
const until = (client: ApiClient.ApiClient, name: string, holds: (object: any) => boolean) =>
  client.watch(`${computes}?watch=1&fieldSelector=metadata.name%3D${name}`).pipe(
    Stream.map(({ object }) => object),
    Stream.filter(holds),
    Stream.runHead,
    Effect.flatMap((found) => Effect.fromOption(found))
  )

const clientOf = ({ token, url }: ClusterShape) => ApiClient.make({ url, token })
const isReady = (object: any) => condition(object, "Ready")?.status === "True"

describe("the embedded cluster", () => {
  it.live("brings an applied Compute to Ready, in the operator's words, and runs its server", () =>
    Effect.gen(function* () {
      const cluster = yield* start({ startDelay: "50 millis" })
      const client = yield* clientOf(cluster)
      const created = yield* apply(client, "my-compute")
      assert.strictEqual(created.status, 201)
      assert.strictEqual(created.body.status, undefined)
      const reasons = yield* client
        .watch(`${computes}?watch=1&resourceVersion=${created.body.metadata.resourceVersion}`)
        .pipe(
          Stream.map(({ object }) => condition(object, "Ready")),
          Stream.map(({ message, reason }) => `${reason}: ${message}`),
          Stream.takeUntil((reason) => reason.startsWith("StatefulSetReady")),
          Stream.runCollect
        )
      assert.deepStrictEqual(reasons, [
        "StatefulSetNotAvailable: StatefulSet is not available",
        "StatefulSetNotReady: StatefulSet has 0/1 ready replicas",
        "StatefulSetReady: All 1 replicas are ready"
      ])
      assert.notStrictEqual(cluster.resolve("default", "my-compute"), undefined)
    })
  )

  it.live("stops the server of a suspended Compute, starts it again when resumed, ends it when deleted", () =>
    Effect.gen(function* () {
      const cluster = yield* start({ startDelay: 0 })
      const client = yield* clientOf(cluster)
      yield* apply(client, "a")
      yield* until(client, "a", isReady)
      const address = cluster.resolve("default", "a")

      yield* apply(client, "a", { image: "server", suspend: true })
      const stopped = yield* until(client, "a", (object) => condition(object, "Suspended")?.status === "True")
      assert.strictEqual(condition(stopped, "Suspended").message, "Compute is suspended")
      assert.strictEqual(condition(stopped, "Ready").reason, "StatefulSetNotReady")
      assert.strictEqual(cluster.resolve("default", "a"), undefined)

      yield* apply(client, "a", { image: "server", suspend: false })
      const again = yield* until(client, "a", isReady)
      assert.strictEqual(condition(again, "Suspended").reason, "Resumed")
      assert.deepStrictEqual(cluster.resolve("default", "a"), address, "the same port as before")

      yield* client.request("DELETE", `${computes}/a`)
      yield* Effect.gen(function* () {
        while (cluster.resolve("default", "a") !== undefined) yield* Effect.sleep("5 millis")
      })
      assert.strictEqual((yield* client.request("GET", `${computes}/a`)).status, 404)
    })
  )
})
