/**
 * Writes the pickles of `torch.save`: protocol 2, tensors as reductions around persistent ids of their storages.
 *
 * Source: Python's `pickletools`, whose names the opcodes have here.
 */
import { type DType, dtypeInfo } from "../schema/DType.ts"
import { ByteWriter } from "./ByteWriter.ts"

/** The strides of a contiguous tensor, in elements, as PyTorch computes them: a size of zero counts as one. */
export const contiguousStrides = (shape: ReadonlyArray<number>): Array<number> => {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride *= Math.max(shape[axis]!, 1)
  }
  return strides
}

/** Builds one pickle. */
export class Pickler {
  private readonly out = new ByteWriter()
  private memoSize = 0
  private readonly memo = new Map<string, number>()

  constructor() {
    // PROTO 2
    this.push(0x80, 2)
  }

  /** A tensor over storage `key`, which holds exactly its elements. */
  tensor(key: string, dtype: DType, shape: ReadonlyArray<number>): void {
    const info = dtypeInfo(dtype)
    const numel = shape.reduce((product, size) => product * size, 1)
    const untyped = info.storage === undefined
    this.global("torch._utils", untyped ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2")
    this.push(0x28, 0x28) // MARK, MARK
    this.string("storage")
    if (untyped) this.global("torch.storage", "UntypedStorage")
    else this.global("torch", info.storage!)
    this.string(key)
    this.string("cpu")
    this.int(untyped ? numel * info.itemsize : numel)
    this.push(0x74) // TUPLE
    this.put()
    this.push(0x51) // BINPERSID
    this.int(0)
    this.sizes(shape)
    this.sizes(contiguousStrides(shape))
    this.push(0x89) // NEWFALSE: requires_grad
    this.global("collections", "OrderedDict")
    this.push(0x29, 0x52) // EMPTY_TUPLE, REDUCE
    this.put()
    if (untyped) this.global("torch", dtype)
    this.push(0x74) // TUPLE
    this.put()
    this.push(0x52) // REDUCE
    this.put()
  }

  /** A dict: `entry` for each of its entries writes the key and the value. */
  dict(count: number, entry: (index: number) => void): void {
    this.push(0x7d) // EMPTY_DICT
    this.put()
    this.batches(count, 0x75, entry) // SETITEMS
  }

  /** A list: `item` for each index writes the item. */
  list(count: number, item: (index: number) => void): void {
    this.push(0x5d) // EMPTY_LIST
    this.put()
    this.batches(count, 0x65, item) // APPENDS
  }

  string(value: string): void {
    const key = `s${value}`
    if (this.get(key)) return
    this.out.u8(0x58) // BINUNICODE
    this.out.u32(Buffer.byteLength(value))
    this.out.text(value)
    this.put(key)
  }

  /** The pickle. */
  finish(): Uint8Array {
    this.push(0x2e) // STOP
    return this.out.take()
  }

  private batches(count: number, opcode: number, write: (index: number) => void): void {
    // Python's unpicklers keep a batch on their stack; its picklers end one after a thousand.
    for (let start = 0; start < count; start += 1000) {
      this.push(0x28) // MARK
      for (let index = start; index < Math.min(count, start + 1000); index++) write(index)
      this.push(opcode)
    }
  }

  private global(module: string, name: string): void {
    const key = `g${module} ${name}`
    if (this.get(key)) return
    this.push(0x63) // GLOBAL
    this.out.text(`${module}\n${name}\n`)
    this.put(key)
  }

  private sizes(sizes: ReadonlyArray<number>): void {
    if (sizes.length === 0) {
      this.push(0x29) // EMPTY_TUPLE
      return
    }
    if (sizes.length > 3) this.push(0x28) // MARK
    for (const size of sizes) this.int(size)
    this.push(sizes.length > 3 ? 0x74 : 0x84 + sizes.length) // TUPLE, TUPLE1 … TUPLE3
    this.put()
  }

  private int(value: number): void {
    if (value < 0x100)
      this.push(0x4b, value) // BININT1
    else if (value < 0x10000) {
      this.push(0x4d) // BININT2
      this.out.u16(value)
    } else if (value < 0x80000000) {
      this.push(0x4a) // BININT
      this.out.u32(value)
    } else {
      const bytes: Array<number> = []
      for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.push(rest % 256)
      if (bytes[bytes.length - 1]! >= 0x80) bytes.push(0)
      this.push(0x8a, bytes.length) // LONG1
      for (const byte of bytes) this.out.u8(byte)
    }
  }

  /** Remembers the top of the stack, under a name where it may come again. */
  private put(name?: string): void {
    const index = this.memoSize++
    if (name !== undefined) this.memo.set(name, index)
    if (index < 256)
      this.push(0x71, index) // BINPUT
    else {
      this.push(0x72) // LONG_BINPUT
      this.out.u32(index)
    }
  }

  private get(name: string): boolean {
    const index = this.memo.get(name)
    if (index === undefined) return false
    if (index < 256)
      this.push(0x68, index) // BINGET
    else {
      this.push(0x6a) // LONG_BINGET
      this.out.u32(index)
    }
    return true
  }

  private push(opcode: number, argument?: number): void {
    this.out.u8(opcode)
    if (argument !== undefined) this.out.u8(argument)
  }
}
