/**
 * The handle of one Compute: its lifecycle, and tensors to, from and through it. A handle speaks of one Compute by its
 * uid: another one of the same name is a stranger to it.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ComputeResource } from "../schema/ComputeResource.ts"
import type {
  ComputeDeleted,
  ComputeFailed,
  GrpcError,
  InvalidInput,
  NotReady,
  ReadyTimeout
} from "../schema/KpuError.ts"
import type { SendReceipt } from "../schema/SendReceipt.ts"
import type { Tensor } from "../schema/Tensor.ts"
import type { ApiError } from "./ComputeApi.ts"
import type {
  OutgoingTensors,
  ReceiveError,
  ReceiveRequest,
  ScopedTensor,
  SendError,
  SendOptions,
  StreamOptions,
  TensorMessage
} from "./TensorClient.ts"

/** Why a wait for a state of a Compute fails. */
export type WaitError = ReadyTimeout | ComputeDeleted | ComputeFailed | ApiError | InvalidInput

/** Why a wait for a serving Compute fails: the wait itself, or an endpoint that can never be dialled. */
export type ReadyError = WaitError | GrpcError

/** How `ready` and `resume` wait. */
export interface ReadyOptions {
  /** 300 s by default. */
  readonly timeout?: Duration.Input | undefined
}

/** How `suspend` waits. */
export interface SuspendOptions {
  /** Until the operator acknowledges; 60 s by default. */
  readonly timeout?: Duration.Input | undefined
  /** Whether to wait until the operator acknowledges; true by default. */
  readonly acknowledge?: boolean | undefined
}

/** How `delete` deletes. */
export interface DeleteOptions {
  /** What the deletion gives the Pod to end; 30 s by default. */
  readonly gracePeriod?: Duration.Input | undefined
}

/** One Compute. Its methods need no services; a stream's requirements are those of the user's own stream. */
export interface Handle {
  readonly name: string
  readonly namespace: string
  /** Waits until the Compute serves, and opens the gRPC connection. */
  readonly ready: (options?: ReadyOptions) => Effect.Effect<void, ReadyError>
  /** Reads the resource afresh: whether it is Ready, not suspended and still this Compute. */
  readonly isReady: Effect.Effect<boolean, ApiError>
  /** The resource as last seen by this handle, with `status.conditions`. */
  readonly resource: Effect.Effect<ComputeResource>
  /** The resource's states, the current one first; ends when the Compute is deleted. */
  readonly changes: Stream.Stream<ComputeResource, ApiError>
  /** Sends tensors; the receipt says which the server has. */
  readonly sendTensors: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: SendOptions
  ) => Effect.Effect<SendReceipt, NotReady | SendError | E, R>
  /** Receives tensors that the server makes. */
  readonly receiveTensors: (request?: ReceiveRequest) => Stream.Stream<Tensor, NotReady | ReceiveError>
  /** `receiveTensors` with each tensor's id and metadata. */
  readonly receiveTensorMessages: (request?: ReceiveRequest) => Stream.Stream<TensorMessage, NotReady | ReceiveError>
  /** Sends tensors and receives what the server makes of them, at the same time. */
  readonly streamTensors: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ) => Stream.Stream<Tensor, NotReady | ReceiveError | E, R>
  /** `streamTensors` with each tensor's id and metadata. */
  readonly streamTensorMessages: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ) => Stream.Stream<TensorMessage, NotReady | ReceiveError | E, R>
  /**
   * `receiveTensors` in memory that is used again: each tensor is valid until the scope that it is taken into closes, and
   * empty after that. With large tensors about twice as fast.
   *
   * **Example**
   *
   * ```ts
   * compute.receiveTensorsScoped({ count: 100 }).pipe(
   *   Stream.runForEach((scoped) => Effect.scoped(Effect.flatMap(scoped, (tensor) => Effect.log(tensor.shape))))
   * )
   * ```
   */
  readonly receiveTensorsScoped: (request?: ReceiveRequest) => Stream.Stream<ScopedTensor, NotReady | ReceiveError>
  /** `streamTensors` in memory that is used again, as `receiveTensorsScoped` has it. */
  readonly streamTensorsScoped: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ) => Stream.Stream<ScopedTensor, NotReady | ReceiveError | E, R>
  /** Scales the Compute to zero and closes the connection. Where the apply fails, the handle still works. */
  readonly suspend: (options?: SuspendOptions) => Effect.Effect<void, WaitError>
  /** Scales it up again, waits until it serves, and opens the connection. */
  readonly resume: (options?: ReadyOptions) => Effect.Effect<void, ReadyError>
  /** Closes the connection and deletes the Compute. What is gone already counts as deleted. */
  readonly delete: (options?: DeleteOptions) => Effect.Effect<void, WaitError>
}
