/**
 * A program of its own that uses an embedded cluster and ends with calls, watches and timers still open: it ends
 * only when nothing is left of them.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { start } from "../../src/local/Cluster.ts"
import * as ApiClient from "../kit/ApiClient.ts"
import * as raw from "../kit/rawTensorClient.ts"

const computes = "/apis/compute.kpu.dev/v1alpha1/namespaces/default/computes"

const apply = (client: ApiClient.ApiClient, name: string) =>
  client.request("PATCH", `${computes}/${name}?fieldManager=test`, {
    body: { apiVersion: "compute.kpu.dev/v1alpha1", kind: "Compute", metadata: { name }, spec: { image: "i" } },
    contentType: "application/apply-patch+yaml"
  })

const open = () => process.getActiveResourcesInfo().filter((one) => one.startsWith("TCP") || one === "Timeout")

const program = Effect.gen(function* () {
  const clients = yield* Scope.make()
  const scope = yield* Scope.make()
  yield* Effect.gen(function* () {
    const cluster = yield* start({ startDelay: "20 millis" })
    const client = yield* ApiClient.make(cluster).pipe(Scope.provide(clients))
    yield* Effect.forkIn(
      Effect.exit(client.watch(`${computes}?watch=1&allowWatchBookmarks=true`).pipe(Stream.runDrain)),
      clients
    )
    yield* apply(client, "a")
    while (cluster.resolve("default", "a") === undefined) yield* Effect.sleep("5 millis")
    const { host, port } = cluster.resolve("default", "a")!
    for (const address of [`${host}:${port}`, cluster.gatewayAddress]) {
      raw.stream(yield* raw.connect(address).pipe(Scope.provide(clients))).on("error", () => {})
    }
    yield* apply(client, "unfinished")
    yield* Effect.sleep("10 millis")
    console.log(`open: ${open().length > 0}`)
  }).pipe(Scope.provide(scope))
  // The cluster first: it must not wait for its clients.
  yield* Scope.close(scope, Exit.void)
  yield* Scope.close(clients, Exit.void)
  // What is being closed needs a turn of the event loop; what is not would keep this waiting for ever.
  while (open().length > 0) yield* Effect.promise(() => new Promise((done) => setImmediate(done)))
  console.log("nothing left")
})

await Effect.runPromise(program)
