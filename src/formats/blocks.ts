/** The elements of a tensor in blocks, for tensors that are larger than what one wants in memory. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type DType, dtypeInfo } from "../schema/DType.ts"
import type { TensorDecodeError } from "../schema/KpuError.ts"
import { make, type Tensor } from "../schema/Tensor.ts"
import type { ByteSource } from "./ByteSource.ts"

export interface BlockOptions {
  /** The most bytes of a block; 4 MiB by default. At least one element is in each. */
  readonly blockBytes?: number | undefined
}

/** Where a tensor's elements lie one after the other, as they are. */
export interface Range {
  readonly dtype: DType
  readonly start: number
  readonly byteLength: number
}

const defaultBlockBytes = 4 * 2 ** 20

const blockSize = (dtype: DType, options: BlockOptions | undefined): number => {
  const { itemsize } = dtypeInfo(dtype)
  return Math.max(1, Math.floor((options?.blockBytes ?? defaultBlockBytes) / itemsize)) * itemsize
}

const block = (dtype: DType, data: Uint8Array): Tensor =>
  make({ dtype, shape: [data.byteLength / dtypeInfo(dtype).itemsize], data })

/** Reads block after block. */
export const readBlocks = <E>(
  source: ByteSource<E>,
  { byteLength, dtype, start }: Range,
  options: BlockOptions | undefined
): Stream.Stream<Tensor, E | TensorDecodeError> => {
  const size = blockSize(dtype, options)
  return Stream.range(0, Math.ceil(byteLength / size) - 1).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((index) =>
      Effect.map(source.read(start + index * size, Math.min(size, byteLength - index * size)), (data) =>
        block(dtype, data)
      )
    )
  )
}

/** The blocks of a tensor that is in memory. */
export const blocksOf = ({ data, dtype }: Tensor, options: BlockOptions | undefined): Stream.Stream<Tensor> => {
  const size = blockSize(dtype, options)
  return Stream.range(0, Math.ceil(data.byteLength / size) - 1).pipe(
    Stream.rechunk(1),
    Stream.map((index) => block(dtype, data.subarray(index * size, (index + 1) * size)))
  )
}
