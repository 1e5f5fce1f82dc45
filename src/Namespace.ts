/**
 * The namespace in which Computes live.
 */
import * as Default from "./layers/NamespaceDefault.ts"
import * as Of from "./layers/NamespaceOf.ts"
import * as Service from "./services/Namespace.ts"

/**
 * The namespace in which Computes live.
 *
 * **Example** (Computes of one team)
 *
 * ```ts
 * import { Kpu } from "effect-kpu"
 *
 * const layer = Kpu.layerWith({ namespace: "team-a" })
 * ```
 */
export class Namespace extends Service.Namespace {
  /** The kubeconfig context's, else the service-account file's, else `default`. */
  static readonly layer = Default.layer
  /** This one. Fails with `InvalidInput` where it is no namespace's name. */
  static readonly layerOf = Of.layer
}
