/**
 * Normally distributed noise, as `torch.randn` makes it (not the same numbers).
 *
 * The method is the ziggurat of Marsaglia and Tsang (Journal of Statistical Software 5(8), 2000) with 128 layers; layer and
 * position come from different bits of each draw, which their 2000 version did not do. The bits are those of xoshiro128++
 * (Blackman and Vigna, 2019), seeded through splitmix32.
 */
import { type DType, dtypeInfo } from "./DType.ts"
import { InvalidInput } from "./KpuError.ts"
import { allocateElements, make, type Tensor, toTypedArray } from "./Tensor.ts"
import { fromNumbers } from "./TensorElements.ts"

const layers = 128
/** Where the tail begins, and the area of each layer, for 128 layers. */
const tail = 3.442619855899
const area = 9.91256303526217e-3

const edges = new Float64Array(layers + 1)
const heights = new Float64Array(layers + 1)
edges[0] = area / Math.exp(-0.5 * tail * tail)
edges[1] = tail
for (let layer = 2; layer < layers; layer++) {
  const x = edges[layer - 1]!
  edges[layer] = Math.sqrt(-2 * Math.log(area / x + Math.exp(-0.5 * x * x)))
}
edges[layers] = 0
for (let layer = 0; layer <= layers; layer++) heights[layer] = Math.exp(-0.5 * edges[layer]! * edges[layer]!)

/** Four words of state from a seed, not all zero. */
const seedState = (seed: number): Int32Array => {
  const words = new Uint32Array(new Float64Array([seed]).buffer)
  let state = (words[0]! ^ Math.imul(words[1]!, 0x9e3779b9)) | 0
  const splitmix = (): number => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return z ^ (z >>> 15)
  }
  return Int32Array.of(splitmix(), splitmix(), splitmix(), splitmix() | 1)
}

/** One step of the generator, for the draws outside of the hot loop. */
const nextWord = (state: Int32Array): number => {
  const a = state[0]!
  const b = state[1]!
  const c = state[2]! ^ a
  const d = state[3]! ^ b
  const sum = (a + state[3]!) | 0
  state[0] = a ^ d
  state[1] = b ^ c
  state[2] = c ^ (b << 9)
  state[3] = (d << 11) | (d >>> 21)
  return (((sum << 7) | (sum >>> 25)) + a) | 0
}

const uniform = (state: Int32Array): number => ((nextWord(state) >>> 0) + 0.5) / 2 ** 32

/** Beyond the last layer's edge. */
const drawTail = (state: Int32Array): number => {
  for (;;) {
    const away = -Math.log(uniform(state)) / tail
    const height = -Math.log(uniform(state))
    if (height + height >= away * away) return tail + away
  }
}

const fillNormal = (out: Float32Array | Float64Array, seed: number): void => {
  const state = seedState(seed)
  // The state is kept in locals, the step written out: a call per number made it twice as slow.
  let a = state[0]!
  let b = state[1]!
  let c = state[2]!
  let d = state[3]!
  for (let index = 0; index < out.length; ) {
    const sum = (a + d) | 0
    const bits = (((sum << 7) | (sum >>> 25)) + a) | 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << 11) | (d >>> 21)
    const layer = bits & (layers - 1)
    // The upper 25 bits, signed: −1 … 1.
    const x = ((bits >> 7) + 0.5) * 2 ** -24 * edges[layer]!
    if (Math.abs(x) < edges[layer + 1]!) {
      out[index++] = x
      continue
    }
    state[0] = a
    state[1] = b
    state[2] = c
    state[3] = d
    if (layer === 0) {
      const far = drawTail(state)
      out[index++] = x < 0 ? -far : far
    } else {
      const low = heights[layer]!
      if (low + uniform(state) * (heights[layer + 1]! - low) < Math.exp(-0.5 * x * x)) out[index++] = x
    }
    a = state[0]!
    b = state[1]!
    c = state[2]!
    d = state[3]!
  }
}

/** How `randn` is told what to make. */
export interface RandnOptions<D extends DType = DType> {
  /** The same seed gives the same tensor; without one, each is another. */
  readonly seed?: number | undefined
  /** A floating-point or complex dtype; float32 by default. */
  readonly dtype?: D | undefined
}

/**
 * A tensor of noise with mean 0 and variance 1.
 *
 * @example `Tensor.randn([100, 100], { seed: 42 })`
 */
export const randn = <const D extends DType = "float32">(
  shape: ReadonlyArray<number>,
  options?: RandnOptions<D>
): Tensor<D> => {
  const seed = options?.seed ?? Math.random() * 2 ** 53
  if (typeof seed !== "number" || !Number.isFinite(seed)) {
    throw new InvalidInput({ field: "seed", problem: "must be a finite number" })
  }
  const dtype = options?.dtype ?? ("float32" as D)
  const data = allocateElements(dtype, shape)
  const { kind } = dtypeInfo(dtype)
  if ((kind !== "float" && kind !== "complex") || dtype === "float8_e8m0fnu") {
    throw new InvalidInput({ field: "dtype", problem: `noise is made in a signed floating-point dtype, not ${dtype}` })
  }
  const tensor = make({ dtype, shape, data })
  const view = toTypedArray(tensor)
  const numbers = view instanceof Float32Array || view instanceof Float64Array ? view : new Float32Array(view.length)
  fillNormal(numbers, seed)
  // A complex number's variance is the sum of its parts'.
  if (kind === "complex") for (let index = 0; index < numbers.length; index++) numbers[index]! *= Math.SQRT1_2
  return numbers === view ? tensor : fromNumbers(numbers, { dtype, shape })
}
