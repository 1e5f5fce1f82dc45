/**
 * The transports of tensor calls.
 */
import * as GrpcJs from "./layers/GrpcChannelGrpcJs.ts"
import * as Http2 from "./layers/GrpcChannelHttp2.ts"
import * as Service from "./services/GrpcChannel.ts"

export type { ChannelOptions, TlsOptions } from "./layers/internal/channelOptions.ts"

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
  /** `@grpc/grpc-js`, with its defaults set for tensors. */
  static readonly layerGrpcJs = GrpcJs.layer
  /** `layerGrpcJs` with options. */
  static readonly layerGrpcJsWith = GrpcJs.layerWith
  /** `node:http2` itself, made for tensors: each byte is copied at most once. */
  static readonly layerHttp2 = Http2.layer
  /** `layerHttp2` with options. */
  static readonly layerHttp2With = Http2.layerWith
}
