/** The services through which the client reaches the embedded cluster: its API, and each Compute's own port. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { InvalidInput } from "../schema/KpuError.ts"
import { GrpcError } from "../schema/KpuError.ts"
import { Endpoint } from "../services/Endpoint.ts"
import { KubeConfig } from "../services/KubeConfig.ts"
import { Cluster, type ClusterOptions, type ClusterShape, start } from "./Cluster.ts"

export const cluster = (options: ClusterOptions): Layer.Layer<Cluster, InvalidInput> =>
  Layer.effect(Cluster, start(options))

/** The way to a cluster that runs already. */
export const configOf = ({ token, url }: ClusterShape): Layer.Layer<KubeConfig> =>
  Layer.succeed(
    KubeConfig,
    KubeConfig.of({
      server: url,
      source: "the embedded cluster",
      namespace: "default",
      proxy: undefined,
      trust: { insecureSkipVerify: false },
      credentials: Effect.succeed({ authorization: Redacted.make(`Bearer ${token}`) }),
      invalidate: Effect.void
    })
  )

export const config: Layer.Layer<KubeConfig, never, Cluster> = Layer.unwrap(Effect.map(Cluster, configOf))

export const endpoint: Layer.Layer<Endpoint, never, Cluster> = Layer.effect(
  Endpoint,
  Effect.map(Cluster, ({ resolve }) =>
    Endpoint.of({
      resolve: ({ name, namespace }) => {
        const address = resolve(namespace, name)
        return address === undefined
          ? Effect.fail(
              new GrpcError({
                code: "UNAVAILABLE",
                details: "no tensor server of this Compute runs in the embedded cluster",
                method: "connect",
                address: `${namespace}/${name}`,
                resource: { kind: "Compute", namespace, name }
              })
            )
          : Effect.succeed({
              ...address,
              hint: "It is served by this process: is the Compute suspended or being restarted?",
              mayResolveLater: false
            })
      }
    })
  )
)
