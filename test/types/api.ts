/**
 * What the public API promises in its types: values, the errors of each call, and the services that it needs. Compiled
 * by `check:types` and by the test beside this file; it never runs.
 */
import { Effect, type Layer, type Scope, type Stream } from "effect"
import {
  Compute,
  type ComputeDeleted,
  type ComputeFailed,
  type DType,
  Endpoint,
  GrpcChannel,
  type GrpcError,
  type InvalidInput,
  Kpu,
  type KpuError,
  type KubeConfig,
  type KubeConfigError,
  type KubernetesError,
  LocalCluster,
  type NotReady,
  type ReadyTimeout,
  type SendReceipt,
  type SendRejected,
  Tensor,
  type TensorDecodeError,
  type TensorLimitError
} from "effect-kpu"
import * as Promises from "effect-kpu/promise"
import { type Equal, holds } from "./equal.ts"

type Success<T> = T extends Effect.Effect<infer A, any, any> ? A : never
type Failure<T> = T extends Effect.Effect<any, infer E, any> ? E : never
type Needs<T> = T extends Effect.Effect<any, any, infer R> ? R : never
type Gives<T> = T extends Layer.Layer<infer A, any, any> ? A : never
type LayerFailure<T> = T extends Layer.Layer<any, infer E, any> ? E : never
type LayerNeeds<T> = T extends Layer.Layer<any, any, infer R> ? R : never

type Api = KubernetesError | KubeConfigError
type Wait = ReadyTimeout | ComputeDeleted | ComputeFailed | Api | InvalidInput
type Ready = Wait | GrpcError
type Receive = NotReady | GrpcError | TensorDecodeError | TensorLimitError | InvalidInput
type Send = NotReady | SendRejected | GrpcError | InvalidInput

declare const options: Compute.ComputeOptions
declare const handle: Compute.Handle

// apply, scoped, attach
{
  const apply = Compute.apply(options)
  holds<Equal<Success<typeof apply>, Compute.Handle>>()
  holds<Equal<Failure<typeof apply>, Api | InvalidInput>>()
  holds<
    Equal<Exclude<Needs<typeof apply>, Scope.Scope>, Exclude<Needs<ReturnType<typeof Compute.attach>>, Scope.Scope>>
  >()

  const scoped = Compute.scoped({ name: "x", timeout: "5 minutes", gracePeriod: 1000, ifExists: "fail" })
  holds<Equal<Success<typeof scoped>, Compute.Handle>>()
  holds<Equal<Failure<typeof scoped>, Ready>>()

  const attach = Compute.attach("x", { host: "localhost", port: 50051 })
  holds<Equal<Failure<typeof attach>, Api | InvalidInput>>()

  // Every call needs the client and a scope, and nothing else: either layer leaves only the scope.
  const onKpu = scoped.pipe(Effect.provide(Kpu.layer))
  holds<Equal<Needs<typeof onKpu>, Scope.Scope>>()
  const onLocal = scoped.pipe(Effect.scoped, Effect.provide(LocalCluster.layer))
  holds<Equal<Needs<typeof onLocal>, never>>()

  // @ts-expect-error a Compute has a name
  Compute.apply({ image: "x" })
  // @ts-expect-error environment variables are strings
  Compute.apply({ name: "x", env: { PORT: 1 } })
  // @ts-expect-error attach takes where to dial, not what to run
  Compute.attach("x", { image: "y" })
}

// the handle
{
  holds<Equal<typeof handle.isReady, Effect.Effect<boolean, Api>>>()
  holds<Equal<Failure<typeof handle.resource>, never>>()
  const ready = handle.ready({ timeout: "1 minute" })
  holds<Equal<typeof ready, Effect.Effect<void, Ready>>>()
  const suspended = handle.suspend()
  holds<Equal<typeof suspended, Effect.Effect<void, Wait>>>()
  const deleted = handle.delete({ gracePeriod: "1 minute" })
  holds<Equal<typeof deleted, Effect.Effect<void, Wait>>>()
  // @ts-expect-error the handle's fields are not to be written
  handle.name = "y"
}

