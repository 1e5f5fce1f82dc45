/**
 * Reads the pickles of `torch.save` as data. It is no unpickler: it knows the opcodes and the globals that PyTorch writes
 * for tensors, dicts and lists, builds plain values of its own from them, and refuses all else by name. Nothing of a
 * pickle is ever called, imported or looked up in the running program.
 *
 * **Details**
 *
 * Work is one step per opcode and one byte per byte of text. Nothing is repeated, so a short pickle cannot make a large
 * value. Values can still share parts (that is what the memo is for): whoever walks them counts steps. An opcode of one
 * byte can make an object of a hundred, so opcodes and containers have limits of their own beside the pickle's size.
 */
import { type DType, type DTypeInfo, dtypeInfo, dtypeOfStorage, isDType } from "../schema/DType.ts"
import { opcodeName } from "./PickleOpcodes.ts"
import { quote, refuse, type Work } from "./Work.ts"

/** A tuple. */
export class PickleTuple {
  readonly items: ReadonlyArray<PickleValue>
  constructor(items: ReadonlyArray<PickleValue>) {
    this.items = items
  }
}

const emptyTuple = new PickleTuple([])

/** A list. */
export class PickleList {
  readonly items: Array<PickleValue> = []
}

/** What a dict's key can be. */
export type PickleKey = string | number | bigint | boolean

const noEntries: ReadonlyMap<PickleKey, PickleValue> = new Map()

/** A dict or an OrderedDict. */
export class PickleDict {
  /** One empty map for all empty dicts: every tensor has one for its hooks. */
  entries: ReadonlyMap<PickleKey, PickleValue> = noEntries
  readonly ordered: boolean
  constructor(ordered: boolean) {
    this.ordered = ordered
  }
  set(key: PickleKey, value: PickleValue): void {
    if (this.entries === noEntries) this.entries = new Map()
    ;(this.entries as Map<PickleKey, PickleValue>).set(key, value)
  }
}

/** One of the few globals that are known. */
export class PickleGlobal {
  readonly module: string
  readonly name: string
  constructor(module: string, name: string) {
    this.module = module
    this.name = name
  }
}

/** A storage: the record `data/KEY`. */
export class StorageRef {
  readonly key: string
  /** What its class says of the elements; none for untyped bytes. */
  readonly info: DTypeInfo | undefined
  /** In elements, or in bytes for untyped storages. */
  readonly numel: number
  constructor(key: string, info: DTypeInfo | undefined, numel: number) {
    this.key = key
    this.info = info
    this.numel = numel
  }
}

