/**
 * The element types of tensors, under PyTorch's names without `torch.`, and what each one is in memory.
 *
 * **Gotchas**
 *
 * JavaScript has no array for bfloat16, the float8 family and (before Node 24) float16: their views hold the raw bits, and
 * `Tensor.toFloat32Array` gives numbers. Complex dtypes are viewed as real, imaginary, real, imaginary, …
 */
import * as Schema from "effect/Schema"

/** Every dtype that a tensor may have here. */
export const dtypes = [
  "float64",
  "float32",
  "float16",
  "bfloat16",
  "float8_e4m3fn",
  "float8_e5m2",
  "float8_e4m3fnuz",
  "float8_e5m2fnuz",
  "float8_e8m0fnu",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "bool",
  "complex32",
  "complex64",
  "complex128"
] as const

/**
 * A dtype's name: PyTorch's, without `torch.`.
 *
 * @example `const dtype: DType = "bfloat16"`
 */
export const DType = Schema.Literals(dtypes)
export type DType = (typeof dtypes)[number]

/** `Float16Array` where the runtime's types have it, otherwise the raw bits. */
export type Float16View = typeof globalThis extends { Float16Array: { new (length: number): infer A } }
  ? A
  : Uint16Array<ArrayBufferLike>

/** The typed array that views each dtype's elements. */
export interface DTypeViews {
  readonly float64: Float64Array
  readonly float32: Float32Array
  readonly float16: Float16View
  readonly bfloat16: Uint16Array
  readonly float8_e4m3fn: Uint8Array
  readonly float8_e5m2: Uint8Array
  readonly float8_e4m3fnuz: Uint8Array
  readonly float8_e5m2fnuz: Uint8Array
  readonly float8_e8m0fnu: Uint8Array
  readonly int8: Int8Array
  readonly int16: Int16Array
  readonly int32: Int32Array
  readonly int64: BigInt64Array
  readonly uint8: Uint8Array
  readonly uint16: Uint16Array
  readonly uint32: Uint32Array
  readonly uint64: BigUint64Array
  readonly bool: Uint8Array
  readonly complex32: Float16View
  readonly complex64: Float32Array
  readonly complex128: Float64Array
}

/** The typed array that views the elements of dtype `D`. */
export type TypedArrayOf<D extends DType> = DTypeViews[D]

/** Any typed array that a tensor's elements can come from or go to. */
export type AnyTypedArray = DTypeViews[DType] | Uint8ClampedArray

/** A typed array's class, as far as it is needed here. */
export interface TypedArrayClass {
  new (length: number): AnyTypedArray
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): AnyTypedArray
  readonly BYTES_PER_ELEMENT: number
  readonly name: string
}

/** What a dtype is in memory and in PyTorch's files. */
export interface DTypeInfo {
  readonly name: DType
  readonly kind: "float" | "int" | "uint" | "bool" | "complex"
  /** Bytes of one element. */
  readonly itemsize: number
  /** Bytes of the unit whose byte order counts: a complex element has two of them. */
  readonly unit: number
  /** PyTorch's storage class (`torch FloatStorage`); none for the dtypes that are stored as untyped bytes. */
  readonly storage: string | undefined
  /** The class of the view. */
  readonly array: TypedArrayClass
}

const float16Array: TypedArrayClass =
  (globalThis as { Float16Array?: unknown }).Float16Array === undefined
    ? Uint16Array
    : ((globalThis as unknown as { Float16Array: TypedArrayClass }).Float16Array as TypedArrayClass)

/** Whether the runtime has `Float16Array` (Node 24); otherwise float16 and complex32 are viewed as raw bits. */
export const hasFloat16Array: boolean = float16Array !== Uint16Array

const info = (
  name: DType,
  kind: DTypeInfo["kind"],
  itemsize: number,
  array: TypedArrayClass,
  storage?: string
): DTypeInfo => ({ name, kind, itemsize, unit: kind === "complex" ? itemsize / 2 : itemsize, storage, array })

const table: { readonly [D in DType]: DTypeInfo } = {
  float64: info("float64", "float", 8, Float64Array, "DoubleStorage"),
  float32: info("float32", "float", 4, Float32Array, "FloatStorage"),
  float16: info("float16", "float", 2, float16Array, "HalfStorage"),
  bfloat16: info("bfloat16", "float", 2, Uint16Array, "BFloat16Storage"),
  float8_e4m3fn: info("float8_e4m3fn", "float", 1, Uint8Array),
  float8_e5m2: info("float8_e5m2", "float", 1, Uint8Array),
  float8_e4m3fnuz: info("float8_e4m3fnuz", "float", 1, Uint8Array),
  float8_e5m2fnuz: info("float8_e5m2fnuz", "float", 1, Uint8Array),
  float8_e8m0fnu: info("float8_e8m0fnu", "float", 1, Uint8Array),
  int8: info("int8", "int", 1, Int8Array, "CharStorage"),
  int16: info("int16", "int", 2, Int16Array, "ShortStorage"),
  int32: info("int32", "int", 4, Int32Array, "IntStorage"),
  int64: info("int64", "int", 8, BigInt64Array, "LongStorage"),
  uint8: info("uint8", "uint", 1, Uint8Array, "ByteStorage"),
  uint16: info("uint16", "uint", 2, Uint16Array),
  uint32: info("uint32", "uint", 4, Uint32Array),
  uint64: info("uint64", "uint", 8, BigUint64Array),
  bool: info("bool", "bool", 1, Uint8Array, "BoolStorage"),
  complex32: info("complex32", "complex", 4, float16Array),
  complex64: info("complex64", "complex", 8, Float32Array, "ComplexFloatStorage"),
  complex128: info("complex128", "complex", 16, Float64Array, "ComplexDoubleStorage")
}

/** Whether a value is a dtype's name. */
export const isDType = (value: unknown): value is DType => typeof value === "string" && Object.hasOwn(table, value)

/** What a dtype is in memory and in PyTorch's files. */
export const dtypeInfo = (dtype: DType): DTypeInfo => table[dtype]

/** Bytes of one element. */
export const itemsize = (dtype: DType): number => table[dtype].itemsize

const byStorage = new Map<string, DTypeInfo>(
  dtypes.flatMap((name) => {
    const entry = table[name]
    return entry.storage === undefined ? [] : [[entry.storage, entry] as const]
  })
)

/** The dtype of a PyTorch storage class, such as `FloatStorage`. */
export const dtypeOfStorage = (storageClass: string): DTypeInfo | undefined => byStorage.get(storageClass)
