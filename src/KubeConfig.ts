/**
 * The ways to a Kubernetes cluster.
 */
import * as Default from "./layers/KubeConfigDefault.ts"
import * as File from "./layers/KubeConfigFile.ts"
import * as InCluster from "./layers/KubeConfigInCluster.ts"
import * as Options from "./layers/KubeConfigOptions.ts"
import * as Service from "./services/KubeConfig.ts"

export type { LayerFileOptions } from "./layers/KubeConfigFile.ts"
export type { ExecPluginOptions, KubeConfigOptions, Secret } from "./layers/KubeConfigOptions.ts"
export type { Credentials, Impersonation, Trust } from "./services/KubeConfig.ts"

/**
 * The way to a cluster: server, trust, identity. Each layer fails with `KubeConfigError`, which names the file and the
 * field at fault.
 *
 * **Example** (a context of a kubeconfig of one's own)
 *
 * ```ts
 * import { KubeConfig, Kpu } from "effect-kpu"
 *
 * const layer = Kpu.layerWith({ config: KubeConfig.layerFile("./staging.kubeconfig", { context: "team-a" }) })
 * ```
 */
export class KubeConfig extends Service.KubeConfig {
  /** `KUBECONFIG` (a file, or a list merged as kubectl does), else `~/.kube/config`, else in-cluster. */
  static readonly layer = Default.layer
  /** One kubeconfig file, its current context or a named one. */
  static readonly layerFile = File.layer
  /** The service account of the Pod that this runs in. */
  static readonly layerInCluster = InCluster.layer
  /** Server, trust and identity as options. */
  static readonly layerOptions = Options.layer
}
