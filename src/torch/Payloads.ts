/**
 * Assembled payloads to tensors, checked against the metadata that came with them.
 *
 * A tensor is a view of its payload, so it keeps the payload in memory: PyTorch sends the whole storage of a small slice of
 * it. A tensor that is a small part of its payload is copied out, and the payload is let go.
 */
import { TensorDecodeError } from "../schema/KpuError.ts"
import { make, type Tensor } from "../schema/Tensor.ts"
import type { Payload } from "./Assembler.ts"
import { type DecodeOptions, decodeTensor } from "./Decoder.ts"
import { checkMetadata } from "./TensorMetadata.ts"
import { quote } from "./Work.ts"

/** A payload that is this many times as large as its tensor, and not small, is not worth keeping. */
const wasteful = 4
const smallPayload = 64 * 1024

/** The tensor of a payload; a contiguous one is a view of the payload. The CRC-32 is checked only when asked for. */
export const decodePayload = (payload: Payload, options?: DecodeOptions): Tensor => {
  const where = () => `tensor ${quote(payload.tensorId)}`
  let tensor: Tensor
  try {
    tensor = decodeTensor(payload.bytes, { ...options, verifyCrc: options?.verifyCrc ?? false })
  } catch (error) {
    if (!(error instanceof TensorDecodeError)) throw error
    throw new TensorDecodeError({ where: `${where()}: ${error.where}`, problem: error.problem })
  }
  checkMetadata(tensor, payload.metadata, where)
  const { byteLength, buffer } = payload.bytes
  if (byteLength > smallPayload && tensor.data.buffer === buffer && tensor.data.byteLength * wasteful < byteLength) {
    return make({ dtype: tensor.dtype, shape: tensor.shape, data: tensor.data.slice() })
  }
  return tensor
}
