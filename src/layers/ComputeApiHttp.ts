/**
 * The Compute API as HTTP requests: paths, parameters and bodies of `compute.kpu.dev/v1alpha1`, and the answers checked.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { apiVersion, type ComputeResource, decodeComputeResource, kind, plural } from "../schema/ComputeResource.ts"
import { Conflict, KubernetesError, Transport } from "../schema/KubernetesError.ts"
import {
  type ApiError,
  type ApplyOptions,
  ComputeApi,
  type ComputeRef,
  type DeleteOptions,
  type ListOptions,
  type WatchEvent,
  type WatchOptions
} from "../services/ComputeApi.ts"
import { KubeConfig } from "../services/KubeConfig.ts"
import { KubernetesClient, type KubernetesRequest } from "../services/KubernetesClient.ts"
import { type Asked, badResponse, fromStatus } from "./internal/kubernetes/kubernetesAnswer.ts"

/** The field manager under which this client applies, unless told otherwise. */
export const defaultFieldManager = "kpu-typescript-client"

export interface LayerOptions {
  /** Another field manager than `kpu-typescript-client`. */
  readonly fieldManager?: string | undefined
}

/** The server ends a watch after so long unless told otherwise: a connection that died silently is noticed soon after. */
const defaultWatchSeconds = 60

/** How much later than the server's own end a watch counts as dead. */
const watchGrace = Duration.seconds(10)

const List = Schema.Struct({
  metadata: Schema.Struct({ resourceVersion: Schema.String }),
  items: Schema.Array(Schema.Record(Schema.String, Schema.Unknown))
})
const Event = Schema.Struct({ type: Schema.String, object: Schema.Record(Schema.String, Schema.Unknown) })
const Bookmark = Schema.Struct({
  metadata: Schema.Struct({
    resourceVersion: Schema.String,
    annotations: Schema.optional(Schema.Record(Schema.String, Schema.String))
  })
})
const decodeList = Schema.decodeUnknownEffect(List)
const decodeEvent = Schema.decodeUnknownEffect(Event)
const decodeBookmark = Schema.decodeUnknownEffect(Bookmark)

const tags = { ADDED: "Added", MODIFIED: "Modified", DELETED: "Deleted" } as const

const collection = (namespace: string): string =>
  `/apis/${apiVersion}/namespaces/${encodeURIComponent(namespace)}/${plural}`

const object = ({ name, namespace }: ComputeRef): string => `${collection(namespace)}/${encodeURIComponent(name)}`

