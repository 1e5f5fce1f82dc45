/**
 * The transport of tensor calls. A transport knows HTTP/2 and gRPC's framing; messages are bytes to it. What stands in
 * them is written by the tensor client and read by the torch room.
 *
 * **The border.** It is drawn so that a byte of a tensor need not be copied to cross it. A message to send is a list of
 * views, which a transport may write one after the other; a message received arrives in fragments, as large or small as
 * the transport has them, each of which is copied to its place before `fragment` returns. Calls and events are plain
 * functions: at 1 MiB a message and 1 GiB a second, an Effect for each would cost more than the work.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { GrpcCode, GrpcError } from "../schema/KpuError.ts"
import type { ConnectOptions } from "./TensorClient.ts"

/** How a call ended: the server's status, or what the transport has to say of its own. */
export interface CallStatus {
  readonly code: GrpcCode
  readonly details: string
}

/**
 * What happens on a call, always after `call` has returned. `end` comes once and last; after `cancel` nothing comes, and
 * after either `write` gives false for good. None of these may throw.
 */
export interface CallEvents {
  /** A message of so many bytes begins. */
  readonly message: (byteLength: number) => void
  /** Some of its bytes, at least one. They belong to the transport again when this returns. */
  readonly fragment: (bytes: Uint8Array) => void
  /** The wire takes more, after `write` gave false. */
  readonly drain: () => void
  readonly end: (status: CallStatus) => void
}

/** One call under way. All calls are streams in both directions to a transport. */
export interface GrpcCall {
  /**
   * Sends one message, made of views that stay as they are until it is written. False: wait for `drain` before the next.
   */
  readonly write: (views: ReadonlyArray<Uint8Array>, byteLength: number) => boolean
  /** Nothing more will be sent. */
  readonly halfClose: () => void
  /** Stops the flow of messages, within one message or the receive window; `resume` lets it go on. */
  readonly pause: () => void
  readonly resume: () => void
  /** Ends the call on both sides. Any number of times, and after its end too. */
  readonly cancel: () => void
}

export interface CallOptions {
  /** The full name: `kpu.torch.Service/StreamTensors`. */
  readonly method: string
  /** gRPC metadata; a trace's context would go here. */
  readonly metadata: Readonly<Record<string, string>>
  /** Milliseconds from now after which the call fails with `DEADLINE_EXCEEDED`. */
  readonly timeoutMillis?: number | undefined
}

/** One open HTTP/2 session, and the calls on it. A session that ends is dialled again by the next call. */
export interface GrpcConnection {
  /** `host:port`, as dialled. */
  readonly address: string
  /** The most data that a chunk may have: what the limit on sent messages leaves. */
  readonly maxChunkSize: number
  /** Starts a call. Without a session, or after the scope has closed, it ends at once with a status that says so. */
  readonly call: (options: CallOptions, events: CallEvents) => GrpcCall
}

export class GrpcChannel extends Context.Service<
  GrpcChannel,
  {
    /** One attempt to bring a session up: settings received. Closing the scope cancels its calls and closes its socket. */
    readonly connect: (options: ConnectOptions) => Effect.Effect<GrpcConnection, GrpcError, Scope.Scope>
  }
>()("effect-kpu/GrpcChannel") {}
