/**
 * The client as the global flags configure it, for the commands that need a cluster.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Endpoint } from "../Endpoint.ts"
import { GrpcChannel } from "../GrpcChannel.ts"
import { Kpu, type KpuServices } from "../Kpu.ts"
import type { DialOptions } from "../schema/ComputeOptions.ts"
import type { InvalidInput, KubeConfigError } from "../schema/KpuError.ts"
import type * as EndpointService from "../services/Endpoint.ts"
import { KubeConfig } from "../services/KubeConfig.ts"
import { kubeConfigLayer } from "./access.ts"
import { type Globals, globals } from "./globals.ts"
import { localGateway } from "./local/state.ts"
import { type Meter, makeMeter, meteredChannel } from "./output/Transfer.ts"

/** The bytes that this command's tensor calls have moved. */
export class TransferMeter extends Context.Service<TransferMeter, Meter>()("effect-kpu/cli/TransferMeter") {}

/** What `--host` and `--port` say; `--host` wins over every endpoint. */
export const dialOptions = ({ host, port }: Globals): DialOptions => ({ host, port })

/**
 * How Computes are dialled: at `--gateway` (or `KPU_GATEWAY`); at the gateway of `kpu local`, where that is the cluster;
 * else at their Services.
 */
const endpointLayer = ({ gateway }: Globals): Layer.Layer<EndpointService.Endpoint, InvalidInput, KubeConfig> => {
  const given = gateway ?? (process.env["KPU_GATEWAY"] || undefined)
  if (given !== undefined) return Endpoint.layerGateway(given)
  return Layer.unwrap(
    Effect.gen(function* () {
      const { server } = yield* KubeConfig
      const local = yield* localGateway(server)
      return local === undefined ? Endpoint.layerService : Endpoint.layerGateway(local)
    })
  )
}

/** Everything that the client gives, and a meter of its tensor calls. */
export const clientLayer = (
  flags: Globals
): Layer.Layer<KpuServices | TransferMeter, KubeConfigError | InvalidInput> => {
  const meter = makeMeter()
  const config = kubeConfigLayer(flags)
  return Kpu.layerWith({
    config,
    namespace: flags.namespace,
    endpoint: endpointLayer(flags).pipe(Layer.provide(config)),
    channel: meteredChannel(GrpcChannel.layer, meter),
    timeouts: flags.requestTimeout === undefined ? undefined : { request: flags.requestTimeout }
  }).pipe(Layer.merge(Layer.succeed(TransferMeter, meter)))
}

/** Runs a command's handler with the client. */
export const withClient = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(globals, (flags) => Effect.scoped(Effect.provide(effect, clientLayer(flags))))
