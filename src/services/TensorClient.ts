/**
 * Tensors to, from and through one tensor server. A connection is scoped: closing the scope cancels its calls and
 * closes its socket.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { GrpcError, InvalidInput, SendRejected, TensorDecodeError, TensorLimitError } from "../schema/KpuError.ts"
import type { SendReceipt } from "../schema/SendReceipt.ts"
import type { Tensor } from "../schema/Tensor.ts"
import type { Address } from "./Endpoint.ts"

/** A tensor with what goes beside it on the wire. */
export interface TensorMessage {
  readonly id: string
  readonly tensor: Tensor
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * A tensor to send, with an id (a UUIDv4 otherwise) of up to 256 characters, once in a call, and metadata of its own, which
 * cannot replace `shape`, `dtype`, `device` and `size_bytes`.
 */
export interface OutgoingTensor {
  readonly tensor: Tensor
  readonly id?: string | undefined
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

/** Several tensors, bare or with id and metadata: all at hand, or a stream that is pulled as the wire takes more. */
export type OutgoingTensors<E = never, R = never> =
  | Iterable<Tensor | OutgoingTensor>
  | Stream.Stream<Tensor | OutgoingTensor, E, R>

/** Options of every tensor call. */
export interface CallOptions {
  /** The call fails with `DEADLINE_EXCEEDED` after so long; no deadline by default. */
  readonly deadline?: Duration.Input | undefined
}

export interface SendOptions extends CallOptions {
  /** Bytes of a chunk; 1 MiB by default. */
  readonly chunkSize?: number | undefined
}

export interface ReceiveOptions extends CallOptions {
  /** Bytes of the largest tensor accepted. */
  readonly maxTensorBytes?: number | undefined
  /** Tensors that may be under assembly at once. */
  readonly maxOpenTensors?: number | undefined
  /** Bytes received ahead of the consumer, beside the tensors under assembly; 64 MiB by default. */
  readonly budgetBytes?: number | undefined
  /** Checks the CRC-32 of each record; off by default on streams. */
  readonly verifyCrc?: boolean | undefined
}

export interface ReceiveRequest extends ReceiveOptions {
  /** How many tensors, from 1; 1 by default. 0 is `InvalidInput`: servers take it for 1. */
  readonly count?: number | undefined
  /** What the server makes of them is its own affair: the stock one reads `shape`, as in `"20,20"`. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
}

export interface StreamOptions extends SendOptions, ReceiveOptions {}

export type ReceiveError = GrpcError | TensorDecodeError | TensorLimitError | InvalidInput
export type SendError = SendRejected | GrpcError | InvalidInput

/**
 * A tensor in memory that is used again. Taking it gives the tensor, valid until the scope closes: after that its memory
 * is another tensor's, and it is empty. Take it once.
 */
export type ScopedTensor = Effect.Effect<Tensor, never, Scope.Scope>

/** An open connection to one tensor server. */
export interface TensorConnection {
  readonly address: string
  readonly sendTensors: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: SendOptions
  ) => Effect.Effect<SendReceipt, SendError | E, R>
  readonly receiveTensors: (request?: ReceiveRequest) => Stream.Stream<Tensor, ReceiveError>
  readonly receiveTensorMessages: (request?: ReceiveRequest) => Stream.Stream<TensorMessage, ReceiveError>
  /** `receiveTensors` without fresh memory for each tensor: about twice as fast with large ones. */
  readonly receiveTensorsScoped: (request?: ReceiveRequest) => Stream.Stream<ScopedTensor, ReceiveError>
  readonly streamTensors: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ) => Stream.Stream<Tensor, ReceiveError | E, R>
  readonly streamTensorMessages: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ) => Stream.Stream<TensorMessage, ReceiveError | E, R>
  /** `streamTensors` without fresh memory for each tensor. */
  readonly streamTensorsScoped: <E = never, R = never>(
    tensors: OutgoingTensors<E, R>,
    options?: StreamOptions
  ) => Stream.Stream<ScopedTensor, ReceiveError | E, R>
}

/** What is dialled. */
export interface ConnectOptions {
  readonly address: Address
  /** The Compute, for the `compute-id` metadata and for errors. */
  readonly namespace: string
  readonly name: string
}

export class TensorClient extends Context.Service<
  TensorClient,
  {
    /**
     * Gives a connection once the HTTP/2 session is really up, or fails with `UNAVAILABLE` after one attempt: trying
     * again is the caller's.
     */
    readonly connect: (options: ConnectOptions) => Effect.Effect<TensorConnection, GrpcError, Scope.Scope>
  }
>()("effect-kpu/TensorClient") {}
