/** Dials every Compute at one host, and at one port or each Compute's own: a port-forward, a test server. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { checkOptions } from "../schema/ComputeOptions.ts"
import type { InvalidInput } from "../schema/KpuError.ts"
import { Endpoint } from "../services/Endpoint.ts"

export const layer = (host: string, port?: number): Layer.Layer<Endpoint, InvalidInput> =>
  Layer.effect(
    Endpoint,
    Effect.map(Effect.fromResult(checkOptions({ host, port })), () =>
      Endpoint.of({
        resolve: (compute) =>
          Effect.succeed({
            host,
            port: port ?? compute.port,
            hint: `Does something listen at ${host}:${port ?? compute.port}, such as kubectl port-forward?`,
            mayResolveLater: false
          })
      })
    )
  )
