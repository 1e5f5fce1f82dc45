/** The transports of the client that are measured: a new one is one line here. */
import { GrpcChannel } from "../../src/GrpcChannel.ts"

export const transports = {
  http2: GrpcChannel.layerHttp2,
  "grpc-js": GrpcChannel.layerGrpcJs
} as const

export type Transport = keyof typeof transports
