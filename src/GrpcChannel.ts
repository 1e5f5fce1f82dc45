/**
 * The transports of tensor calls.
 */
import * as GrpcJs from "./layers/GrpcChannelGrpcJs.ts"
import * as Http2 from "./layers/GrpcChannelHttp2.ts"
import * as Service from "./services/GrpcChannel.ts"

export type { ChannelOptions, TlsOptions } from "./layers/internal/tensors/channelOptions.ts"

/**
 * How tensors get to a server: gRPC over HTTP/2, plain text unless told otherwise.
 *
 * **Example** (TLS with a token)
 *
 * ```ts
 * import { GrpcChannel, Kpu } from "effect-kpu"
 * import { Redacted } from "effect"
 *
 * const layer = Kpu.layerWith({
 *   channel: GrpcChannel.layerGrpcJsWith({ tls: true, token: Redacted.make(process.env.TOKEN ?? "") })
 * })
 * ```
 */
export class GrpcChannel extends Service.GrpcChannel {
  /** The transport that measures best: `layerHttp2`. */
  static readonly layer = Http2.layer
  /** `layer` with options. */
  static readonly layerWith = Http2.layerWith
  /** `@grpc/grpc-js`, with its defaults set for tensors. */
  static readonly layerGrpcJs = GrpcJs.layer
  /** `layerGrpcJs` with options. */
  static readonly layerGrpcJsWith = GrpcJs.layerWith
  /** HTTP/2 on a socket that reads into one buffer: each byte of a tensor is copied at most once. */
  static readonly layerHttp2 = Http2.layer
  /** `layerHttp2` with options. */
  static readonly layerHttp2With = Http2.layerWith
}
