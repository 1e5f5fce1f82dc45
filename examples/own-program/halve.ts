/** A program of one's own: halves tensors on this side, and sends them through a Compute. */
import { Effect, Stream } from "effect"
import { Compute, Tensor } from "effect-kpu"

/** Half of each element. */
export const halve = (tensor: Tensor): Tensor =>
  Tensor.make({
    dtype: "float32",
    shape: tensor.shape,
    data: Float32Array.from(Tensor.toFloat32Array(tensor), (value) => value / 2)
  })

/** Sends halves, gives what comes back. */
export const halveThrough = Effect.fn("halveThrough")(function* (name: string, tensors: ReadonlyArray<Tensor>) {
  const compute = yield* Compute.scoped({ name, timeout: "1 minute" })
  return yield* compute.streamTensors(tensors.map(halve)).pipe(Stream.runCollect)
}, Effect.scoped)
