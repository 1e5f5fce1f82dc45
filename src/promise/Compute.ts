/**
 * Computes for programs of promises. Each method runs the Effect of the same name: the same checks, waits, limits and
 * errors stand behind both.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ComputeOptions, DialOptions, ScopedOptions } from "../schema/ComputeOptions.ts"
import type { ComputeResource } from "../schema/ComputeResource.ts"
import type { SendReceipt } from "../schema/SendReceipt.ts"
import { isTensor, type Tensor } from "../schema/Tensor.ts"
import type { DeleteOptions, Handle, ReadyOptions, SuspendOptions } from "../services/ComputeHandle.ts"
import type * as Kpu from "../services/Kpu.ts"
import type {
  OutgoingTensor,
  ReceiveRequest,
  SendOptions,
  StreamOptions,
  TensorMessage
} from "../services/TensorClient.ts"
import { useClient, whileOpen } from "./client.ts"
import { type Incoming, incoming, runWith, type SignalOptions } from "./signals.ts"

/** What can be sent: one tensor, several at hand, or an async iterable that is asked for more as the wire takes it. */
export type Outgoing = Tensor | Iterable<Tensor | OutgoingTensor> | AsyncIterable<Tensor | OutgoingTensor>

const isAsyncIterable = (value: unknown): value is AsyncIterable<Tensor | OutgoingTensor> =>
  typeof value === "object" && value !== null && Symbol.asyncIterator in value

/** A failure of the user's own iterable passes through as it is. */
const outgoing = (tensors: Outgoing) => {
  if (isTensor(tensors)) return [tensors]
  return isAsyncIterable(tensors) ? Stream.fromAsyncIterable(tensors, (error) => error) : tensors
}

/**
 * A Compute: created or found by a static method, disposed of at the end of the `await using` block.
 *
 * Errors are the classes that `effect-kpu` exports, told apart by `_tag` or `instanceof`.
 *
 * @example
 * ```ts
 * import { Compute, Tensor } from "effect-kpu/promise"
 *
 * await using compute = await Compute.create({ name: "my-compute" })
 * const receipt = await compute.sendTensors(Tensor.randn([100, 100]))
 * console.log(receipt.message)
 * ```
 */
export class Compute implements AsyncDisposable {
  readonly name: string
  readonly namespace: string
  readonly #handle: Handle
  readonly #context: Context.Context<never>
  readonly #close: () => Promise<void>

  private constructor(handle: Handle, context: Context.Context<never>, close: () => Promise<void>) {
    this.name = handle.name
    this.namespace = handle.namespace
    this.#handle = handle
    this.#context = context
    this.#close = close
  }

