/** Where a Compute's tensor server is dialled. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { GrpcError } from "../schema/KpuError.ts"
import type { ComputeRef } from "./ComputeApi.ts"

/** A host and port to dial. */
export interface Address {
  readonly host: string
  readonly port: number
  /** What to try when this address cannot be reached, in a person's words. */
  readonly hint: string
  /**
   * Whether a name that does not resolve now may soon: inside a cluster DNS lags behind a new Service. Where it is
   * false, an unresolved name fails at once.
   */
  readonly mayResolveLater: boolean
}

export class Endpoint extends Context.Service<
  Endpoint,
  {
    readonly resolve: (compute: ComputeRef & { readonly port: number }) => Effect.Effect<Address, GrpcError>
  }
>()("effect-kpu/Endpoint") {}
