/** Assembled payloads to tensors, checked against the metadata that came with them. */
import { TensorDecodeError } from "../schema/KpuError.ts"
import type { Tensor } from "../schema/Tensor.ts"
import type { Payload } from "./Assembler.ts"
import { type DecodeOptions, decodeTensor } from "./Decoder.ts"
import { checkMetadata } from "./TensorMetadata.ts"
import { quote } from "./Work.ts"

/** The tensor of a payload; a contiguous one is a view of the payload. The CRC-32 is checked only when asked for. */
export const decodePayload = (payload: Payload, options?: DecodeOptions): Tensor => {
  const where = `tensor ${quote(payload.tensorId)}`
  let tensor: Tensor
  try {
    tensor = decodeTensor(payload.bytes, { ...options, verifyCrc: options?.verifyCrc ?? false })
  } catch (error) {
    if (!(error instanceof TensorDecodeError)) throw error
    throw new TensorDecodeError({ where: `${where}: ${error.where}`, problem: error.problem })
  }
  checkMetadata(tensor, payload.metadata, where)
  return tensor
}