/** A tensor: a window on a storage. Sizes and strides are as the pickle has them, not yet checked against the storage. */
export class TensorRef {
  readonly storage: StorageRef
  readonly dtype: DType
  readonly offset: number
  readonly shape: ReadonlyArray<number>
  readonly strides: ReadonlyArray<number>
  readonly requiresGrad: boolean
  /** The elements are stored unconjugated, or unnegated. */
  readonly conj: boolean
  readonly neg: boolean
  constructor(fields: TensorRef) {
    this.storage = fields.storage
    this.dtype = fields.dtype
    this.offset = fields.offset
    this.shape = fields.shape
    this.strides = fields.strides
    this.requiresGrad = fields.requiresGrad
    this.conj = fields.conj
    this.neg = fields.neg
  }
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleGlobal
  | StorageRef
  | TensorRef

/** What a pickle's value is, for a message. */
export const describe = (value: PickleValue): string => {
  if (value instanceof TensorRef) return "a tensor"
  if (value instanceof PickleDict) return `a dict of ${value.entries.size}`
  if (value instanceof PickleList) return `a list of ${value.items.length}`
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`
  if (value instanceof PickleGlobal) return `${value.module}.${value.name}`
  if (value instanceof StorageRef) return "a storage"
  return value === null ? "None" : typeof value === "string" ? "a string" : `a ${typeof value}`
}

/** How deep a pickle may nest while it is read. PyTorch's own nest four deep; models' metadata a few more. */
const maxMarks = 256
/** The most opcodes: 200,000 tensors have as many. */
const maxOpcodes = 2 ** 23
/** The most lists, dicts and tuples: a tensor has five. */
const maxContainers = 2 ** 20
/** The longest name of a module or a global. */
const maxGlobalLength = 256
/** PyTorch's own limit on dimensions. */
export const maxRank = 64

const rebuildFunctions = new Set(["_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter"])

const isKnown = (module: string, name: string): boolean => {
  switch (module) {
    case "torch._utils":
      return rebuildFunctions.has(name)
    case "collections":
      return name === "OrderedDict"
    case "torch.storage":
      return name === "UntypedStorage"
    case "torch":
      return dtypeOfStorage(name) !== undefined || isDType(name)
    default:
      return false
  }
}

/** What a global that is not known stands for, where people are likely to meet it. */
const hint = (module: string, name: string): string => {
  if (module === "torch._utils" || module === "torch._tensor") {
    if (name.includes("sparse")) return "a sparse tensor; save x.to_dense()"
    if (name.includes("qtensor")) return "a quantized tensor; save x.dequantize() or x.int_repr()"
    if (name.includes("nested")) return "a nested tensor; save its parts"
    if (name.includes("meta")) return "a meta tensor, which has no elements"
    if (name === "_rebuild_from_type_v2")
      return "a tensor with Python attributes, or of a subclass; save x.detach().clone()"
    if (name === "_rebuild_parameter_with_state") return "a Parameter with Python attributes; save x.detach()"
  }
  if (module.startsWith("numpy")) return "a NumPy object; save torch.from_numpy(x)"
  if (module === "torch" && /^Q|^qu?int|Quant/.test(name))
    return "a quantized tensor; save x.dequantize() or x.int_repr()"
  if (module === "torch" && /^(float4|bits|u?int[1-7]$)/.test(name))
    return "a packed dtype, whose elements are no bytes"
  if (module === "torch" && name === "Size") return "a torch.Size; save tuple(size)"
  if (module === "torch" && name === "device") return "a torch.device; save str(device)"
  return "a Python object; only tensors, and dicts and lists of them, are read"
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** What is read, and where errors say that it was. */
export interface UnpickleOptions {
  readonly where: string
  readonly work: Work
}

/** Reads one pickle. Throws `TensorDecodeError`. */
export const unpickle = (bytes: Uint8Array, { where, work }: UnpickleOptions): PickleValue =>
  new Machine(bytes, where, work).run()

class Machine {
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private readonly where: string
  private readonly work: Work
  private at = 0
  /** Where the opcode that is being executed begins. */
  private opcodeAt = 0
  private stack: Array<PickleValue> = []
  private readonly marks: Array<Array<PickleValue>> = []
  private readonly memo = new Map<number, PickleValue>()
  private containers = 0

  constructor(bytes: Uint8Array, where: string, work: Work) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.where = where
    this.work = work
  }

  run(): PickleValue {
    if (this.bytes.byteLength < 2 || this.bytes[0] !== 0x80) this.fail("does not begin as a pickle of protocol 2 does")
    for (let opcodes = 0; ; opcodes++) {
      this.opcodeAt = this.at
      if (opcodes === maxOpcodes) this.fail(`has more than ${maxOpcodes} opcodes`)
      const opcode = this.byte()
      this.work.opcodes++
      switch (opcode) {
        case 0x80: {
          const protocol = this.byte()
          if (protocol !== 2) this.fail(`is of pickle protocol ${protocol}; torch.save writes 2`)
          break
        }
        case 0x28: // MARK
          if (this.marks.length === maxMarks) this.fail(`nests deeper than ${maxMarks}`)
          this.marks.push(this.stack)
          this.stack = []
          break
        case 0x2e: {
          // STOP
          const value = this.pop()
          if (this.stack.length > 0 || this.marks.length > 0) this.fail("stops with values left over")
          this.work.bytes += this.at
          return value
        }
        case 0x4e:
          this.stack.push(null)
          break
        case 0x88:
          this.stack.push(true)
          break
        case 0x89:
          this.stack.push(false)
          break
        case 0x4b: // BININT1
          this.stack.push(this.byte())
          break
        case 0x4d: // BININT2
          this.stack.push(this.view.getUint16(this.take(2), true))
          break
        case 0x4a: // BININT
          this.stack.push(this.view.getInt32(this.take(4), true))
          break
        case 0x8a: // LONG1
          this.stack.push(this.long())
          break
        case 0x47: // BINFLOAT
          this.stack.push(this.view.getFloat64(this.take(8), false))
          break
        case 0x58: // BINUNICODE
          this.stack.push(this.text(this.view.getUint32(this.take(4), true)))
          break
        case 0x29: // EMPTY_TUPLE
          this.stack.push(emptyTuple)
          break
        case 0x85:
        case 0x86:
        case 0x87: {
          const count = opcode - 0x84
          if (this.stack.length < count) this.fail("takes more values than there are")
          this.contain(new PickleTuple(this.stack.splice(this.stack.length - count)))
          break
        }
        case 0x74: {
          // TUPLE
          const items = this.popMark()
          this.contain(new PickleTuple(items))
          break
        }
        case 0x5d: // EMPTY_LIST
          this.contain(new PickleList())
          break
        case 0x7d: // EMPTY_DICT
          this.contain(new PickleDict(false))
          break
        case 0x61: {
          // APPEND
          const item = this.pop()
          this.list().push(item)
          break
        }
        case 0x65: {
          // APPENDS
          const items = this.popMark()
          const list = this.list()
          for (const item of items) list.push(item)
          break
        }
        case 0x73: {
          // SETITEM
          const value = this.pop()
          const key = this.pop()
          this.set(this.dict(), key, value)
          break
        }
        case 0x75: {
          // SETITEMS
          const items = this.popMark()
          if (items.length % 2 !== 0) this.fail("sets a key without a value")
          const dict = this.dict()
          for (let index = 0; index < items.length; index += 2) this.set(dict, items[index]!, items[index + 1]!)
          break
        }
        case 0x71: // BINPUT
          this.put(this.byte())
          break
        case 0x72: // LONG_BINPUT
          this.put(this.view.getUint32(this.take(4), true))
          break
        case 0x68: // BINGET
          this.get(this.byte())
          break
        case 0x6a: // LONG_BINGET
          this.get(this.view.getUint32(this.take(4), true))
          break
        case 0x63: // GLOBAL
          this.global()
          break
        case 0x51: // BINPERSID
          this.stack.push(this.storage(this.pop()))
          break
        case 0x52: {
          // REDUCE
          const args = this.pop()
          const callable = this.pop()
          this.contain(this.reduce(callable, args))
          break
        }
        case 0x62: {
          // BUILD: a state dict's `_metadata`, which says nothing of its tensors.
          const state = this.pop()
          const target = this.stack[this.stack.length - 1]
          if (!(target instanceof PickleDict && target.ordered && state instanceof PickleDict)) {
            this.fail("sets the state of something that is not an OrderedDict")
          }
          break
        }
        default:
          this.fail(`has opcode ${opcodeName(opcode)}, which torch.save does not write for tensors`)
      }
    }
  }

  private fail(problem: string): never {
    return refuse(`${this.where} at byte ${this.opcodeAt}`, problem)
  }

  /** Puts something on the stack that takes more memory than its opcodes do. */
  private contain(value: PickleValue): void {
    if (++this.containers > maxContainers) this.fail(`has more than ${maxContainers} lists, dicts and tuples`)
    this.stack.push(value)
  }

  private take(count: number): number {
    const at = this.at
    if (at + count > this.bytes.byteLength) this.fail("ends in the middle")
    this.at = at + count
    return at
  }

  private byte(): number {
    return this.bytes[this.take(1)]!
  }

  private text(length: number): string {
    const at = this.take(length)
    try {
      return utf8.decode(this.bytes.subarray(at, at + length))
    } catch {
      return this.fail("has text that is not UTF-8")
    }
  }

  private long(): number | bigint {
    const length = this.byte()
    const at = this.take(length)
    if (length > 16) this.fail(`has an integer of ${length} bytes`)
    let value = 0n
    for (let index = length - 1; index >= 0; index--) value = (value << 8n) | BigInt(this.bytes[at + index]!)
    if (length > 0 && this.bytes[at + length - 1]! >= 0x80) value -= 1n << BigInt(length * 8)
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  private line(): string {
    const end = this.bytes.subarray(this.at, this.at + maxGlobalLength + 1).indexOf(0x0a)
    if (end < 0) this.fail("names a global that does not end")
    const text = this.text(end)
    this.at++
    return text
  }

  private global(): void {
    const module = this.line()
    const name = this.line()
    if (!isKnown(module, name)) {
      this.fail(`has global ${quote(`${module} ${name}`)}: ${hint(module, name)}`)
    }
    this.stack.push(new PickleGlobal(module, name))
  }

  private pop(): PickleValue {
    const value = this.stack.pop()
    if (value === undefined) return this.fail("takes more values than there are")
    return value
  }

  private popMark(): Array<PickleValue> {
    const below = this.marks.pop()
    if (below === undefined) return this.fail("goes back to a mark that is not there")
    const items = this.stack
    this.stack = below
    return items
  }

  private list(): Array<PickleValue> {
    const target = this.stack[this.stack.length - 1]
    if (!(target instanceof PickleList)) return this.fail("appends to something that is not a list")
    return target.items
  }

  private dict(): PickleDict {
    const target = this.stack[this.stack.length - 1]
    if (!(target instanceof PickleDict)) return this.fail("sets an item of something that is not a dict")
    return target
  }

  private set(dict: PickleDict, key: PickleValue, value: PickleValue): void {
    if (key === null || typeof key === "object") this.fail("has a key that is neither text nor a number")
    dict.set(key, value)
  }

  private put(index: number): void {
    const top = this.stack[this.stack.length - 1]
    if (top === undefined) this.fail("remembers a value that is not there")
    this.memo.set(index, top)
  }

  private get(index: number): void {
    const value = this.memo.get(index)
    if (value === undefined) this.fail(`recalls value ${index}, which was not remembered`)
    this.stack.push(value)
  }

  private storage(id: PickleValue): StorageRef {
    if (!(id instanceof PickleTuple) || id.items.length !== 5) return this.fail("has a persistent id of no known form")
    const [tag, type, key, location, numel] = id.items
    if (
      tag !== "storage" ||
      !(type instanceof PickleGlobal) ||
      typeof key !== "string" ||
      typeof location !== "string"
    ) {
      return this.fail("has a persistent id of no known form")
    }
    const info = dtypeOfStorage(type.name)
    if (info === undefined && type.name !== "UntypedStorage") {
      return this.fail(`has a storage of class ${quote(`${type.module} ${type.name}`)}`)
    }
    return new StorageRef(key, info, this.count(numel, "the storage's numel"))
  }

  private reduce(callable: PickleValue, args: PickleValue): PickleValue {
    if (!(callable instanceof PickleGlobal) || !(args instanceof PickleTuple)) {
      return this.fail("calls something that is not a function")
    }
    switch (callable.name) {
      case "OrderedDict":
        if (args.items.length !== 0) this.fail("makes an OrderedDict from arguments")
        return new PickleDict(true)
      case "_rebuild_tensor_v2":
        return this.tensor(callable.name, args.items, false)
      case "_rebuild_tensor_v3":
        return this.tensor(callable.name, args.items, true)
      case "_rebuild_parameter":
        return this.parameter(args.items)
      default:
        return this.fail(`calls ${quote(`${callable.module} ${callable.name}`)}, which is not a function`)
    }
  }

  private tensor(name: string, args: ReadonlyArray<PickleValue>, v3: boolean): TensorRef {
    const plain = v3 ? 7 : 6
    if (args.length !== plain && args.length !== plain + 1) this.fail(`calls ${name} with ${args.length} arguments`)
    const [storage, offset, shape, strides, requiresGrad, hooks] = args
    if (!(storage instanceof StorageRef)) return this.fail(`calls ${name} without a storage`)
    let dtype = storage.info?.name
    if (v3) {
      const type = args[6]
      if (!(type instanceof PickleGlobal) || type.module !== "torch" || !isDType(type.name)) {
        return this.fail(`calls ${name} without a dtype`)
      }
      if (dtype !== undefined && dtype !== type.name) {
        return this.fail(`has a tensor of ${type.name} over a storage of ${dtype}`)
      }
      dtype = type.name
    }
    if (dtype === undefined) return this.fail(`calls ${name} with an untyped storage`)
    if (typeof requiresGrad !== "boolean") this.fail(`calls ${name} with a wrong requires_grad`)
    this.checkHooks(hooks)
    const metadata = args[plain]
    let conj = false
    let neg = false
    if (metadata instanceof PickleDict) {
      for (const [key, value] of metadata.entries) {
        if (key === "conj" && typeof value === "boolean") conj = value
        else if (key === "neg" && typeof value === "boolean") neg = value
        else this.fail(`has a tensor with metadata ${quote(String(key))}`)
      }
    } else if (metadata !== undefined && metadata !== null) this.fail(`calls ${name} with wrong metadata`)
    const { kind, unit } = dtypeInfo(dtype)
    if (conj && kind !== "complex") this.fail(`has a conjugated tensor of ${dtype}`)
    if (neg && ((kind !== "float" && kind !== "complex") || unit === 1)) {
      this.fail(`has a negated tensor of ${dtype}`)
    }
    const ref = {
      storage,
      dtype,
      offset: this.count(offset, "a storage offset"),
      shape: this.counts(shape, "a size"),
      strides: this.counts(strides, "a stride"),
      requiresGrad: requiresGrad === true,
      conj,
      neg
    }
    if (ref.shape.length !== ref.strides.length) {
      this.fail(`has a tensor of ${ref.shape.length} sizes and ${ref.strides.length} strides`)
    }
    return new TensorRef(ref)
  }

  private parameter(args: ReadonlyArray<PickleValue>): TensorRef {
    const [data, requiresGrad, hooks] = args
    if (args.length !== 3 || !(data instanceof TensorRef) || typeof requiresGrad !== "boolean") {
      return this.fail("calls _rebuild_parameter without a tensor")
    }
    this.checkHooks(hooks)
    return new TensorRef({ ...data, requiresGrad })
  }

  private checkHooks(hooks: PickleValue | undefined): void {
    if (hooks !== null && !(hooks instanceof PickleDict && hooks.entries.size === 0)) {
      this.fail("has a tensor with backward hooks")
    }
  }

  private count(value: PickleValue | undefined, what: string): number {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) {
      return this.fail(`has ${typeof value === "number" || typeof value === "bigint" ? value : "no number"} as ${what}`)
    }
    return value
  }

  private counts(value: PickleValue | undefined, what: string): ReadonlyArray<number> {
    if (!(value instanceof PickleTuple)) return this.fail(`has no tuple for ${what}`)
    if (value.items.length > maxRank) this.fail(`has a tensor of ${value.items.length} dimensions`)
    return value.items.map((item) => this.count(item, what))
  }
}
