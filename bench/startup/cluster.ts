/** An embedded cluster with one Compute that serves. Prints its gateway; the kubeconfig is written where the argument says. */
import * as Effect from "effect/Effect"
import { Compute, LocalCluster } from "effect-kpu"

const kubeconfig = process.argv[2]!

const program = Effect.gen(function* () {
  const cluster = yield* LocalCluster
  yield* Compute.scoped({ name: "first" })
  yield* Effect.promise(() =>
    import("node:fs/promises").then(({ writeFile }) => writeFile(kubeconfig, cluster.kubeconfig, { mode: 0o600 }))
  )
  console.log(JSON.stringify({ gateway: cluster.gatewayAddress }))
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.provide(LocalCluster.layer))

Effect.runFork(program)
