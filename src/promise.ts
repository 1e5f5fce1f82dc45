/**
 * The client for programs of promises: `import { Compute, init, Tensor } from "effect-kpu/promise"`.
 *
 * A thin veil over the Effect client: the same code, errors and limits; promises for Effects, async iterables for
 * streams, `AbortSignal` for interruption, `await using` for scopes.
 *
 * @module effect-kpu/promise
 */

export { Compute, type Outgoing } from "./promise/Compute.ts"
export { type InitOptions, type InitWithLayer, init, shutdown } from "./promise/client.ts"
export type { Incoming, SignalOptions } from "./promise/signals.ts"
export { Tensor } from "./promise/Tensor.ts"
