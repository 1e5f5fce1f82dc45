/**
 * The Schema of tensors: in memory the tensor itself, in JSON `{ dtype, shape, data }` with the bytes in Base64. It also
 * generates tensors of every dtype for property tests, bit patterns such as NaN payloads and −0 included.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { DType } from "./DType.ts"
import { allocateElements, isTensor, make, makeEffect, type Tensor } from "./Tensor.ts"

const size = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const Encoded = Schema.Struct({ dtype: DType, shape: Schema.Array(size), data: Schema.Uint8Array })

/** What a generated tensor is made of: few dimensions, small sizes, and where its bits come from. */
const Generated = Schema.Struct({
  dtype: DType,
  shape: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))).check(Schema.isMaxLength(5)),
  seed: Schema.Int
})

const generate = ({ dtype, seed, shape }: typeof Generated.Type): Tensor => {
  const data = allocateElements(dtype, shape)
  let state = seed | 0
  for (let index = 0; index < data.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    data[index] = dtype === "bool" ? (state >>> 24) & 1 : state >>> 24
  }
  return make({ dtype, shape, data })
}

/**
 * The Schema of tensors.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Schema } from "effect"
 * import { Tensor } from "effect-kpu"
 *
 * const Job = Schema.Struct({ name: Schema.String, input: Tensor.Schema })
 * const toJson = Schema.encodeSync(Schema.toCodecJson(Job))
 *
 * it.prop("a tensor equals itself", [Tensor.Schema], ([tensor]) => Tensor.equals(tensor, tensor))
 * ```
 */
export const TensorSchema: Schema.declare<Tensor> = Schema.declare(isTensor, {
  identifier: "Tensor",
  expected: "a Tensor",
  toCodecJson: () =>
    Schema.link<Tensor>()(
      Encoded,
      SchemaTransformation.transformEffect({
        decode: (encoded) =>
          Effect.mapError(makeEffect(encoded), (error) => new SchemaIssue.InvalidValue({ message: error.message })),
        encode: ({ data, dtype, shape }) => Effect.succeed({ data, dtype, shape })
      })
    ),
  toCodecArbitrary: () =>
    Schema.link<Tensor>()(
      Generated,
      SchemaTransformation.transform({ decode: generate, encode: ({ dtype, shape }) => ({ dtype, shape, seed: 0 }) })
    )
})
