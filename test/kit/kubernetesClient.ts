/** The Kubernetes side of the client under test, over one way to a cluster. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ComputeApiHttp from "../../src/layers/ComputeApiHttp.ts"
import * as ComputeDiagnosisPods from "../../src/layers/ComputeDiagnosisPods.ts"
import * as ComputeWatchShared from "../../src/layers/ComputeWatchShared.ts"
import * as KubernetesClientUndici from "../../src/layers/KubernetesClientUndici.ts"
import type { ComputeApi } from "../../src/services/ComputeApi.ts"
import type { ComputeDiagnosis } from "../../src/services/ComputeDiagnosis.ts"
import type { ComputeWatch } from "../../src/services/ComputeWatch.ts"
import type { KubeConfig } from "../../src/services/KubeConfig.ts"
import { KubernetesClient } from "../../src/services/KubernetesClient.ts"

export const kubernetes = <E>(
  config: Layer.Layer<KubeConfig, E>,
  options: ComputeApiHttp.LayerOptions & ComputeWatchShared.LayerOptions = {}
): Layer.Layer<ComputeApi | ComputeDiagnosis | ComputeWatch | KubeConfig | KubernetesClient, E> =>
  Layer.mergeAll(ComputeWatchShared.layerWith(options), ComputeDiagnosisPods.layer).pipe(
    Layer.provideMerge(ComputeApiHttp.layer(options)),
    Layer.provideMerge(KubernetesClientUndici.layer),
    Layer.provideMerge(Layer.fresh(config))
  )

/** What the server takes the client's credentials for. */
export const whoAmI = Effect.gen(function* () {
  const client = yield* KubernetesClient
  const answer: any = yield* client.json({
    verb: "create",
    resource: { kind: "SelfSubjectReview" },
    method: "POST",
    path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    body: {
      contentType: "application/json",
      content: { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" }
    },
    idempotent: true
  })
  return answer.status.userInfo as { readonly username: string }
})
