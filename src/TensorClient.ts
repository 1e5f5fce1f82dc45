/**
 * Tensors to, from and through a tensor server, without a Compute resource.
 */
import type * as Layer from "effect/Layer"
import * as Grpc from "./layers/TensorClientGrpc.ts"
import type { GrpcChannel } from "./services/GrpcChannel.ts"
import * as Service from "./services/TensorClient.ts"

export type {
  ConnectOptions,
  OutgoingTensor,
  OutgoingTensors,
  ReceiveError,
  ReceiveOptions,
  ReceiveRequest,
  SendError,
  SendOptions,
  StreamOptions,
  TensorConnection,
  TensorMessage
} from "./services/TensorClient.ts"

/**
 * Connections to tensor servers. A Compute's handle holds one; a program that knows a server's address can dial it
 * itself. `Kpu.layer` gives it too.
 *
 * **Example** (a server that stands alone)
 *
 * ```ts
 * import { GrpcChannel, Tensor, TensorClient } from "effect-kpu"
 * import { Effect, Layer } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* TensorClient
 *   const address = { host: "localhost", port: 50051, hint: "Is the server started?", mayResolveLater: false }
 *   const connection = yield* client.connect({ address, namespace: "default", name: "my-compute" })
 *   return yield* connection.sendTensors([Tensor.randn([10, 10])])
 * }).pipe(Effect.scoped, Effect.provide(TensorClient.layer.pipe(Layer.provide(GrpcChannel.layerGrpcJs))))
 * ```
 */
export class TensorClient extends Service.TensorClient {
  /** On whichever transport the `GrpcChannel` is. */
  static readonly layer: Layer.Layer<Service.TensorClient, never, GrpcChannel> = Grpc.layer
}
