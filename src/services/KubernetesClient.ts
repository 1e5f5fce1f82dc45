/**
 * One request to a Kubernetes API server, whatever it is about: addressed, authenticated, bounded in time, and its
 * failure typed. `ComputeApi` and `ComputeDiagnosis` speak through it, over the same connections.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ResourceRef } from "../schema/KubernetesError.ts"
import type { ApiError } from "./ComputeApi.ts"

export interface KubernetesRequest {
  /** The API verb, for errors, logs and spans. */
  readonly verb: string
  /** What the request is about, for the same. */
  readonly resource: ResourceRef
  readonly method: "GET" | "POST" | "PATCH" | "DELETE"
  /** From the server's root: `/api/v1/namespaces/team-a/pods/x-0`. */
  readonly path: string
  /** Absent values are left out. */
  readonly query?: Readonly<Record<string, string | undefined>> | undefined
  readonly body?: { readonly contentType: string; readonly content: unknown } | undefined
  /** Whether sending it twice does what sending it once does. What is not so is repeated only when it was not taken. */
  readonly idempotent: boolean
}

export class KubernetesClient extends Context.Service<
  KubernetesClient,
  {
    /** The answer's JSON. Retried where that may help, within the request timeout. */
    readonly json: (request: KubernetesRequest) => Effect.Effect<unknown, ApiError>
    /** The lines of an answer that has no end, each parsed. Not retried; closing the stream closes the connection. */
    readonly lines: (request: KubernetesRequest) => Stream.Stream<unknown, ApiError>
  }
>()("effect-kpu/KubernetesClient") {}
