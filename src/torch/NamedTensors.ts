/**
 * The tensors in a pickle, by name: dict keys and list indexes from the root down, joined by dots, as PyTorch names the
 * parameters of nested modules. A file that is one tensor has it under the empty name.
 */
import { describe, PickleDict, PickleList, PickleTuple, type PickleValue, TensorRef } from "./Unpickler.ts"
import { quote, refuse } from "./Work.ts"

/** What is in a file besides tensors. */
export type PlainValue = null | boolean | number | bigint | string

/** The leaves of a pickle. */
export interface NamedTensors {
  readonly kind: "tensor" | "dict" | "list"
  readonly tensors: ReadonlyMap<string, TensorRef>
  readonly values: ReadonlyMap<string, PlainValue>
}

/** Python itself nests what torch.save writes only a few levels; its own recursion ends at 1,000. */
const maxDepth = 100

/**
 * The longest name, and the most characters of all names. Keys can be shared, and every level repeats those above: a
 * pickle of a few bytes could name things at any length.
 */
const maxNameLength = 4096
const maxNamesLength = 2 ** 26

/** Collects the leaves. `opcodes` is how many the pickle had: no more values than that are walked through. */
export const namedTensors = (root: PickleValue, opcodes: number): NamedTensors => {
  const tensors = new Map<string, TensorRef>()
  const values = new Map<string, PlainValue>()
  let left = opcodes
  let length = 0
  const walk = (value: PickleValue, name: string, depth: number): void => {
    // Values can be shared, and contain themselves: a walk through all of them need not end.
    if (left-- <= 0) refuse("data.pkl", "uses the same values over and over")
    if (depth > maxDepth) refuse("data.pkl", `nests deeper than ${maxDepth}`)
    length += name.length
    if (length > maxNamesLength) refuse("data.pkl", `has names of more than ${maxNamesLength} characters together`)
    const under = (key: string): string => {
      if (name.length + key.length >= maxNameLength) {
        refuse("data.pkl", `has a name of more than ${maxNameLength} characters at ${quote(name)}`)
      }
      return depth === 0 ? key : `${name}.${key}`
    }
    if (value instanceof TensorRef) {
      if (tensors.has(name)) refuse("data.pkl", `has two tensors of the name ${quote(name)}`)
      tensors.set(name, value)
    } else if (value instanceof PickleDict) {
      for (const [key, item] of value.entries) walk(item, under(String(key)), depth + 1)
    } else if (value instanceof PickleList || value instanceof PickleTuple) {
      value.items.forEach((item, index) => {
        walk(item, under(String(index)), depth + 1)
      })
    } else if (value === null || typeof value !== "object") {
      values.set(name, value)
    } else {
      refuse("data.pkl", `has at ${quote(name)}: ${describe(value)}, which is neither a tensor nor a plain value`)
    }
  }
  walk(root, "", 0)
  return {
    kind: root instanceof TensorRef ? "tensor" : root instanceof PickleDict ? "dict" : "list",
    tensors,
    values
  }
}
