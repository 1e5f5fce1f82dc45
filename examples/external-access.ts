/**
 * External access: a program outside the cluster cannot dial `NAME.NAMESPACE.svc.cluster.local`. It goes through a
 * port-forward, which it names on the Compute, or through the cluster's Gateway, which it names once for all.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { Compute, Endpoint, Kpu, Tensor } from "effect-kpu"

/** While `kubectl port-forward svc/external-access 50051:50051` runs. */
export const throughPortForward = (host: string, port: number) =>
  Effect.gen(function* () {
    const compute = yield* Compute.apply({ name: "external-access", host, port })
    yield* compute.ready()
    return (yield* compute.sendTensors([Tensor.randn([4, 4])])).message
  }).pipe(Effect.scoped)

/** The same program as inside the cluster: only its layer differs. */
export const throughGateway = Effect.gen(function* () {
  const compute = yield* Compute.scoped({ name: "external-access" })
  return (yield* compute.sendTensors([Tensor.randn([4, 4])])).message
}).pipe(Effect.scoped)

/** `KPU_GATEWAY=gateway.example.com:80` */
const gateway = Layer.unwrap(
  Effect.map(Config.String("KPU_GATEWAY"), (address) => Kpu.layerWith({ endpoint: Endpoint.layerGateway(address) }))
)

if (import.meta.main) throughGateway.pipe(Effect.tap(Effect.log), Effect.provide(gateway), NodeRuntime.runMain)