// tensor calls carry the user's own errors and services
{
  class Mine {
    readonly _tag = "Mine"
  }
  class Files {
    readonly files = true
  }
  const plain = handle.sendTensors([Tensor.zeros([1])])
  holds<Equal<typeof plain, Effect.Effect<SendReceipt, Send>>>()

  const own = null as unknown as Stream.Stream<Tensor, Mine, Files>
  const sent = handle.sendTensors(own)
  holds<Equal<Failure<typeof sent>, Send | Mine>>()
  holds<Equal<Needs<typeof sent>, Files>>()

  const received = handle.receiveTensors({ count: 2, parameters: { shape: "20,20" } })
  holds<Equal<typeof received, Stream.Stream<Tensor, Receive>>>()

  const through = handle.streamTensors(own)
  holds<Equal<typeof through, Stream.Stream<Tensor, Receive | Mine, Files>>>()

  // @ts-expect-error numbers are no tensors
  handle.sendTensors([1, 2, 3])
  // @ts-expect-error parameters are strings
  handle.receiveTensors({ parameters: { shape: [20, 20] } })
}

// layers
{
  holds<Equal<LayerFailure<typeof Kpu.layer>, KubeConfigError | InvalidInput>>()
  holds<Equal<LayerNeeds<typeof Kpu.layer>, never>>()
  holds<Equal<LayerFailure<typeof LocalCluster.layer>, never>>()
  holds<Equal<LayerNeeds<typeof LocalCluster.layer>, never>>()
  // The embedded cluster gives all that the client's layer gives.
  holds<Equal<Exclude<Gives<typeof Kpu.layer>, Gives<typeof LocalCluster.layer>>, never>>()

  // The parts' own errors and needs are carried through.
  class Vault {
    readonly vault = true
  }
  class Sealed {
    readonly _tag = "Sealed"
  }
  const config = null as unknown as Layer.Layer<Gives<typeof KubeConfig.layer>, Sealed, Vault>
  const configured = Kpu.layerWith({ config, endpoint: Endpoint.layerService, channel: GrpcChannel.layerGrpcJs })
  holds<Equal<LayerNeeds<typeof configured>, Vault>>()
  holds<Equal<Extract<LayerFailure<typeof configured>, Sealed>, Sealed>>()
  // @ts-expect-error a namespace is a string
  Kpu.layerWith({ namespace: 1 })
}

// errors
{
  const handled = Compute.apply(options).pipe(
    Effect.catchTag("InvalidInput", (error) => Effect.succeed(error.field)),
    Effect.catchReason("KubernetesError", "Forbidden", (reason) => Effect.succeed(reason.message))
  )
  holds<Equal<Failure<typeof handled>, Api>>()
  // The family is closed: this is all of it.
  holds<
    Equal<
      KpuError["_tag"],
      | "InvalidInput"
      | "KubeConfigError"
      | "KubernetesError"
      | "ReadyTimeout"
      | "ComputeDeleted"
      | "ComputeFailed"
      | "NotReady"
      | "SendRejected"
      | "TensorDecodeError"
      | "TensorLimitError"
      | "GrpcError"
    >
  >()
  holds<Equal<KpuError["isRetryable"], boolean>>()
  holds<Equal<KpuError["message"], string>>()
}

// tensors
{
  holds<Equal<Tensor["shape"], ReadonlyArray<number>>>()
  holds<Equal<Tensor["data"], Uint8Array>>()
  holds<Equal<Tensor["dtype"], DType>>()
  const halves = Tensor.zeros([2], { dtype: "bfloat16" })
  holds<Equal<typeof halves, Tensor<"bfloat16">>>()
  holds<Equal<ReturnType<typeof Tensor.toTorch>, Uint8Array>>()
  const read = Tensor.fromTorch(new Uint8Array())
  holds<Equal<typeof read, Effect.Effect<Tensor, TensorDecodeError>>>()
  const elements: BigInt64Array = Tensor.toTypedArray(Tensor.zeros([2], { dtype: "int64" }))
  void elements
  // @ts-expect-error no such dtype
  Tensor.zeros([2], { dtype: "float31" })
}

// promises
{
  const create = Promises.Compute.create({ name: "x", signal: AbortSignal.timeout(1000) })
  holds<Equal<typeof create, Promise<Promises.Compute>>>()
  const iterate = async (compute: Promises.Compute) => {
    const receipt = await compute.sendTensors(Tensor.zeros([1]))
    holds<Equal<typeof receipt, SendReceipt>>()
    for await (const tensor of compute.receiveTensors({ count: 2 })) holds<Equal<typeof tensor, Tensor>>()
    const all = await compute.streamTensors([Tensor.zeros([1])]).toArray()
    holds<Equal<typeof all, Array<Tensor>>>()
    // @ts-expect-error a signal is an AbortSignal
    await compute.ready({ signal: "now" })
  }
  void iterate
  const read = Promises.Tensor.fromTorch(new Uint8Array())
  holds<Equal<typeof read, Promise<Tensor>>>()
  // @ts-expect-error what is made by create, apply or attach is not made by new
  new Promises.Compute()
}
