/**
 * Tensors onto a call: pulled from the user one after the other, each cut into chunks, each chunk written when the wire
 * takes it. Nothing is made ahead of the wire.
 *
 * **The hard thing** is to have no work per chunk but the chunk's. An iterable is pumped from the transport's own drain
 * events, without a fiber; a stream is run by one fiber, which hands over an array of tensors and sleeps until they are
 * written.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { InvalidInput } from "../../../schema/KpuError.ts"
import type { Tensor } from "../../../schema/Tensor.ts"
import type { GrpcCall } from "../../../services/GrpcChannel.ts"
import type { OutgoingTensor, OutgoingTensors } from "../../../services/TensorClient.ts"
import { chunkTensor } from "../../../torch/Chunker.ts"
import { chunkMessage, type MessageViews } from "./chunkMessage.ts"
import type { Outgoing } from "./tensorOptions.ts"

/** What is sent while a call runs. */
export interface Sending {
  /** The wire takes more. */
  readonly drain: () => void
  /** The call has ended: the user's producer is stopped, or interrupted. */
  readonly stop: () => void
  /** How many tensors have been begun. */
  readonly count: () => number
}

/** What an exception of the user's iterable is: `InvalidInput` (`Tensor.make` throws it too) a failure, all else a defect. */
const causeOf = (error: unknown): Cause.Cause<InvalidInput> =>
  error instanceof InvalidInput ? Cause.fail(error) : Cause.die(error)

/** How tensors become messages. */
export interface Outlet {
  readonly call: GrpcCall
  readonly chunkSize: number
  /** Checks one of the user's items; throws `InvalidInput`. */
  readonly check: (item: Tensor | OutgoingTensor, index: number) => Outgoing
}

class Pump {
  private readonly outlet: Outlet
  sent = 0
  private messages: Iterator<MessageViews> | undefined
  private onDone: ((failure?: Cause.Cause<InvalidInput>) => void) | undefined

  constructor(outlet: Outlet) {
    this.outlet = outlet
  }

  start(items: Iterable<Tensor | OutgoingTensor>, onDone: (failure?: Cause.Cause<InvalidInput>) => void): void {
    this.onDone = onDone
    this.messages = this.messagesOf(items)
    this.run()
  }

  /** Writes until the wire is full or the messages are at their end. */
  run(): void {
    const { messages } = this
    if (messages === undefined) return
    try {
      while (true) {
        const { done, value } = messages.next()
        if (done === true) break
        if (!this.outlet.call.write(value.views, value.byteLength)) return
        // The user's iterable may have ended the call.
        if (this.messages !== messages) return
      }
    } catch (error) {
      this.finish(causeOf(error))
      return
    }
    this.finish()
  }

  /** Lets go of what is not sent; the user's iterator is told. */
  stop(): void {
    const { messages } = this
    this.messages = undefined
    this.onDone = undefined
    try {
      messages?.return?.()
    } catch {
      // The call has its outcome already; what the user's finally block throws cannot change it.
    }
  }

  private finish(failure?: Cause.Cause<InvalidInput>): void {
    const { onDone } = this
    this.messages = undefined
    this.onDone = undefined
    onDone?.(failure)
  }

  private *messagesOf(items: Iterable<Tensor | OutgoingTensor>): Generator<MessageViews, void, undefined> {
    const { check, chunkSize } = this.outlet
    for (const item of items) {
      const { id, metadata, tensor } = check(item, this.sent++)
      for (const chunk of chunkTensor(tensor, { id, metadata, chunkSize })) yield chunkMessage(chunk)
    }
  }
}

/**
 * Begins to send: half-closes the call after the last tensor, and tells a failure of the user's stream or of its tensors
 * to `onFailure`. A stream's fiber ends with the scope.
 */
export const startSending = <E, R>(
  tensors: OutgoingTensors<E, R>,
  outlet: Outlet,
  onFailure: (cause: Cause.Cause<E | InvalidInput>) => void
): Effect.Effect<Sending, never, R | Scope.Scope> => {
  const { call } = outlet
  const pump = new Pump(outlet)
  const drain = () => pump.run()
  if (!Stream.isStream(tensors)) {
    return Effect.sync(() => {
      pump.start(tensors, (failure) => (failure === undefined ? call.halfClose() : onFailure(failure)))
      return { drain, stop: () => pump.stop(), count: () => pump.sent }
    })
  }
  return Effect.gen(function* () {
    const fiber = yield* Stream.runForEachArray(tensors, (items) =>
      Effect.callback<void, InvalidInput>((resume) => {
        pump.start(items, (failure) => resume(failure === undefined ? Effect.void : Effect.failCause(failure)))
      })
    ).pipe(Effect.interruptible, Effect.forkScoped({ startImmediately: true }))
    let stopped = false
    fiber.addObserver((exit) => {
      if (stopped) return
      if (Exit.isSuccess(exit)) call.halfClose()
      else onFailure(exit.cause)
    })
    return {
      drain,
      stop: () => {
        stopped = true
        pump.stop()
        fiber.interruptUnsafe()
      },
      count: () => pump.sent
    }
  })
}

/** Checks what was given in place of tensors. */
export const checkTensors = (tensors: OutgoingTensors<unknown, unknown>): void => {
  const given = tensors as unknown
  const iterable =
    typeof given === "object" && given !== null && typeof (given as Iterable<unknown>)[Symbol.iterator] === "function"
  if (!iterable && !Stream.isStream(given)) {
    throw new InvalidInput({ field: "tensors", problem: "must be an iterable or a Stream of tensors" })
  }
}
