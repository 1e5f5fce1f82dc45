/** The same requests to the embedded API and to a real kube-apiserver: the same answers, to the byte. */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type ClusterShape, start } from "../../src/local/Cluster.ts"
import { KubeApiServer } from "../kit/KubeApiServer.ts"
import { describeWith } from "../kit/peers.ts"
import { play, type Step, type World } from "./exchange.ts"
import { RandomScript, toScript } from "./parity.random.ts"
import { scripts } from "./parity.scripts.ts"

const embedded = ({ token, url }: ClusterShape): World => ({ url, token })

describeWith(["kubernetes"], "the embedded API beside a real kube-apiserver", () => {
  layer(KubeApiServer.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    const both = (script: ReadonlyArray<Step>) =>
      Effect.gen(function* () {
        const real = yield* KubeApiServer
        const namespace = yield* real.namespace
        const cluster = yield* start({ controller: false, namespaces: [namespace] })
        const [theirs, ours] = yield* Effect.promise(() =>
          Promise.all([
            play({ url: real.url, token: real.token, ca: real.serverAuthority.cert }, namespace, script),
            play(embedded(cluster), namespace, script)
          ])
        )
        for (const [i, expected] of theirs.entries()) assert.deepStrictEqual(ours[i], expected)
      })

    for (const [title, script] of Object.entries(scripts)) it.effect(title, () => both(script))

    it.effect.prop(
      "whatever several managers apply, patch and report",
      [RandomScript],
      ([script]) => both(toScript(script)),
      { arbitrary: { runs: 50, size: 20 } }
    )
  })
})
