/** What the server answers when tensors were sent to it. */
import * as Schema from "effect/Schema"

/**
 * What the server has of the tensors that were sent.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Compute, Tensor } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const compute = yield* Compute.scoped({ name: "my-compute" })
 *   const { message, receivedTensorIds } = yield* compute.sendTensors([Tensor.randn([100, 100])])
 *   yield* Effect.log(message, receivedTensorIds)
 * }).pipe(Effect.scoped)
 * ```
 */
export class SendReceipt extends Schema.Class<SendReceipt>("SendReceipt")({
  success: Schema.Boolean,
  /** The server's words, such as "Received 2 tensor(s)". */
  message: Schema.String,
  /** The ids of the tensors that the server has whole. */
  receivedTensorIds: Schema.Array(Schema.String)
}) {}
