/**
 * Dials every Compute at the cluster's Gateway, which routes by the `compute-id: NAMESPACE/NAME` metadata that each call
 * carries. A Compute's own port plays no part: the Gateway's does.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { InvalidInput } from "../schema/KpuError.ts"
import { Endpoint } from "../services/Endpoint.ts"
import { parseAddress } from "./internal/tensors/dialAddress.ts"

/** The Gateway's plain-text port, when the address names none. */
const defaultGatewayPort = 80

/** `address` is `host:port`; the port is 80 when absent. */
export const layer = (address: string): Layer.Layer<Endpoint, InvalidInput> =>
  Layer.effect(
    Endpoint,
    Effect.map(Effect.fromResult(parseAddress("address", address, defaultGatewayPort)), ({ host, port }) =>
      Endpoint.of({
        resolve: () =>
          Effect.succeed({
            host,
            port,
            hint: `Is the Gateway at ${address} reachable from here, and its GRPCRoute for this Compute accepted?`,
            mayResolveLater: false
          })
      })
    )
  )
