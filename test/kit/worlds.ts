/**
 * The worlds that a suite runs in: each gives all that `Kpu.layer` gives.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Endpoint } from "../../src/Endpoint.ts"
import { Kpu, type TimeoutOptions } from "../../src/Kpu.ts"
import { KubeConfig } from "../../src/KubeConfig.ts"
import { LocalCluster } from "../../src/LocalCluster.ts"
import * as Controller from "./Controller.ts"
import { KubeApiServer } from "./KubeApiServer.ts"
import { PythonServer } from "./PythonServer.ts"

/** A real kube-apiserver, a controller in the operator's part, and one real Python server that every Compute is. */
export const kubernetesWorld = Layer.unwrap(
  Effect.gen(function* () {
    const api = yield* KubeApiServer
    const python = yield* PythonServer
    yield* Controller.make({ url: api.url, token: api.token, ca: api.serverAuthority.cert })
    return Kpu.layerWith({
      config: KubeConfig.layerOptions({ server: api.url, token: api.token, caData: api.caData }),
      endpoint: Endpoint.layerOverride(python.host, python.port)
    })
  })
).pipe(Layer.provide([KubeApiServer.layer, PythonServer.layer]))

/** A real kube-apiserver where no operator is installed and nothing serves. */
export const unattendedWorld = (timeouts: TimeoutOptions) =>
  Layer.unwrap(
    Effect.map(KubeApiServer, (api) =>
      Kpu.layerWith({
        config: KubeConfig.layerOptions({ server: api.url, token: api.token, caData: api.caData }),
        timeouts
      })
    )
  ).pipe(Layer.provide(KubeApiServer.layer))

/** The embedded cluster, as users have it. */
export const embeddedWorld = LocalCluster.layer
