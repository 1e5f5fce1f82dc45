/**
 * The three calls of the tensor service on plain grpc-js, for the tests of the peers themselves.
 */
import { Client, credentials } from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { TensorChunk, TensorRequest, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"

const encode =
  <A>(codec: { readonly encode: (message: A) => { finish(): Uint8Array } }) =>
  (message: A) =>
    Buffer.from(codec.encode(message).finish())

/** A connection, closed with the scope. */
export const connect = (address: string): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(address, credentials.createInsecure())),
    (client) => Effect.sync(() => client.close())
  )

/** SendTensors, to its end. */
export const receive = (
  client: Client,
  request: TensorRequest
): Effect.Effect<{ readonly chunks: ReadonlyArray<TensorChunk>; readonly code: number; readonly details: string }> =>
  Effect.callback((resume) => {
    const call = client.makeServerStreamRequest(
      "/kpu.torch.Service/SendTensors",
      encode(TensorRequest),
      TensorChunk.decode,
      request
    )
    const chunks: Array<TensorChunk> = []
    call.on("data", (chunk: TensorChunk) => chunks.push(chunk))
    call.on("error", () => {}) // the status tells
    call.on("status", ({ code, details }) => resume(Effect.succeed({ chunks, code, details })))
  })

/** ReceiveTensors with these chunks. */
export const send = (client: Client, chunks: ReadonlyArray<TensorChunk>): Effect.Effect<TensorResponse> =>
  Effect.callback((resume) => {
    const call = client.makeClientStreamRequest(
      "/kpu.torch.Service/ReceiveTensors",
      encode(TensorChunk),
      TensorResponse.decode,
      (error, response) => resume(error ? Effect.die(error) : Effect.succeed(response!))
    )
    for (const chunk of chunks) call.write(chunk)
    call.end()
  })

/** Opens StreamTensors. */
export const stream = (client: Client) =>
  client.makeBidiStreamRequest("/kpu.torch.Service/StreamTensors", encode(TensorChunk), TensorChunk.decode)
