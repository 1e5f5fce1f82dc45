/**
 * The options of tensor calls, checked before anything is sent: callers without types pass anything.
 */
import { randomUUID } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { InvalidInput } from "../../../schema/KpuError.ts"
import { isTensor, type Tensor } from "../../../schema/Tensor.ts"
import type { OutgoingTensor, ReceiveRequest, StreamOptions } from "../../../services/TensorClient.ts"
import { assemblerDefaults } from "../../../torch/Assembler.ts"
import { defaultChunkSize } from "../../../torch/Chunker.ts"

/** The options of any of the calls, their defaults filled in. */
export interface Checked {
  readonly timeoutMillis: number | undefined
  readonly chunkSize: number
  readonly maxTensorBytes: number
  readonly maxOpenTensors: number
  readonly budgetBytes: number
  readonly verifyCrc: boolean
  readonly count: number
  readonly parameters: Readonly<Record<string, string>>
}

/** Below, the messages' own bytes and the calls for each would count more than the data. */
export const minChunkSize = 64 * 1024

const defaultBudgetBytes = 64 * 2 ** 20

const show = (value: unknown): string =>
  typeof value === "number" || typeof value === "boolean" ? String(value) : typeof value

const fail = (field: string, problem: string): never => {
  throw new InvalidInput({ field, problem })
}

const whole = (field: string, value: unknown, from: number, to: number, fallback: number): number => {
  if (value === undefined) return fallback
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < from || value > to) {
    return fail(field, `must be a whole number from ${from} to ${to}, not ${show(value)}`)
  }
  return value
}

const strings = (field: string, value: unknown): Readonly<Record<string, string>> => {
  if (value === undefined) return {}
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return fail(field, "must be an object of strings")
  }
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== "string") fail(`${field}.${key}`, `must be a string, not ${typeof entry}`)
  }
  return value as Record<string, string>
}

/** A server takes 0 for 1, which nobody who writes 0 means. */
const count = (value: unknown): number =>
  value === 0
    ? fail("count", "is 0, which servers take for 1; to receive nothing, do not call")
    : whole("count", value, 1, 2 ** 32 - 1, 1)

/** Checks options; throws `InvalidInput`. `maxChunkSize` is what the channel's message limit leaves for data. */
export const checkOptions = (options: (ReceiveRequest & StreamOptions) | undefined, maxChunkSize: number): Checked => {
  if (options !== undefined && (typeof options !== "object" || options === null)) fail("options", "must be an object")
  const { deadline, verifyCrc } = options ?? {}
  let timeoutMillis: number | undefined
  if (deadline !== undefined) {
    const duration = Option.getOrUndefined(Duration.fromInput(deadline))
    if (duration === undefined) return fail("deadline", 'is not a duration; write "30 seconds" or milliseconds')
    const millis = Duration.toMillis(duration)
    if (millis <= 0) fail("deadline", "must be more than 0")
    // An endless deadline is none.
    if (Number.isFinite(millis)) timeoutMillis = millis
  }
  if (verifyCrc !== undefined && typeof verifyCrc !== "boolean") fail("verifyCrc", "must be true or false")
  const most = Number.MAX_SAFE_INTEGER
  return {
    timeoutMillis,
    chunkSize: whole("chunkSize", options?.chunkSize, minChunkSize, maxChunkSize, defaultChunkSize),
    maxTensorBytes: whole("maxTensorBytes", options?.maxTensorBytes, 1, most, assemblerDefaults.maxTensorBytes),
    maxOpenTensors: whole("maxOpenTensors", options?.maxOpenTensors, 1, 2 ** 20, assemblerDefaults.maxOpenTensors),
    budgetBytes: whole("budgetBytes", options?.budgetBytes, 1, most, defaultBudgetBytes),
    verifyCrc: verifyCrc ?? false,
    count: count(options?.count),
    parameters: strings("parameters", options?.parameters)
  }
}

/** A quarter of what this package takes when it receives: servers put words before the ids of their answers. */
const maxIdLength = 256

/** Text that UTF-8 can carry: half a surrogate pair arrives as another character. */
const isText = (value: unknown): value is string => typeof value === "string" && value.isWellFormed()

/** A tensor to send, with its id. */
export interface Outgoing {
  readonly tensor: Tensor
  readonly id: string
  readonly metadata: Readonly<Record<string, string>> | undefined
}

/** Checks one of the tensors that a caller hands over; throws `InvalidInput`. */
export const checkOutgoing = (item: Tensor | OutgoingTensor, index: number): Outgoing => {
  if (isTensor(item)) return { tensor: item, id: randomUUID(), metadata: undefined }
  const field = `tensors[${index}]`
  if (typeof item !== "object" || item === null || !isTensor(item.tensor)) {
    return fail(field, "is neither a Tensor nor { tensor, id?, metadata? }; make one with Tensor.make or fromArray")
  }
  const { id } = item
  if (id !== undefined && (!isText(id) || id === "" || id.length > maxIdLength)) {
    fail(`${field}.id`, `must be a string of 1 to ${maxIdLength} characters, well-formed`)
  }
  return {
    tensor: item.tensor,
    id: id ?? randomUUID(),
    metadata: item.metadata === undefined ? undefined : strings(`${field}.metadata`, item.metadata)
  }
}
