/** placeholder until the tensor's own module lands */
export interface Tensor {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}
