/**
 * The whole client as one layer. What the Python client's `init()` configures once for a process is a value here: build
 * it, share it, and build another one where a program needs two.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Endpoint } from "./Endpoint.ts"
import { GrpcChannel } from "./GrpcChannel.ts"
import { KubeConfig } from "./KubeConfig.ts"
import * as ComputeApiHttp from "./layers/ComputeApiHttp.ts"
import * as ComputeDiagnosisPods from "./layers/ComputeDiagnosisPods.ts"
import * as ComputeWatchShared from "./layers/ComputeWatchShared.ts"
import { checkClientOptions } from "./layers/internal/kubernetes/clientOptions.ts"
import * as Computes from "./layers/KpuComputes.ts"
import * as KubernetesClientUndici from "./layers/KubernetesClientUndici.ts"
import * as TensorClientGrpc from "./layers/TensorClientGrpc.ts"
import { Namespace } from "./Namespace.ts"
import type { InvalidInput, KubeConfigError } from "./schema/KpuError.ts"
import type { ComputeApi } from "./services/ComputeApi.ts"
import type { ComputeDiagnosis } from "./services/ComputeDiagnosis.ts"
import type { ComputeWatch } from "./services/ComputeWatch.ts"
import type * as EndpointService from "./services/Endpoint.ts"
import type * as GrpcChannelService from "./services/GrpcChannel.ts"
import * as Service from "./services/Kpu.ts"
import type * as KubeConfigService from "./services/KubeConfig.ts"
import type { KubernetesClient } from "./services/KubernetesClient.ts"
import type * as NamespaceService from "./services/Namespace.ts"
import type { TensorClient } from "./services/TensorClient.ts"
import { defaultTimeouts, type TimeoutOptions, Timeouts, type TimeoutValues } from "./services/Timeouts.ts"

export type { TimeoutOptions } from "./services/Timeouts.ts"

/** Everything that `Kpu.layer` gives: the client itself, and the services that it is made of. */
export type KpuServices =
  | Service.Kpu
  | ComputeApi
  | ComputeDiagnosis
  | ComputeWatch
  | EndpointService.Endpoint
  | GrpcChannelService.GrpcChannel
  | KubeConfigService.KubeConfig
  | KubernetesClient
  | NamespaceService.Namespace
  | TensorClient

/** Which parts of the client are other than `Kpu.layer` has them. */
export interface KpuOptions<CE = never, CR = never, EE = never, ER = never, GE = never, GR = never> {
  /** The way to the cluster; `KubeConfig.layer` when absent. */
  readonly config?: Layer.Layer<KubeConfigService.KubeConfig, CE, CR> | undefined
  /** The namespace of all Computes; detected when absent. */
  readonly namespace?: string | undefined
  /** How Computes are dialled; `Endpoint.layerService` when absent. */
  readonly endpoint?: Layer.Layer<EndpointService.Endpoint, EE, ER> | undefined
  /** The transport of tensor calls; the fastest measured one when absent. */
  readonly channel?: Layer.Layer<GrpcChannelService.GrpcChannel, GE, GR> | undefined
  /** The field manager of server-side apply; `kpu-typescript-client` when absent. */
  readonly fieldManager?: string | undefined
  readonly timeouts?: TimeoutOptions | undefined
}

const withDefaults = (timeouts: TimeoutOptions = {}): TimeoutValues => {
  const given = Object.entries(timeouts).filter(([, value]) => value !== undefined)
  return {
    ...defaultTimeouts,
    ...Object.fromEntries(given.map(([key, value]) => [key, Duration.fromInputUnsafe(value)]))
  }
}

const layerWith = <CE = never, CR = never, EE = never, ER = never, GE = never, GR = never>(
  options: KpuOptions<CE, CR, EE, ER, GE, GR>
): Layer.Layer<KpuServices, KubeConfigError | InvalidInput | CE | EE | GE, CR | ER | GR> =>
  Layer.unwrap(
    Effect.map(Effect.fromResult(checkClientOptions(options)), () => {
      const config: Layer.Layer<KubeConfigService.KubeConfig, KubeConfigError | CE, CR> =
        options.config ?? KubeConfig.layer
      const endpoint: Layer.Layer<EndpointService.Endpoint, EE, ER> = options.endpoint ?? Endpoint.layerService
      const channel: Layer.Layer<GrpcChannelService.GrpcChannel, GE, GR> = options.channel ?? GrpcChannel.layer
      const namespace: Layer.Layer<NamespaceService.Namespace, InvalidInput, KubeConfigService.KubeConfig> =
        options.namespace === undefined ? Layer.fresh(Namespace.layer) : Namespace.layerOf(options.namespace)
      // Effect keeps one instance of a layer for a program, whatever it was built on: a second client, of another
      // configuration, would get the first one's parts.
      return Layer.fresh(Computes.layer).pipe(
        Layer.provideMerge(Layer.fresh(ComputeWatchShared.layer)),
        Layer.provideMerge(ComputeApiHttp.layer({ fieldManager: options.fieldManager })),
        Layer.provideMerge(Layer.fresh(ComputeDiagnosisPods.layer)),
        Layer.provideMerge(Layer.fresh(KubernetesClientUndici.layer)),
        Layer.provideMerge(Layer.fresh(TensorClientGrpc.layer)),
        Layer.provideMerge([namespace, endpoint, channel]),
        Layer.provideMerge(config),
        Layer.provide(Layer.succeed(Timeouts, withDefaults(options.timeouts)))
      )
    })
  )

/**
 * The client: all that `Compute.apply`, `Compute.scoped` and `Compute.attach` need.
 *
 * **Example** (found by itself, and configured)
 *
 * ```ts
 * import { Endpoint, KubeConfig, Kpu } from "effect-kpu"
 *
 * const detected = Kpu.layer
 *
 * const configured = Kpu.layerWith({
 *   config: KubeConfig.layerFile("./staging.kubeconfig", { context: "team-a" }),
 *   namespace: "team-a",
 *   endpoint: Endpoint.layerGateway("gateway.example.com:80"),
 *   timeouts: { ready: "10 minutes" }
 * })
 * ```
 */
export class Kpu extends Service.Kpu {
  /** Finds the cluster and the namespace by itself. */
  static readonly layer: Layer.Layer<KpuServices, KubeConfigError | InvalidInput> = Layer.suspend(() => layerWith({}))
  /** Other parts than the detected ones. Asking for two configurations is two layers. */
  static readonly layerWith = layerWith
}
