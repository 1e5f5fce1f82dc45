/**
 * The transport of tensor calls. A transport knows HTTP/2 and gRPC's framing; tensors' bytes are made and read by the
 * torch room.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { GrpcError } from "../schema/KpuError.ts"
import type { ConnectOptions } from "./TensorClient.ts"

export class GrpcChannel extends Context.Service<
  GrpcChannel,
  {
    readonly connect: (options: ConnectOptions) => Effect.Effect<GrpcConnection, GrpcError, Scope.Scope>
  }
>()("effect-kpu/GrpcChannel") {}

/** One open HTTP/2 session, and the three calls of the tensor service on it. */
export interface GrpcConnection {
  readonly address: string
}
