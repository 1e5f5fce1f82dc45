/**
 * Normally distributed noise, as `torch.randn` makes it (not the same numbers).
 *
 * The method is the ziggurat of Marsaglia and Tsang (Journal of Statistical Software 5(8), 2000) with 128 layers; layer and
 * position come from different bits of each draw, which their 2000 version did not do. The bits are those of xoshiro128++
 * (Blackman and Vigna, 2019), seeded through splitmix32.
 */
import { type DType, dtypeInfo } from "./DType.ts"
import { InvalidInput } from "./KpuError.ts"
import { allocationSize, make, type Tensor, toTypedArray } from "./Tensor.ts"
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

/** An endless source of 32-bit integers. */
const xoshiro = (seed: number): (() => number) => {
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
  let a = splitmix()
  let b = splitmix()
  let c = splitmix()
  let d = splitmix() | 1
  return () => {
    const sum = (a + d) | 0
    const result = (((sum << 7) | (sum >>> 25)) + a) | 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = (d << 11) | (d >>> 21)
    return result
  }
}

const fillNormal = (out: Float32Array | Float64Array, seed: number): void => {
  const next = xoshiro(seed)
  const uniform = () => ((next() >>> 0) + 0.5) / 2 ** 32
  for (let index = 0; index < out.length; index++) {
    for (;;) {
      const bits = next()
      const layer = bits & (layers - 1)
      // The upper 25 bits, signed: −1 … 1.
      const x = ((bits >> 7) + 0.5) * 2 ** -24 * edges[layer]!
      if (Math.abs(x) < edges[layer + 1]!) {
        out[index] = x
        break
      }
      if (layer === 0) {
        let away: number
        let height: number
        do {
          away = -Math.log(uniform()) / tail
          height = -Math.log(uniform())
        } while (height + height < away * away)
        out[index] = x < 0 ? -tail - away : tail + away
        break
      }
      const low = heights[layer]!
      if (low + uniform() * (heights[layer + 1]! - low) < Math.exp(-0.5 * x * x)) {
        out[index] = x
        break
      }
    }
  }
}

/** How `randn` is told what to make. */
export interface RandnOptions<D extends DType = DType> {
  /** The same seed gives the same tensor; without one, each is another. */
  readonly seed?: number | undefined
  /** A floating-point dtype; float32 by default. */
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
  const bytes = new Uint8Array(allocationSize(dtype, shape))
  const { kind } = dtypeInfo(dtype)
  if (kind !== "float" || dtype === "float8_e8m0fnu") {
    throw new InvalidInput({ field: "dtype", problem: `noise is made in a signed floating-point dtype, not ${dtype}` })
  }
  const tensor = make({ dtype, shape, data: bytes })
  const view = toTypedArray(tensor)
  if (view instanceof Float32Array || view instanceof Float64Array) {
    fillNormal(view, seed)
    return tensor
  }
  const numbers = new Float32Array(view.length)
  fillNormal(numbers, seed)
  return fromNumbers(numbers, { dtype, shape })
}
