/**
 * The tensor server of one Compute: takes tensors, sends noise of the requested shape, and echoes what is streamed
 * through it under the id `processed_<id>`, writing while it reads.
 *
 * Chunks are echoed as they come: the server holds one of them, never a tensor.
 */
import { randomUUID } from "node:crypto"
import { TensorChunk, TensorRequest, TensorResponse } from "../schema/generated/kpu/torch/service.ts"
import { randn } from "../schema/TensorRandom.ts"
import { encodeWhole } from "../torch/Encoder.ts"
import * as GrpcServer from "./GrpcServer.ts"

export interface TensorServerOptions {
  readonly host: string
  readonly port: number
  readonly chunkSize: number
}

export type TensorServer = GrpcServer.GrpcServer

const service = "/kpu.torch.Service"
const none = new Uint8Array()

/** A chunk in two pieces, so that its data is written from where it lies. Protobuf's fields may come in any order. */
const encodeChunk = (chunk: TensorChunk): readonly [Uint8Array, Uint8Array] => {
  const head = TensorChunk.encode({ ...chunk, data: none })
  if (chunk.data.length === 0) return [head.finish(), none]
  return [head.uint32(0x1a).uint32(chunk.data.length).finish(), chunk.data]
}

const decode = <T>(type: { readonly decode: (bytes: Uint8Array) => T }, bytes: Uint8Array): T => {
  try {
    return type.decode(bytes)
  } catch (error) {
    throw new GrpcServer.GrpcFailure(GrpcServer.INTERNAL, `Error deserializing request: ${String(error)}`)
  }
}

/** `"20,20"`; 10×10 where that says nothing. */
const shapeOf = (parameter: string | undefined): ReadonlyArray<number> => {
  const parts = (parameter ?? "").split(",").map((part) => part.trim())
  return parts.every((part) => /^[+-]?\d+$/.test(part)) ? parts.map(Number) : [10, 10]
}

const receiveTensors = async (call: GrpcServer.Call) => {
  const received: Array<string> = []
  const open = new Map<string, Set<number>>()
  let failure: string | undefined
  for await (const message of call.messages) {
    if (failure !== undefined) continue
    try {
      const chunk = decode(TensorChunk, message)
      const numbers = open.get(chunk.tensorId) ?? new Set()
      open.set(chunk.tensorId, numbers.add(chunk.chunkNumber))
      if (numbers.size === chunk.totalChunks) {
        open.delete(chunk.tensorId)
        received.push(chunk.tensorId)
      }
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error)
    }
  }
  await call.write(
    TensorResponse.encode({
      success: failure === undefined,
      message: failure === undefined ? `Received ${received.length} tensor(s)` : `Error: ${failure}`,
      receivedTensorIds: received
    }).finish()
  )
}

const sendTensors = (chunkSize: number) => async (call: GrpcServer.Call) => {
  for await (const message of call.messages) {
    const request = decode(TensorRequest, message)
    const shape = shapeOf(request.parameters["shape"])
    for (let i = 0; i < (request.count || 1); i++) {
      let payload: Uint8Array
      try {
        payload = encodeWhole(randn(shape))
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error)
        throw new GrpcServer.GrpcFailure(GrpcServer.INTERNAL, `Error sending tensors: ${words}`)
      }
      const tensorId = randomUUID()
      const totalChunks = Math.max(1, Math.ceil(payload.length / chunkSize))
      for (let chunkNumber = 0; chunkNumber < totalChunks; chunkNumber++) {
        await call.write(
          ...encodeChunk({
            tensorId,
            chunkNumber,
            data: payload.subarray(chunkNumber * chunkSize, (chunkNumber + 1) * chunkSize),
            totalChunks,
            isLast: chunkNumber === totalChunks - 1,
            metadata:
              chunkNumber > 0
                ? {}
                : {
                    shape: `[${shape.join(", ")}]`,
                    dtype: "torch.float32",
                    device: "cpu",
                    size_bytes: String(payload.length)
                  }
          })
        )
      }
    }
    return
  }
}

const streamTensors = async (call: GrpcServer.Call) => {
  for await (const message of call.messages) {
    const chunk = decode(TensorChunk, message)
    await call.write(...encodeChunk({ ...chunk, tensorId: `processed_${chunk.tensorId}` }))
  }
}

export const start = ({ chunkSize, host, port }: TensorServerOptions): Promise<TensorServer> =>
  GrpcServer.start({
    host,
    port,
    maxMessageBytes: 512 * 1024 * 1024,
    handlers: {
      [`${service}/ReceiveTensors`]: receiveTensors,
      [`${service}/SendTensors`]: sendTensors(chunkSize),
      [`${service}/StreamTensors`]: streamTensors
    }
  })
