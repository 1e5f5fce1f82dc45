/** A program as a user has it, for the test that interrupts it: holds a scoped Compute until it is stopped. */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Compute, Endpoint, Kpu, KubeConfig } from "effect-kpu"

const [kubeconfig = "", gateway = ""] = process.argv.slice(2)

const program = Effect.gen(function* () {
  yield* Compute.scoped({ name: "held" })
  yield* Console.log("holding")
  yield* Effect.never
}).pipe(Effect.scoped)

program.pipe(
  Effect.provide(Kpu.layerWith({ config: KubeConfig.layerFile(kubeconfig), endpoint: Endpoint.layerGateway(gateway) })),
  NodeRuntime.runMain
)
