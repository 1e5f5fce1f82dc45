import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ApiClient from "./ApiClient.ts"
import * as Controller from "./Controller.ts"
import { KubeApiServer } from "./KubeApiServer.ts"
import { describeWith } from "./peers.ts"

const target = Effect.map(KubeApiServer, (server) => ({
  url: server.url,
  token: server.token,
  ca: server.serverAuthority.cert
}))

/** A namespace, a way to apply a Compute there, and a way to wait for conditions. */
const fixture = Effect.gen(function* () {
  const server = yield* KubeApiServer
  const client = yield* ApiClient.make(yield* target)
  const namespace = yield* server.namespace
  const path = `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes`
  return {
    namespace,
    server,
    apply: (name: string, spec: unknown) =>
      Effect.map(
        server.request("PATCH", `${path}/${name}?fieldManager=test&force=true`, {
          contentType: "application/apply-patch+yaml",
          body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name }, spec }
        }),
        ({ body, status }) => {
          assert.oneOf(status, [200, 201], JSON.stringify(body))
          return body
        }
      ),
    until: (name: string, wanted: Record<string, string>) =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        for (;;) {
          const { body } = yield* client.request("GET", `${path}/${name}`)
          const conditions: ReadonlyArray<{ type: string; status: string; reason: string }> =
            body.status?.conditions ?? []
          const text = conditions.map(({ reason, status, type }) => `${type}=${status}/${reason}`).join(" ")
          if (seen.at(-1) !== text) seen.push(text)
          const statuses = Object.fromEntries(conditions.map(({ status, type }) => [type, status]))
          if (Object.entries(wanted).every(([type, status]) => statuses[type] === status)) return { body, seen }
          yield* Effect.sleep("10 millis")
        }
      })
  }
})

describeWith(["kubernetes"], "the operator's part in tests", () => {
  layer(KubeApiServer.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("brings a Compute to ready, through suspend and resume, as the operator does", () =>
      Effect.gen(function* () {
        const { apply, until } = yield* fixture
        yield* Controller.make(yield* target, { readyAfter: "100 millis", staleFor: "100 millis" })
        yield* apply("one", { image: "x" })
        const first = yield* until("one", { Ready: "True" })
        assert.strictEqual(first.seen.at(-1), "Ready=True/StatefulSetReady")
        assert.include(first.seen, "Ready=False/StatefulSetNotReady")
        const manager = first.body.metadata.managedFields.find(
          (entry: { manager: string }) => entry.manager === Controller.fieldManager
        )
        assert.strictEqual(manager.operation, "Apply")
        assert.strictEqual(manager.subresource, "status")
        assert.isUndefined(first.body.status.conditions[0].observedGeneration)

        yield* apply("one", { image: "x", suspend: true })
        const stale = yield* until("one", { Suspended: "True" })
        assert.include(stale.seen.at(-1), "Ready=True/StatefulSetReady")
        const suspended = yield* until("one", { Suspended: "True", Ready: "False" })
        assert.include(suspended.seen.at(-1), "Ready=False/StatefulSetNotReady")

        yield* apply("one", { image: "x", suspend: false })
        const resumed = yield* until("one", { Suspended: "False", Ready: "True" })
        assert.include(resumed.seen.at(-1), "Suspended=False/Resumed")
      })
    )

    it.effect("does nothing while it is paused, and catches up", () =>
      Effect.gen(function* () {
        const { apply, until } = yield* fixture
        const controller = yield* Controller.make(yield* target)
        yield* controller.pause
        yield* apply("two", { image: "x" })
        yield* Effect.sleep("300 millis")
        assert.isUndefined((yield* until("two", {})).body.status)
        yield* controller.resume
        yield* until("two", { Ready: "True" })
      })
    )

    it.effect("goes on after the API server came back", () =>
      Effect.gen(function* () {
        const { apply, server, until } = yield* fixture
        yield* Controller.make(yield* target)
        yield* server.stop
        yield* server.start
        yield* apply("three", { image: "x" })
        yield* until("three", { Ready: "True" })
      })
    )
  })
})
