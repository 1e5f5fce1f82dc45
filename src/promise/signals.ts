/**
 * Where promises meet fibers: an Effect run as a promise, and a stream as an async iterable.
 *
 * **How things end.** A typed failure rejects with the error itself, an aborted call with its signal's reason: what was
 * begun is interrupted and cleaned up first. Leaving a `for await` early ends the stream on the server's side too.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** What every call takes. */
export interface SignalOptions {
  /** Ends the call when it is aborted; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

const rejection = (cause: Cause.Cause<unknown>, signal: AbortSignal | undefined): unknown =>
  signal?.aborted === true && Cause.hasInterruptsOnly(cause) ? signal.reason : Cause.squash(cause)

/** Runs an Effect on the services of `context`. */
export const runWith =
  <R>(context: Context.Context<R>) =>
  async <A, E>(effect: Effect.Effect<A, E, R>, signal?: AbortSignal | undefined): Promise<A> => {
    signal?.throwIfAborted()
    const exit = await Effect.runPromiseExitWith(context)(effect, signal === undefined ? undefined : { signal })
    if (Exit.isSuccess(exit)) return exit.value
    throw rejection(exit.cause, signal)
  }

/**
 * Values that arrive one after the other. The next ones are asked for when these have been taken: a slow loop slows the
 * sender down. Each loop over it is a call of its own.
 *
 * @example
 * ```ts
 * for await (const tensor of compute.receiveTensors({ count: 2 })) console.log(tensor.shape)
 * ```
 */
export interface Incoming<out A> extends AsyncIterable<A, void, void> {
  /**
   * All of them, once the last has come.
   *
   * @example
   * ```ts
   * const tensors = await compute.receiveTensors({ count: 2 }).toArray()
   * ```
   */
  readonly toArray: () => Promise<Array<A>>
}

/**
 * One loop over a stream. `return` ends it at once, even while a `next` is pending: an async generator would wait for
 * the pending value first, and keep the server sending until then.
 */
const loop = <A, E, R>(
  context: Context.Context<R>,
  stream: Stream.Stream<A, E, R>,
  signal: AbortSignal | undefined
): AsyncIterator<A, void, void> => {
  const scope = Scope.makeUnsafe()
  const closing = new AbortController()
  let pull: Pull.Pull<ReadonlyArray<A>, E, void, R> | undefined
  let values: Iterator<A> = [][Symbol.iterator]()
  let closed: Promise<void> | undefined

  const runExit = Effect.runPromiseExitWith(context)
  const close = (): Promise<void> => {
    if (closed === undefined) {
      signal?.removeEventListener("abort", close)
      closing.abort()
      closed = Effect.runPromise(Scope.close(scope, Exit.void))
    }
    return closed
  }
  signal?.addEventListener("abort", close)
  const aborted = () => signal?.aborted === true

  const step = async (): Promise<IteratorResult<A, void>> => {
    while (true) {
      if (aborted()) {
        await close()
        throw signal?.reason
      }
      if (closed !== undefined) return { done: true, value: undefined }
      const ready = values.next()
      if (ready.done !== true) return ready
      const exit = await runExit(
        pull === undefined
          ? Effect.flatMap(Scope.provide(Stream.toPull(stream), scope), (opened) => {
              pull = opened
              return opened
            })
          : pull,
        { signal: closing.signal }
      )
      if (Exit.isSuccess(exit)) {
        values = exit.value[Symbol.iterator]()
        continue
      }
      const ended = closed !== undefined || Pull.isDoneCause(exit.cause)
      await close()
      if (!aborted() && !ended) throw Cause.squash(exit.cause)
    }
  }

  let last: Promise<unknown> = Promise.resolve()
  return {
    next: () => {
      const next = last.then(step, step)
      last = next
      return next
    },
    return: async () => {
      await close()
      return { done: true, value: undefined }
    }
  }
}

/** A stream as an async iterable. */
export const incoming = <A, E, R>(
  context: Context.Context<R>,
  stream: Stream.Stream<A, E, R>,
  signal: AbortSignal | undefined
): Incoming<A> => {
  const iterable = { [Symbol.asyncIterator]: () => loop(context, stream, signal) }
  return {
    ...iterable,
    toArray: async () => {
      const values: Array<A> = []
      for await (const value of iterable) values.push(value)
      return values
    }
  }
}
