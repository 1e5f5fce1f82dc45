/**
 * Tensors from a call: put together as their bytes arrive, queued until the user pulls them. The queue is bounded by
 * bytes: beyond the budget the call is paused, which stops the server once the receive window is full.
 *
 * **The hard thing** is the end. The user gets the tensors that came whole, in order, and then what ended the stream: the
 * server's status, an error in the bytes, or the failure of the user's own stream. The first of these wins.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type { CallStatus, GrpcCall } from "../../../services/GrpcChannel.ts"
import type { TensorMessage } from "../../../services/TensorClient.ts"
import { Assembler, type Payload } from "../../../torch/Assembler.ts"
import { decodePayload } from "../../../torch/Payloads.ts"
import { ChunkReader } from "./chunkMessage.ts"
import type { TensorMemory } from "./tensorMemory.ts"
import type { Checked } from "./tensorOptions.ts"

/** Small tensors are handed over together, up to so many bytes. */
const batchBytes = 256 * 1024

/** What a queued tensor takes beside its bytes: with it, no number of empty ones escapes the budget. */
const entryBytes = 512

/** What is made of a tensor before the user gets it. */
export interface Finish<A> {
  readonly make: (message: TensorMessage, payload: Payload) => A
  /** Where payloads are put together; fresh memory when absent. */
  readonly memory?: TensorMemory | undefined
}

/** The tensor as it is, in memory of its own. */
export const asItIs: Finish<TensorMessage> = { make: (message) => message }

export class Receiving<E, A> {
  private readonly options: Checked
  private readonly assembler: Assembler
  private readonly reader: ChunkReader
  private readonly finishing: Finish<A>
  private readonly failed: (error: unknown) => Cause.Cause<E>
  private call: GrpcCall | undefined
  private queue: Array<Payload> = []
  private head = 0
  private queuedBytes = 0
  private paused = false
  private ending: Effect.Effect<never, E | Cause.Done> | undefined
  private wake: (() => void) | undefined

  /** `failed` makes the failure of what the assembler or the decoder threw. */
  constructor(options: Checked, finishing: Finish<A>, failed: (error: unknown) => Cause.Cause<E>) {
    this.options = options
    this.finishing = finishing
    this.failed = failed
    const { memory } = finishing
    this.assembler = new Assembler({
      maxTensorBytes: options.maxTensorBytes,
      maxOpenTensors: options.maxOpenTensors,
      allocate: memory === undefined ? undefined : (size) => memory.allocate(size)
    })
    this.reader = new ChunkReader(this.assembler, (payload) => this.push(payload))
  }

  start(call: GrpcCall): void {
    this.call = call
  }

  message(byteLength: number): void {
    if (this.ending !== undefined) return
    try {
      this.reader.message(byteLength)
    } catch (error) {
      this.fail(this.failed(error))
    }
  }

  fragment(bytes: Uint8Array): void {
    if (this.ending !== undefined) return
    try {
      this.reader.fragment(bytes)
    } catch (error) {
      this.fail(this.failed(error))
    }
  }

  /** The call has ended; `failure` is what its status means. */
  end(status: CallStatus, failure: () => Cause.Cause<E>): void {
    if (status.code !== "OK") {
      this.finish(Effect.failCause(failure()))
      return
    }
    try {
      this.assembler.finish()
      this.finish(Cause.done())
    } catch (error) {
      this.finish(Effect.failCause(this.failed(error)))
    }
  }

  /** Ends the stream with a failure, and the call with it. */
  fail(cause: Cause.Cause<E>): void {
    this.finish(Effect.failCause(cause))
    this.call?.cancel()
  }

  private finish(ending: Effect.Effect<never, E | Cause.Done>): void {
    if (this.ending !== undefined) return
    this.ending = ending
    this.assembler.clear()
    this.notify()
  }

  private push(payload: Payload): void {
    this.queue.push(payload)
    this.queuedBytes += payload.bytes.byteLength + entryBytes
    if (!this.paused && this.queuedBytes >= this.options.budgetBytes) {
      this.paused = true
      this.call?.pause()
    }
    this.notify()
  }

  private notify(): void {
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  private take(): readonly [A, ...Array<A>] | undefined {
    const messages: Array<A> = []
    let bytes = 0
    while (this.head < this.queue.length) {
      const payload = this.queue[this.head]!
      const { byteLength } = payload.bytes
      if (messages.length > 0 && bytes + byteLength > batchBytes) break
      this.queue[this.head++] = undefined!
      this.queuedBytes -= byteLength + entryBytes
      try {
        const tensor = decodePayload(payload, {
          verifyCrc: this.options.verifyCrc,
          maxTensorBytes: this.options.maxTensorBytes
        })
        // A few bytes can be a large tensor when its strides are resolved.
        bytes += Math.max(byteLength, tensor.data.byteLength)
        const message = { id: payload.tensorId, tensor, metadata: payload.metadata }
        messages.push(this.finishing.make(message, payload))
      } catch (error) {
        // A tensor that cannot be read ends the stream where it stands, whatever has ended it behind that.
        this.queue = []
        this.head = 0
        this.ending = undefined
        this.fail(this.failed(error))
        break
      }
    }
    if (this.head === this.queue.length) {
      this.queue = []
      this.head = 0
    }
    if (this.paused && this.ending === undefined && this.queuedBytes < this.options.budgetBytes) {
      this.paused = false
      this.call?.resume()
    }
    return messages.length === 0 ? undefined : (messages as [A, ...Array<A>])
  }

  /** The next tensors, as many small ones as are there. */
  readonly pull: Pull.Pull<readonly [A, ...Array<A>], E> = Effect.suspend(() => {
    const messages = this.take()
    if (messages !== undefined) return Effect.succeed(messages)
    if (this.ending !== undefined) return this.ending
    return Effect.callback((resume) => {
      this.wake = () => resume(this.pull)
      return Effect.sync(() => {
        this.wake = undefined
      })
    })
  })
}
