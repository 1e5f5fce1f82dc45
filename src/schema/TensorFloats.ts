/**
 * Numbers to and from the floating-point formats that JavaScript has no array for: bfloat16, float16 (before Node 24) and
 * the float8 family.
 *
 * Numbers go through float32 and round to the nearest, ties to even, as PyTorch's own casts do. What is too large becomes
 * infinity where the format has one and NaN where it has none (no saturation).
 *
 * Sources: float8 as in "FP8 Formats for Deep Learning" (arXiv 2209.05433), the `fnuz` kinds as in arXiv 2206.02915,
 * `e8m0fnu` as in the OCP Microscaling specification 1.0; bfloat16 is the upper half of a float32.
 */
import type { DType } from "./DType.ts"

const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)

/** The number that a bfloat16's bits stand for. */
export const fromBFloat16Bits = (bits: number): number => {
  u32[0] = bits << 16
  return f32[0]!
}

/** The bits of the bfloat16 nearest to a number. */
export const toBFloat16Bits = (value: number): number => {
  f32[0] = value
  const bits = u32[0]!
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

/** The number that a float16's bits stand for. */
export const fromFloat16Bits = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >>> 10) & 31
  const mantissa = bits & 1023
  if (exponent === 0) return sign * mantissa * 2 ** -24
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN
  return sign * (1024 + mantissa) * 2 ** (exponent - 25)
}

/** The bits of the float16 nearest to a number. */
export const toFloat16Bits = (value: number): number => {
  f32[0] = value
  const bits = u32[0]!
  const sign = (bits >>> 16) & 0x8000
  const size = Math.abs(f32[0])
  if (Number.isNaN(size)) return 0x7e00
  // 65520 lies halfway between the largest float16 and the next power of two: the tie goes to infinity.
  if (size >= 65520) return sign | 0x7c00
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24)
  const exponent = ((bits >>> 23) & 255) - 127
  const mantissa = roundEven(size * 2 ** (10 - exponent))
  return sign | (((exponent + 14) << 10) + mantissa)
}

const roundEven = (value: number): number => {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

interface Float8 {
  /** The number behind each of the 256 codes. */
  readonly values: Float32Array
  readonly encode: (value: number) => number
}

interface Float8Format {
  readonly exponentBits: number
  readonly bias: number
  /** `ieee`: infinities and NaNs at the top exponent; `fn`: one NaN at the top code; `fnuz`: one NaN at 0x80 and no −0. */
  readonly kind: "ieee" | "fn" | "fnuz"
}

const makeFloat8 = ({ bias, exponentBits, kind }: Float8Format): Float8 => {
  const mantissaBits = 7 - exponentBits
  const values = new Float32Array(256)
  // What the positive codes would stand for if none of them were NaN or infinity: they grow with the code, so that the
  // nearest is found by bisection, and code 128 is where overflow begins.
  const grid = new Float64Array(129)
  for (let code = 0; code <= 128; code++) {
    const exponent = code >>> mantissaBits
    const mantissa = code & ((1 << mantissaBits) - 1)
    grid[code] =
      exponent === 0
        ? mantissa * 2 ** (1 - bias - mantissaBits)
        : (mantissa + (1 << mantissaBits)) * 2 ** (exponent - bias - mantissaBits)
  }
  const firstSpecial = kind === "ieee" ? ((1 << exponentBits) - 1) << mantissaBits : kind === "fn" ? 127 : 128
  const nan = kind === "fnuz" ? 0x80 : 0x7f
  const overflow = kind === "ieee" ? firstSpecial : nan
  for (let code = 0; code < 128; code++) {
    const value = code < firstSpecial ? grid[code]! : kind === "ieee" && code === firstSpecial ? Infinity : Number.NaN
    values[code] = value
    values[code + 128] = -value
  }
  if (kind === "fnuz") values[0x80] = Number.NaN
  const encode = (value: number): number => {
    const single = Math.fround(value)
    if (Number.isNaN(single)) return nan
    const negative = single < 0 || Object.is(single, -0)
    const size = Math.abs(single)
    let low = 0
    let high = firstSpecial
    if (size >= grid[high]!) low = high
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (grid[middle]! <= size) low = middle
      else high = middle
    }
    if (low < firstSpecial) {
      const below = size - grid[low]!
      const above = grid[low + 1]! - size
      if (below > above || (below === above && low % 2 === 1)) low += 1
    }
    const code = low >= firstSpecial ? overflow : low
    if (kind === "fnuz" && (code === 0 || code === nan)) return code
    return negative ? code | 0x80 : code
  }
  return { values, encode }
}

const makeE8M0 = (): Float8 => {
  const values = new Float32Array(256)
  for (let code = 0; code < 255; code++) values[code] = 2 ** (code - 127)
  values[255] = Number.NaN
  const encode = (value: number): number => {
    f32[0] = value
    const bits = u32[0]!
    const exponent = (bits >>> 23) & 255
    if (exponent === 255) return 255
    const mantissa = bits & 0x7fffff
    // There is no sign and no zero. Halfway goes up, but not away from the smallest exponent.
    return mantissa > 0x400000 || (mantissa === 0x400000 && exponent > 0) ? exponent + 1 : exponent
  }
  return { values, encode }
}

const float8s = new Map<DType, Float8>()

const float8 = (dtype: DType): Float8 => {
  let format = float8s.get(dtype)
  if (format === undefined) {
    switch (dtype) {
      case "float8_e4m3fn":
        format = makeFloat8({ exponentBits: 4, bias: 7, kind: "fn" })
        break
      case "float8_e5m2":
        format = makeFloat8({ exponentBits: 5, bias: 15, kind: "ieee" })
        break
      case "float8_e4m3fnuz":
        format = makeFloat8({ exponentBits: 4, bias: 8, kind: "fnuz" })
        break
      case "float8_e5m2fnuz":
        format = makeFloat8({ exponentBits: 5, bias: 16, kind: "fnuz" })
        break
      default:
        format = makeE8M0()
    }
    float8s.set(dtype, format)
  }
  return format
}

/** The 256 numbers behind the codes of a float8 dtype. */
export const float8Values = (dtype: DType): Float32Array => float8(dtype).values

/** The code of the float8 nearest to a number. */
export const float8Encoder = (dtype: DType): ((value: number) => number) => float8(dtype).encode
