/**
 * Runs the programs of the sources' docs one after the other, in the current folder, on one embedded cluster, which is
 * also what a kubeconfig finds. A program is a module; where it exports `program`, that is run too.
 */

import { readFile, writeFile } from "node:fs/promises"
import { resolve } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Compute, LocalCluster } from "effect-kpu"
import { init, shutdown } from "effect-kpu/promise"

const names = process.argv.slice(2)

const runAll = Effect.gen(function* () {
  const cluster = LocalCluster.layerWith({ namespaces: ["team-a"], startDelay: 0, statusDelay: 0 })
  const context = yield* Layer.build(Layer.merge(cluster, NodeServices.layer))
  const { kubeconfig } = yield* LocalCluster.pipe(Effect.provideContext(context))
  yield* Effect.promise(() => writeFile("kubeconfig", kubeconfig))
  process.env.KUBECONFIG = resolve("kubeconfig")

  for (const name of names) {
    const file = resolve(name)
    const source = yield* Effect.promise(() => readFile(file, "utf8"))
    // A Compute that is there already: some programs ask for it.
    yield* Compute.apply({ name: "my-compute" }).pipe(Effect.scoped, Effect.provideContext(context))
    if (!/\binit\(/.test(source)) init({ layer: Layer.succeedContext(context) })
    const module: { readonly program?: Effect.Effect<unknown, unknown> } = yield* Effect.promise(() => import(file))
    if (module.program !== undefined) yield* module.program.pipe(Effect.scoped, Effect.provideContext(context))
    yield* Effect.promise(shutdown)
    console.log(`ran ${name}`)
  }
}).pipe(Effect.scoped)

await Effect.runPromise(runAll)
