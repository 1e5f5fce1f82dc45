/**
 * The Kubernetes API for Computes, request by request.
 */
import * as Layer from "effect/Layer"
import * as Http from "./layers/ComputeApiHttp.ts"
import * as KubernetesClientUndici from "./layers/KubernetesClientUndici.ts"
import * as Service from "./services/ComputeApi.ts"
import type { KubeConfig } from "./services/KubeConfig.ts"

export type { LayerOptions } from "./layers/ComputeApiHttp.ts"
export type {
  ApiError,
  ApplyOptions,
  ComputeList,
  ComputeRef,
  DeleteOptions,
  ListOptions,
  WatchEvent,
  WatchOptions
} from "./services/ComputeApi.ts"

const layerWith = (options: Http.LayerOptions): Layer.Layer<Service.ComputeApi, never, KubeConfig> =>
  Http.layer(options).pipe(Layer.provide(KubernetesClientUndici.layer))

/**
 * The Kubernetes API for Computes, one method a request: apply, get, list, delete, watch. `Kpu.layer` gives it too.
 *
 * **Example** (the names of all Computes of a namespace)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { ComputeApi, KubeConfig } from "effect-kpu"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* ComputeApi
 *   const { items } = yield* api.list({ namespace: "team-a" })
 *   return items.map((compute) => compute.metadata.name)
 * }).pipe(Effect.provide(ComputeApi.layer.pipe(Layer.provide(KubeConfig.layer))))
 * ```
 */
export class ComputeApi extends Service.ComputeApi {
  /** Over HTTP, under the field manager `kpu-typescript-client`. */
  static readonly layer: Layer.Layer<Service.ComputeApi, never, KubeConfig> = layerWith({})
  /** Under another field manager. */
  static readonly layerWith = layerWith
}
