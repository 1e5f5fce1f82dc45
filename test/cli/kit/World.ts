/** An embedded cluster in this process, and the environment in which `kpu` finds it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type ClusterOptions, type ClusterShape, start } from "../../../src/local/Cluster.ts"
import type { InvalidInput } from "../../../src/schema/KpuError.ts"
import { type Folder, temporaryFolder } from "../../kit/folder.ts"

export interface WorldShape {
  readonly cluster: ClusterShape
  readonly folder: Folder
  /** The kubeconfig and the gateway of the cluster, a home of its own. */
  readonly env: Readonly<Record<string, string>>
}

export class World extends Context.Service<World, WorldShape>()("test/cli/World") {}

export const makeWorld = (options: ClusterOptions = {}): Effect.Effect<WorldShape, InvalidInput, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const cluster = yield* start({ startDelay: "20 millis", ...options })
    return {
      cluster,
      folder,
      env: {
        HOME: folder.path,
        KPU_LOCAL_HOME: `${folder.path}/local`,
        KUBECONFIG: folder.write("kubeconfig", cluster.kubeconfig),
        KPU_GATEWAY: cluster.gatewayAddress
      }
    }
  })

export const layer = Layer.effect(World, makeWorld())
