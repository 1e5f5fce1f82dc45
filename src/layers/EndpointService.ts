/**
 * Dials a Compute at its Service's DNS name, `NAME.NAMESPACE.svc.cluster.local`: the way inside a cluster.
 *
 * **Gotchas.** Outside a cluster the name does not resolve, and waiting does not help; inside, DNS may lag behind a new
 * Service for some seconds (a negative answer is cached). Which it is shows in `KUBERNETES_SERVICE_HOST`, which every
 * Pod has.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Endpoint } from "../services/Endpoint.ts"

export const layer: Layer.Layer<Endpoint> = Layer.effect(
  Endpoint,
  Effect.gen(function* () {
    const inCluster = Option.isSome(yield* Effect.option(Config.String("KUBERNETES_SERVICE_HOST")))
    return Endpoint.of({
      resolve: ({ name, namespace, port }) =>
        Effect.succeed({
          host: `${name}.${namespace}.svc.cluster.local`,
          port,
          hint: inCluster
            ? "Does the cluster's DNS work in this Pod?"
            : `This name resolves only inside the cluster. From outside, give the Compute's \`host\` option (with \`kubectl port-forward svc/${name} ${port}:50051 --namespace ${namespace}\`, host: "localhost"), or provide Endpoint.layerGateway(ADDRESS) or Endpoint.layerOverride(HOST, PORT).`,
          mayResolveLater: inCluster
        })
    })
  })
)
