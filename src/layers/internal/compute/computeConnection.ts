/**
 * The gRPC connection of one handle: closed, or open in a scope of its own beneath the handle's.
 *
 * **The hard thing.** A connection may come up just when the Compute is suspended or deleted. Each closing starts a new
 * epoch; a connection that was begun in an older one is closed again instead of kept.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { kind } from "../../../schema/ComputeResource.ts"
import { type GrpcError, NotReady } from "../../../schema/KpuError.ts"
import type { ComputeRef } from "../../../services/ComputeApi.ts"
import type { Address } from "../../../services/Endpoint.ts"
import type { TensorClient, TensorConnection } from "../../../services/TensorClient.ts"

export interface ComputeConnection {
  /** The open connection, or `NotReady` with the reason that it is closed for. */
  readonly get: Effect.Effect<TensorConnection, NotReady>
  /** Opens one unless one is open. Tries again while the server is not there yet; `onFailure` sees each failure. */
  readonly open: (
    address: Effect.Effect<Address, GrpcError>,
    onFailure: (error: GrpcError) => void
  ) => Effect.Effect<void, GrpcError>
  readonly close: (why: string) => Effect.Effect<void>
}

type State =
  | { readonly _tag: "Closed"; readonly why: string }
  | { readonly _tag: "Open"; readonly connection: TensorConnection; readonly scope: Scope.Closeable }

/** A Service's endpoints follow its Pod within moments; a second between tries is soon enough. */
const reconnecting = Schedule.min([Schedule.exponential("25 millis"), Schedule.spaced("1 second")])

export const makeConnection = Effect.fnUntraced(function* (
  client: TensorClient["Service"],
  ref: ComputeRef,
  handleScope: Scope.Scope
): Effect.fn.Return<ComputeConnection> {
  const opening = yield* Semaphore.make(1)
  let state: State = { _tag: "Closed", why: "wait for it with ready() first" }
  let epoch = 0

  // A handle outlives its scope where a program keeps it: its calls then say so.
  yield* Scope.addFinalizer(
    handleScope,
    Effect.sync(() => {
      epoch += 1
      state = { _tag: "Closed", why: "the scope that it was opened in has closed" }
    })
  )

  const attempt = (address: Address) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const began = epoch
        const scope = yield* Scope.fork(handleScope)
        const connection = yield* restore(client.connect({ ...ref, address })).pipe(
          Scope.provide(scope),
          Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
        )
        if (epoch !== began) {
          yield* Scope.close(scope, Exit.void)
          return false
        }
        state = { _tag: "Open", connection, scope }
        return true
      })
    )

  const openOnce = (address: Effect.Effect<Address, GrpcError>, onFailure: (error: GrpcError) => void) => {
    let mayResolveLater = true
    return Effect.flatMap(address, (address) => {
      mayResolveLater = address.mayResolveLater
      return attempt(address)
    }).pipe(
      Effect.tapError((error) => Effect.sync(() => onFailure(error))),
      Effect.retry({
        schedule: reconnecting,
        while: (error: GrpcError) => error.isRetryable && (error.errno !== "ENOTFOUND" || mayResolveLater)
      })
    )
  }

  const open: ComputeConnection["open"] = (address, onFailure) =>
    Effect.suspend(() => (state._tag === "Open" ? Effect.succeed(true) : openOnce(address, onFailure))).pipe(
      opening.withPermits(1),
      // A connection of an older epoch was closed again: its opener waits for what the resource does next.
      Effect.flatMap((kept) => (kept ? Effect.void : Effect.never))
    )

  return {
    get: Effect.suspend(() =>
      state._tag === "Open"
        ? Effect.succeed(state.connection)
        : Effect.fail(
            new NotReady({ resource: { kind, namespace: ref.namespace, name: ref.name }, problem: state.why })
          )
    ),
    open,
    close: (why) =>
      Effect.suspend(() => {
        const closing = state
        epoch += 1
        state = { _tag: "Closed", why }
        return closing._tag === "Open" ? Scope.close(closing.scope, Exit.void) : Effect.void
      })
  }
})
