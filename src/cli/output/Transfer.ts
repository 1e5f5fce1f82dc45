/**
 * Bytes of tensor calls, counted where they cross the wire: a transport around the transport. Progress moves with every
 * chunk, also within one large tensor.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type CallEvents, GrpcChannel, type GrpcConnection } from "../../services/GrpcChannel.ts"

/** Bytes so far. */
export interface Meter {
  sent: number
  received: number
}

export const makeMeter = (): Meter => ({ sent: 0, received: 0 })

const counting = (connection: GrpcConnection, meter: Meter): GrpcConnection => ({
  address: connection.address,
  maxChunkSize: connection.maxChunkSize,
  call: (options, events) => {
    const counted: CallEvents = {
      message: (byteLength) => events.message(byteLength),
      drain: () => events.drain(),
      end: (status) => events.end(status),
      fragment: (bytes) => {
        meter.received += bytes.byteLength
        events.fragment(bytes)
      }
    }
    const call = connection.call(options, counted)
    // A transport's call may be an object of a class: its methods are asked one by one, never spread.
    return {
      write: (views, byteLength) => {
        meter.sent += byteLength
        return call.write(views, byteLength)
      },
      halfClose: () => call.halfClose(),
      pause: () => call.pause(),
      resume: () => call.resume(),
      cancel: () => call.cancel()
    }
  }
})

/** A channel that counts what goes through it. */
export const meteredChannel = <E, R>(
  channel: Layer.Layer<GrpcChannel, E, R>,
  meter: Meter
): Layer.Layer<GrpcChannel, E, R> =>
  Layer.effect(
    GrpcChannel,
    Effect.map(GrpcChannel, (inner) =>
      GrpcChannel.of({
        connect: (options) => Effect.map(inner.connect(options), (connection) => counting(connection, meter))
      })
    )
  ).pipe(Layer.provide(channel))
