/**
 * What the end of an HTTP/2 stream means in gRPC: from its trailers, its RST_STREAM code, or its HTTP status
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and doc/http-grpc-status-mapping.md).
 */
import { type GrpcCode, grpcCodes } from "../../../schema/KpuError.ts"
import type { CallStatus } from "../../../services/GrpcChannel.ts"
import type { Headers } from "../http2/hpack.ts"

/** `grpc-message` is percent-encoded UTF-8; a broken one is shown as it is. */
const decodeMessage = (message: string): string => {
  try {
    return decodeURIComponent(message)
  } catch {
    return message
  }
}

/** The status in trailers, or in the headers of an answer that has nothing else. */
export const statusOf = (headers: Headers): CallStatus | undefined => {
  const text = headers["grpc-status"]
  if (text === undefined) return undefined
  const message = headers["grpc-message"]
  const details = typeof message === "string" ? decodeMessage(message) : ""
  const code = typeof text === "string" && /^\d{1,2}$/.test(text) ? grpcCodes[Number(text)] : undefined
  return code === undefined
    ? { code: "UNKNOWN", details: `the server's status is no gRPC status. ${details}` }
    : { code, details }
}

const httpCodes: { readonly [status: number]: GrpcCode } = {
  400: "INTERNAL",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "UNIMPLEMENTED",
  429: "UNAVAILABLE",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "UNAVAILABLE"
}

/** The status that an answer has which is no gRPC: a proxy's, most often. Undefined where it is gRPC. */
export const foreignStatus = (headers: Headers): CallStatus | undefined => {
  const status = Number(headers[":status"])
  if (status !== 200) {
    return {
      code: httpCodes[status] ?? "UNKNOWN",
      details: `the server, or a proxy before it, answered HTTP ${status}`
    }
  }
  const type = headers["content-type"]
  return type?.startsWith("application/grpc") === true
    ? undefined
    : { code: "UNKNOWN", details: `the server answered ${type ?? "without a content type"}, which is no gRPC` }
}

const rstCodes: { readonly [code: number]: readonly [GrpcCode, string] } = {
  0: ["INTERNAL", "NO_ERROR"],
  1: ["INTERNAL", "PROTOCOL_ERROR"],
  2: ["INTERNAL", "INTERNAL_ERROR"],
  3: ["INTERNAL", "FLOW_CONTROL_ERROR"],
  4: ["INTERNAL", "SETTINGS_TIMEOUT"],
  5: ["INTERNAL", "STREAM_CLOSED"],
  6: ["INTERNAL", "FRAME_SIZE_ERROR"],
  7: ["UNAVAILABLE", "REFUSED_STREAM"],
  8: ["CANCELLED", "CANCEL"],
  9: ["INTERNAL", "COMPRESSION_ERROR"],
  10: ["INTERNAL", "CONNECT_ERROR"],
  11: ["RESOURCE_EXHAUSTED", "ENHANCE_YOUR_CALM"],
  12: ["PERMISSION_DENIED", "INADEQUATE_SECURITY"],
  13: ["INTERNAL", "HTTP_1_1_REQUIRED"]
}

/** The status of a stream that the server reset without trailers. */
export const resetStatus = (rstCode: number): CallStatus => {
  const [code, name] = rstCodes[rstCode] ?? ["INTERNAL", String(rstCode)]
  return { code, details: `the server reset the stream without a status (${name})` }
}
