/**
 * What chunk 0 of a tensor says of it: `shape` as Python prints a list, `dtype` as PyTorch prints it, `device`, and
 * `size_bytes`, the size of the whole serialized payload. The payload is the truth: shape and dtype are checked against it.
 */
import { isDType } from "../schema/DType.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { quote, refuse } from "./Work.ts"

/** The metadata of a message. */
export type Metadata = Readonly<Record<string, string>>

/** Names are few and short; a peer's message is no place to keep memory in. */
const maxMetadataLength = 64 * 1024

/** The metadata of a tensor to send; a sender's own entries come along but cannot replace these. */
export const metadataOf = (tensor: Tensor, payloadBytes: number, own?: Metadata): Record<string, string> => ({
  ...own,
  shape: `[${tensor.shape.join(", ")}]`,
  dtype: `torch.${tensor.dtype}`,
  device: "cpu",
  size_bytes: String(payloadBytes)
})

/** The size of a payload, from its metadata. Throws `TensorDecodeError` for metadata of no known form. */
export const payloadSize = (metadata: Metadata, where: () => string): number => {
  let length = 0
  for (const key in metadata) length += key.length + metadata[key]!.length
  if (length > maxMetadataLength) return refuse(where(), `has ${length} characters of metadata`)
  const text = metadata["size_bytes"]
  if (text === undefined) return refuse(where(), "has no size_bytes in the metadata of chunk 0")
  const size = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(size) || size === 0) return refuse(where(), `has size_bytes ${quote(text)}`)
  const { dtype, shape } = metadata
  if (dtype !== undefined && !(dtype.startsWith("torch.") && isDType(dtype.slice(6)))) {
    return refuse(where(), `has dtype ${quote(dtype)} in its metadata`)
  }
  if (shape !== undefined && !/^\[(\d{1,16}(, ?\d{1,16}){0,63})?\]$/.test(shape)) {
    return refuse(where(), `has shape ${quote(shape)} in its metadata`)
  }
  return size
}

/** Checks that a decoded tensor is what its metadata said. */
export const checkMetadata = (tensor: Tensor, metadata: Metadata, where: () => string): void => {
  const { dtype, shape } = metadata
  if (dtype !== undefined && dtype !== `torch.${tensor.dtype}`) {
    refuse(where(), `is ${tensor.dtype}; its metadata says ${quote(dtype)}`)
  }
  if (shape !== undefined && shape.replace(/[[\] ]/g, "") !== tensor.shape.join()) {
    refuse(where(), `has shape [${tensor.shape.join(", ")}]; its metadata says ${quote(shape)}`)
  }
}
