/**
 * The tensor server of one Compute: takes tensors, sends noise of the requested shape, and echoes what is streamed
 * through it under the id `processed_<id>`, writing while it reads.
 *
 * Chunks are echoed as they come: the server holds one of them, never a tensor. (The real one echoes a tensor when it is
 * whole; on the wire that differs in the order of chunks of tensors that interleave.)
 */
import { randomUUID } from "node:crypto"
import { TensorChunk, TensorRequest, TensorResponse } from "../schema/generated/kpu/torch/service.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { randn } from "../schema/TensorRandom.ts"
import { Assembler } from "../torch/Assembler.ts"
import { chunkTensor } from "../torch/Chunker.ts"
import { decodePayload } from "../torch/Payloads.ts"
import * as GrpcServer from "./GrpcServer.ts"

export interface TensorServerOptions {
  readonly host: string
  readonly port: number
  readonly chunkSize: number
  /** Bytes of the largest message accepted. */
  readonly maxMessageBytes: number
}

export type TensorServer = GrpcServer.GrpcServer

const service = "/kpu.torch.Service"
const none = new Uint8Array()
/** Field 3, with a length. */
const dataTag = 0x1a

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** A chunk's message in pieces, so that its data is written from where it lies. Protobuf's fields may come in any order. */
const encodeChunk = (chunk: Omit<TensorChunk, "data">, views: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const head = TensorChunk.encode({ ...chunk, data: none })
  const size = views.reduce((sum, view) => sum + view.length, 0)
  return size === 0 ? [head.finish()] : [head.uint32(dataTag).uint32(size).finish(), ...views]
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

/**
 * Reads each tensor, as the real server does. What is none, or does not fit together, is told in-band, at once: the
 * answer may come before the client has sent all.
 */
const receiveTensors = async (call: GrpcServer.Call) => {
  const assembler = new Assembler()
  const received: Array<string> = []
  let failure: string | undefined
  for await (const message of call.messages) {
    const chunk = decode(TensorChunk, message)
    try {
      const payload = assembler.push(chunk)
      if (payload !== undefined) {
        decodePayload(payload)
        received.push(payload.tensorId)
      }
    } catch (error) {
      failure = wordsOf(error)
      break
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

const noise = (shape: ReadonlyArray<number>): Tensor => {
  try {
    return randn(shape)
  } catch (error) {
    throw new GrpcServer.GrpcFailure(GrpcServer.INTERNAL, `Error sending tensors: ${wordsOf(error)}`)
  }
}

const sendTensors = (chunkSize: number) => async (call: GrpcServer.Call) => {
  for await (const message of call.messages) {
    const request = decode(TensorRequest, message)
    const shape = shapeOf(request.parameters["shape"])
    for (let i = 0; i < (request.count || 1); i++) {
      for (const { views, ...chunk } of chunkTensor(noise(shape), { id: randomUUID(), chunkSize })) {
        await call.write(...encodeChunk(chunk, views))
      }
    }
    return
  }
}

const streamTensors = async (call: GrpcServer.Call) => {
  for await (const message of call.messages) {
    const { data, ...chunk } = decode(TensorChunk, message)
    await call.write(...encodeChunk({ ...chunk, tensorId: `processed_${chunk.tensorId}` }, [data]))
  }
}

export const start = ({ chunkSize, host, maxMessageBytes, port }: TensorServerOptions): Promise<TensorServer> =>
  GrpcServer.start({
    host,
    port,
    maxMessageBytes,
    handlers: {
      [`${service}/ReceiveTensors`]: receiveTensors,
      [`${service}/SendTensors`]: sendTensors(chunkSize),
      [`${service}/StreamTensors`]: streamTensors
    }
  })