const make = Effect.fnUntraced(function* (options: LayerOptions) {
  const client = yield* KubernetesClient
  const config = yield* KubeConfig
  const fieldManager = options.fieldManager ?? defaultFieldManager

  const asked = ({ resource, verb }: KubernetesRequest): Asked => ({ resource, verb, config })

  const malformed = (request: KubernetesRequest, value: unknown) => () =>
    badResponse(asked(request), 200, JSON.stringify(value) ?? "", "something that is no Compute")

  const decode = (request: KubernetesRequest, value: unknown): Effect.Effect<ComputeResource, KubernetesError> =>
    Effect.mapError(decodeComputeResource(value), malformed(request, value))

  const one = (request: KubernetesRequest): Effect.Effect<ComputeResource, ApiError> =>
    Effect.flatMap(client.json(request), (value) => decode(request, value))

  const refOf = ({ name, namespace }: ComputeRef) => ({ kind, namespace, name })

  const apply = (input: ApplyOptions): Effect.Effect<ComputeResource, ApiError> => {
    const request: KubernetesRequest = {
      verb: "apply",
      resource: refOf(input),
      method: "PATCH",
      path: object(input),
      query: { fieldManager, force: String(input.force ?? true) },
      body: {
        contentType: "application/apply-patch+yaml",
        content: {
          apiVersion,
          kind,
          metadata: {
            name: input.name,
            namespace: input.namespace,
            uid: input.uid,
            resourceVersion: input.resourceVersion
          },
          // the CRD wants at least one property, or no spec at all
          ...(Object.keys(input.spec).length === 0 ? {} : { spec: input.spec })
        }
      },
      // with a version to be at, the second of two finds another version
      idempotent: input.resourceVersion === undefined
    }
    // the API server calls another uid an invalid change of an immutable field
    return Effect.catchReason(one(request), "KubernetesError", "Invalid", (reason, error) =>
      Effect.fail(
        input.uid !== undefined && reason.causes.some(({ field }) => field === "metadata.uid")
          ? new KubernetesError({
              verb: error.verb,
              resource: error.resource,
              reason: new Conflict({
                message: `another Compute has this name now: ${reason.message}`,
                causes: reason.causes
              })
            })
          : error
      )
    )
  }

  const get = (ref: ComputeRef): Effect.Effect<ComputeResource, ApiError> =>
    one({ verb: "get", resource: refOf(ref), method: "GET", path: object(ref), idempotent: true })

  const nameIn = (fieldSelector: string | undefined): string | undefined =>
    fieldSelector === undefined ? undefined : /^metadata\.name=(.+)$/.exec(fieldSelector)?.[1]

  const list = Effect.fnUntraced(function* (input: ListOptions) {
    const request: KubernetesRequest = {
      verb: "list",
      resource: { kind, namespace: input.namespace, name: nameIn(input.fieldSelector) },
      method: "GET",
      path: collection(input.namespace),
      query: {
        fieldSelector: input.fieldSelector,
        labelSelector: input.labelSelector,
        resourceVersion: input.resourceVersion
      },
      idempotent: true
    }
    const value = yield* client.json(request)
    const { items, metadata } = yield* Effect.mapError(decodeList(value), malformed(request, value))
    return {
      resourceVersion: metadata.resourceVersion,
      // the items of a list of custom resources carry both, other servers leave them to the list
      items: yield* Effect.forEach(items, (item) => decode(request, { apiVersion, kind, ...item }))
    }
  })

  const remove = (input: DeleteOptions): Effect.Effect<"accepted" | "absent", ApiError> =>
    client
      .json({
        verb: "delete",
        resource: refOf(input),
        method: "DELETE",
        path: object(input),
        body: {
          contentType: "application/json",
          content: {
            apiVersion: "v1",
            kind: "DeleteOptions",
            gracePeriodSeconds: input.gracePeriodSeconds,
            preconditions: input.uid === undefined ? undefined : { uid: input.uid }
          }
        },
        // without a uid the second of two may meet another Compute of the same name
        idempotent: input.uid !== undefined
      })
      .pipe(
        Effect.as("accepted" as const),
        Effect.catchReasons("KubernetesError", {
          NotFound: () => Effect.succeed("absent" as const),
          CrdNotInstalled: () => Effect.succeed("absent" as const),
          Conflict: (_, error) => (input.uid === undefined ? Effect.fail(error) : Effect.succeed("absent" as const))
        })
      )

  const toEvent = Effect.fnUntraced(function* (request: KubernetesRequest, value: unknown) {
    const event = yield* Effect.mapError(decodeEvent(value), malformed(request, value))
    switch (event.type) {
      case "ADDED":
      case "MODIFIED":
      case "DELETED": {
        const result: WatchEvent = { _tag: tags[event.type], resource: yield* decode(request, event.object) }
        return result
      }
      case "BOOKMARK": {
        const { metadata } = yield* Effect.mapError(decodeBookmark(event.object), malformed(request, value))
        const result: WatchEvent = {
          _tag: "Bookmark",
          resourceVersion: metadata.resourceVersion,
          initialEventsEnd: metadata.annotations?.["k8s.io/initial-events-end"] === "true"
        }
        return result
      }
      case "ERROR":
        return yield* fromStatus(asked(request), event.object)
      default:
        return yield* malformed(request, value)()
    }
  })

  const watch = (input: WatchOptions): Stream.Stream<WatchEvent, ApiError> => {
    const seconds = input.timeoutSeconds ?? defaultWatchSeconds
    const request: KubernetesRequest = {
      verb: "watch",
      resource: { kind, namespace: input.namespace, name: nameIn(input.fieldSelector) },
      method: "GET",
      path: collection(input.namespace),
      query: {
        watch: "true",
        allowWatchBookmarks: "true",
        timeoutSeconds: String(seconds),
        fieldSelector: input.fieldSelector,
        labelSelector: input.labelSelector,
        resourceVersion: input.resourceVersion
      },
      idempotent: true
    }
    const deadline = Duration.sum(Duration.seconds(seconds), watchGrace)
    return client.lines(request).pipe(
      Stream.mapEffect((value) => toEvent(request, value)),
      Stream.timeoutOrElse({
        duration: deadline,
        orElse: () => Stream.fail(silent(request, Duration.toSeconds(deadline)))
      })
    )
  }

  const silent = ({ resource, verb }: KubernetesRequest, seconds: number): KubernetesError =>
    new KubernetesError({
      verb,
      resource,
      reason: new Transport({
        message: `the watch at ${config.server} has been silent for ${seconds} s, longer than the server may leave it open`,
        code: "ETIMEDOUT",
        isRetryable: true
      })
    })

  return ComputeApi.of({ fieldManager, apply, get, list, delete: remove, watch })
})

/** The Compute API of the cluster of `KubeConfig`, under one field manager. */
export const layer = (options: LayerOptions = {}): Layer.Layer<ComputeApi, never, KubeConfig | KubernetesClient> =>
  Layer.effect(ComputeApi, make(options))