  static async #open(
    make: (kpu: Kpu.Kpu["Service"]) => Effect.Effect<Handle, unknown, Scope.Scope>,
    signal: AbortSignal | undefined
  ): Promise<Compute> {
    return useClient((kpu, context) => {
      const scope = Scope.makeUnsafe()
      return Scope.provide(make(kpu), scope).pipe(
        Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void)),
        Effect.map((handle) => {
          let closed: Promise<void> | undefined
          const close = () => {
            closed ??= runWith(context)(Scope.close(scope, Exit.void)).finally(forget)
            return closed
          }
          const forget = whileOpen(close)
          return new Compute(handle, context, close)
        })
      )
    }, signal)
  }

  /**
   * Applies a Compute, waits until it serves, and connects. Disposing of it deletes it; so does a failed or aborted wait.
   * After that the signal has no more to say.
   *
   * @example
   * ```ts
   * import { Compute } from "effect-kpu/promise"
   *
   * await using compute = await Compute.create({
   *   name: "my-compute",
   *   image: "localhost:5001/kpu-torch-server:latest",
   *   timeout: "10 minutes",
   *   signal: AbortSignal.timeout(700_000)
   * })
   * ```
   */
  static create({ signal, ...options }: ScopedOptions & SignalOptions): Promise<Compute> {
    return Compute.#open((kpu) => kpu.scoped(options), signal)
  }

  /**
   * Server-side apply: creates or updates, and does not wait. Disposing of it closes the connection and leaves the
   * Compute.
   *
   * @example
   * ```ts
   * import { Compute } from "effect-kpu/promise"
   *
   * await using compute = await Compute.apply({ name: "my-compute", env: { LOG_LEVEL: "DEBUG" } })
   * await compute.ready()
   * ```
   */
  static apply({ signal, ...options }: ComputeOptions & SignalOptions): Promise<Compute> {
    return Compute.#open((kpu) => kpu.apply(options), signal)
  }

  /**
   * One that exists already; its absence is an error. Disposing of it closes the connection and leaves the Compute.
   *
   * @example
   * ```ts
   * import { Compute } from "effect-kpu/promise"
   *
   * await using compute = await Compute.attach("my-compute")
   * if (await compute.isReady()) console.log("Compute is ready")
   * ```
   */
  static attach(name: string, { signal, ...options }: DialOptions & SignalOptions = {}): Promise<Compute> {
    return Compute.#open((kpu) => kpu.attach(name, options), signal)
  }

  #run<A, E>(effect: Effect.Effect<A, E>, signal: AbortSignal | undefined): Promise<A> {
    return runWith(this.#context)(effect, signal)
  }

  /** Waits until it serves, and connects; 300 s unless told otherwise. */
  ready({ signal, ...options }: ReadyOptions & SignalOptions = {}): Promise<void> {
    return this.#run(this.#handle.ready(options), signal)
  }

  /** Reads the resource afresh: whether it serves. */
  isReady({ signal }: SignalOptions = {}): Promise<boolean> {
    return this.#run(this.#handle.isReady, signal)
  }

  /** The resource as last seen, with `status.conditions`. */
  get resource(): ComputeResource {
    return Effect.runSync(this.#handle.resource)
  }

  /** The resource's states, the current one first; ends when the Compute is deleted. */
  changes({ signal }: SignalOptions = {}): Incoming<ComputeResource> {
    return incoming(this.#context, this.#handle.changes, signal)
  }

  /**
   * Sends tensors; the receipt says which the server has.
   *
   * @example
   * ```ts
   * const receipt = await compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
   * ```
   */
  sendTensors(tensors: Outgoing, { signal, ...options }: SendOptions & SignalOptions = {}): Promise<SendReceipt> {
    return this.#run(
      Effect.suspend(() => this.#handle.sendTensors(outgoing(tensors), options)),
      signal
    )
  }

  /**
   * Receives tensors that the server makes.
   *
   * @example
   * ```ts
   * const tensors = await compute.receiveTensors({ count: 2, parameters: { shape: "20,20" } }).toArray()
   * ```
   */
  receiveTensors({ signal, ...request }: ReceiveRequest & SignalOptions = {}): Incoming<Tensor> {
    return incoming(this.#context, this.#handle.receiveTensors(request), signal)
  }

  /** `receiveTensors` with each tensor's id and metadata. */
  receiveTensorMessages({ signal, ...request }: ReceiveRequest & SignalOptions = {}): Incoming<TensorMessage> {
    return incoming(this.#context, this.#handle.receiveTensorMessages(request), signal)
  }

  /**
   * Sends tensors and receives what the server makes of them, at the same time.
   *
   * @example
   * ```ts
   * for await (const tensor of compute.streamTensors([Tensor.randn([10, 10])])) console.log(tensor.shape)
   * ```
   */
  streamTensors(tensors: Outgoing, { signal, ...options }: StreamOptions & SignalOptions = {}): Incoming<Tensor> {
    return incoming(
      this.#context,
      Stream.suspend(() => this.#handle.streamTensors(outgoing(tensors), options)),
      signal
    )
  }

  /** `streamTensors` with each tensor's id and metadata. */
  streamTensorMessages(
    tensors: Outgoing,
    { signal, ...options }: StreamOptions & SignalOptions = {}
  ): Incoming<TensorMessage> {
    return incoming(
      this.#context,
      Stream.suspend(() => this.#handle.streamTensorMessages(outgoing(tensors), options)),
      signal
    )
  }

  /** Scales it to zero and closes the connection; ends when the operator has acknowledged. */
  suspend({ signal, ...options }: SuspendOptions & SignalOptions = {}): Promise<void> {
    return this.#run(this.#handle.suspend(options), signal)
  }

  /** Scales it up again, waits until it serves, and connects. */
  resume({ signal, ...options }: ReadyOptions & SignalOptions = {}): Promise<void> {
    return this.#run(this.#handle.resume(options), signal)
  }

  /** Closes the connection and deletes it. What is gone already counts as deleted. */
  delete({ signal, ...options }: DeleteOptions & SignalOptions = {}): Promise<void> {
    return this.#run(this.#handle.delete(options), signal)
  }

  /** Closes the connection, and deletes what `create` has made. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}
