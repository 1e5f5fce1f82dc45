/**
 * How a Compute is dialled. A Compute's own `host` option wins over all of these.
 */
import * as Gateway from "./layers/EndpointGateway.ts"
import * as Override from "./layers/EndpointOverride.ts"
import * as InCluster from "./layers/EndpointService.ts"
import * as Service from "./services/Endpoint.ts"

export type { Address } from "./services/Endpoint.ts"

/**
 * Where a Compute's tensor server is dialled.
 *
 * **Example** (through the cluster's Gateway)
 *
 * ```ts
 * import { Endpoint, Kpu } from "effect-kpu"
 *
 * const layer = Kpu.layerWith({ endpoint: Endpoint.layerGateway("gateway.example.com:80") })
 * ```
 */
export class Endpoint extends Service.Endpoint {
  /** `NAME.NAMESPACE.svc.cluster.local`: from inside the cluster. */
  static readonly layerService = InCluster.layer
  /** One host, and one port or each Compute's own. */
  static readonly layerOverride = Override.layer
  /** The Gateway at `host:port`, which routes by the `compute-id` metadata. */
  static readonly layerGateway = Gateway.layer
}
