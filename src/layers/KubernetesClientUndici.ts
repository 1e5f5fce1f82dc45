/**
 * Kubernetes requests over Undici.
 *
 * **The hard thing** is what may be repeated. A request is sent again only where that can help (`isRetryable`) and where
 * it does the same when it is done twice; what is not idempotent is sent again only when it certainly was not taken: the
 * server said "later" (429), or there was no connection. All attempts together fit into the request timeout. A 401
 * forgets the cached credentials and tries once more with new ones.
 *
 * **Gotchas**
 *
 * - HTTP/1.1 on purpose: each watch is a connection of its own, and the cap on the others means something.
 * - A client certificate belongs to a connection, not to a request: when it rotates, new connections are opened, and
 *   the old ones are left to finish.
 */
import type * as Undici from "@effect/platform-node/Undici"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { KubernetesError } from "../schema/KubernetesError.ts"
import type { ApiError } from "../services/ComputeApi.ts"
import { type Credentials, KubeConfig } from "../services/KubeConfig.ts"
import { KubernetesClient, type KubernetesRequest } from "../services/KubernetesClient.ts"
import { Timeouts } from "../services/Timeouts.ts"
import { Broken, exchange, type HttpAnswer, type HttpRequest, open } from "./internal/kubernetes/httpExchange.ts"
import { impersonationHeaders } from "./internal/kubernetes/impersonation.ts"
import { jsonLines } from "./internal/kubernetes/jsonLines.ts"
import { type Asked, badResponse, fromAnswer, fromTransport, timedOut } from "./internal/kubernetes/kubernetesAnswer.ts"
import { countRequest, countRetry } from "./internal/metrics.ts"

/** More requests at once do not make an API server faster, and 1,000 sockets harm both sides. */
const maxConnections = 32

/**
 * How long an idle connection is kept: API servers keep theirs for 90 s, load balancers before them for a minute. Undici's
 * own 4 s cost a program that asks every few seconds a TLS handshake each time.
 */
const keepAliveTimeout = 30_000

/** Retries after the first attempt: 0.2, 0.4, 0.8 and 1.6 s apart, jittered. */
const maxRetries = 4

/** A server that asks for a longer wait is not waited for: the caller decides. */
const maxRetryAfter = Duration.seconds(15)

/** Up to so much of the wait that a server asks for comes on top of it. */
const retryAfterJitter = 0.2

const retryAfterOf = (error: ApiError): Duration.Duration => {
  if (error._tag !== "KubernetesError") return Duration.zero
  const { reason } = error
  const seconds = reason._tag === "Throttled" || reason._tag === "Unavailable" ? reason.retryAfterSeconds : undefined
  return Duration.seconds(seconds ?? 0)
}

/** Whether the server has certainly not acted on the request. */
const wasNotTaken = ({ reason }: KubernetesError): boolean =>
  reason._tag === "Throttled" || (reason._tag === "Transport" && reason.code === "ECONNREFUSED")

const isWorthRepeating = (request: KubernetesRequest, error: ApiError): error is KubernetesError =>
  error._tag === "KubernetesError" &&
  error.isRetryable &&
  (request.idempotent || wasNotTaken(error)) &&
  Duration.isLessThanOrEqualTo(retryAfterOf(error), maxRetryAfter)

const retries = (request: KubernetesRequest) =>
  Schedule.exponential("200 millis").pipe(
    Schedule.setInputType<ApiError>(),
    Schedule.while(({ input }) => isWorthRepeating(request, input)),
    Schedule.jittered,
    Schedule.upTo({ times: maxRetries }),
    Schedule.modifyDelay(({ attempt, duration, input }) =>
      Effect.gen(function* () {
        // all that were told to come back after a second would come back together
        const asked = Duration.times(retryAfterOf(input), 1 + (yield* Random.next) * retryAfterJitter)
        const delay = Duration.max(duration, asked)
        yield* Effect.logWarning(
          `${input.message}; trying again in ${Math.round(Duration.toMillis(delay))} ms (retry ${attempt} of ${maxRetries})`
        ).pipe(
          Effect.annotateLogs(attributesOf(request)),
          Effect.andThen(countRetry(request.verb)),
          Effect.andThen(Effect.annotateCurrentSpan("http.request.resend_count", attempt))
        )
        return delay
      })
    )
  )

/** The attributes of a request, for spans and logs. */
const attributesOf = ({ resource }: KubernetesRequest): Record<string, string> => ({
  "k8s.resource.kind": resource.kind,
  ...(resource.namespace === undefined ? {} : { "k8s.namespace.name": resource.namespace }),
  ...(resource.name === undefined ? {} : { "k8s.resource.name": resource.name })
})

/** The tag of the failure that an exit is, for metrics. */
const failureOf = (exit: Exit.Exit<unknown, ApiError>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.findErrorOption(exit.cause)
  if (error._tag === "None") return Cause.hasInterrupts(exit.cause) ? "Interrupted" : "Defect"
  return error.value._tag === "KubernetesError" ? error.value.reason._tag : error.value._tag
}

/** Where requests go, with one client certificate or none. */
interface Dispatchers {
  readonly certificate: Credentials["certificate"]
  readonly requests: Undici.Dispatcher
  readonly watches: Undici.Dispatcher
}

const sameCertificate = (a: Credentials["certificate"], b: Credentials["certificate"]): boolean =>
  a === b ||
  (a !== undefined && b !== undefined && a.cert === b.cert && Redacted.value(a.key) === Redacted.value(b.key))

const make = Effect.gen(function* () {
  const config = yield* KubeConfig
  const timeouts = yield* Timeouts
  const scope = yield* Effect.scope
  const slots = yield* Semaphore.make(maxConnections)
  const undici = yield* Effect.promise(() => import("@effect/platform-node/Undici"))
  const NodeStream = yield* Effect.promise(() => import("@effect/platform-node/NodeStream"))

  const makeDispatcher = (tls: Undici.buildConnector.BuildOptions, connections: number | null) =>
    Effect.acquireRelease(
      Effect.sync((): Undici.Dispatcher => {
        const options = { connections, allowH2: false, pipelining: 1, keepAliveTimeout }
        return config.proxy === undefined
          ? new undici.Agent({ ...options, connect: tls })
          : new undici.ProxyAgent({ ...options, uri: config.proxy, requestTls: tls })
      }),
      (dispatcher) => Effect.promise(() => dispatcher.destroy())
    )

  const makeDispatchers = Effect.fnUntraced(function* (certificate: Credentials["certificate"]) {
    const { ca, insecureSkipVerify, serverName } = config.trust
    const tls: Undici.buildConnector.BuildOptions = {
      allowH2: false,
      rejectUnauthorized: !insecureSkipVerify,
      ...(ca === undefined ? {} : { ca }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(certificate === undefined ? {} : { cert: certificate.cert, key: Redacted.value(certificate.key) })
    }
    const dispatchers: Dispatchers = {
      certificate,
      requests: yield* makeDispatcher(tls, maxConnections),
      watches: yield* makeDispatcher(tls, null)
    }
    return dispatchers
  })

  const { hostname, origin, pathname, port, protocol } = new URL(config.server)
  const basePath = pathname.replace(/\/+$/, "")
  const server = {
    "server.address": hostname,
    "server.port": port === "" ? (protocol === "http:" ? 80 : 443) : Number(port)
  }

  let current: Dispatchers | undefined
  const dispatchersFor = (certificate: Credentials["certificate"]) =>
    current !== undefined && sameCertificate(current.certificate, certificate)
      ? Effect.succeed(current)
      : makeDispatchers(certificate).pipe(
          Effect.provideService(Scope.Scope, scope),
          Effect.tap((dispatchers) =>
            Effect.sync(() => {
              current = dispatchers
            })
          )
        )

  const asked = (request: KubernetesRequest): Asked => ({ verb: request.verb, resource: request.resource, config })

  const commonHeaders = {
    accept: "application/json",
    "user-agent": "effect-kpu",
    ...(config.impersonate === undefined ? {} : impersonationHeaders(config.impersonate))
  }

  const toHttp = ({ body, method, path, query }: KubernetesRequest, { authorization }: Credentials): HttpRequest => {
    const search = new URLSearchParams()
    for (const name in query) {
      const value = query[name]
      if (value !== undefined) search.append(name, value)
    }
    const headers: Record<string, string | Array<string>> = { ...commonHeaders }
    if (authorization !== undefined) headers["authorization"] = Redacted.value(authorization)
    if (body !== undefined) headers["content-type"] = body.contentType
    return {
      method,
      path: `${basePath}${path}${search.size === 0 ? "" : `?${search}`}`,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body.content)
    }
  }

  /** Sends the request with the credentials of now. */
  const send = <A, R>(
    request: KubernetesRequest,
    how: (dispatchers: Dispatchers, http: HttpRequest) => Effect.Effect<A, Broken, R>
  ): Effect.Effect<A, ApiError, R> =>
    Effect.flatMap(config.credentials, (credentials) =>
      Effect.flatMap(dispatchersFor(credentials.certificate), (dispatchers) =>
        Effect.mapError(how(dispatchers, toHttp(request, credentials)), ({ cause }) =>
          fromTransport(asked(request), cause)
        )
      )
    )

  /** Runs `attempt`; when the server refuses the credentials, forgets them and runs it once more with new ones. */
  const renewing = <A, R>(attempt: Effect.Effect<A, ApiError, R>): Effect.Effect<A, ApiError, R> =>
    Effect.catchReason(attempt, "KubernetesError", "Unauthorized", () =>
      Effect.andThen(config.invalidate, Effect.andThen(config.credentials, attempt))
    )

  const parse = (request: KubernetesRequest, answer: HttpAnswer): Effect.Effect<unknown, ApiError> => {
    const { status, text } = answer
    if (status < 200 || status >= 300) return Effect.fail(fromAnswer(asked(request), answer))
    try {
      return Effect.succeed(JSON.parse(text) as unknown)
    } catch {
      return Effect.fail(badResponse(asked(request), status, text, "something that is not JSON"))
    }
  }

  const once = (request: KubernetesRequest): Effect.Effect<unknown, ApiError> =>
    Effect.flatMap(
      send(request, ({ requests }, http) => exchange(requests, origin, http)),
      (answer) =>
        Effect.andThen(
          Effect.annotateCurrentSpan("http.response.status_code", answer.status),
          Effect.suspend(() => parse(request, answer))
        )
    )

  const bounded = (request: KubernetesRequest): Effect.Effect<unknown, ApiError> =>
    Effect.suspend(() => {
      let last: ApiError | undefined
      return once(request).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            last = error
          })
        ),
        Effect.retry(retries(request)),
        Effect.timeoutOrElse({
          duration: timeouts.request,
          // what went wrong before tells more than that time ran out
          orElse: () => Effect.fail(last ?? timedOut(asked(request), Duration.toSeconds(timeouts.request)))
        })
      )
    })

  const json = (request: KubernetesRequest): Effect.Effect<unknown, ApiError> =>
    Effect.suspend(() => {
      const started = performance.now()
      // credentials come first and outside the time limit: a plugin may be waiting for a person
      return Effect.andThen(
        config.credentials,
        // the wait for a connection is outside the time limit as well: of ten thousand applies at once none is late
        Semaphore.withPermit(slots, renewing(bounded(request)))
      ).pipe(
        Effect.onExit((exit) => {
          const failure = failureOf(exit)
          const counted = countRequest(request.verb, failure, (performance.now() - started) / 1000)
          return failure === undefined
            ? counted
            : Effect.andThen(Effect.annotateCurrentSpan("error.type", failure), counted)
        })
      )
    }).pipe(
      Effect.withSpan(
        `Kubernetes.${request.verb}`,
        {
          kind: "client",
          attributes: {
            ...attributesOf(request),
            "http.request.method": request.method,
            "url.path": request.path,
            ...server
          }
        },
        // a stack would show this line, and costs a tenth of the request
        { captureStackTrace: false }
      )
    )

  const lines = (request: KubernetesRequest): Stream.Stream<unknown, ApiError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        yield* config.credentials
        const { body, status } = yield* renewing(
          send(request, ({ watches }, http) => open(watches, origin, http)).pipe(
            Effect.flatMap((opened) =>
              opened._tag === "Streaming"
                ? Effect.succeed(opened)
                : Effect.fail(fromAnswer(asked(request), opened.answer))
            ),
            Effect.timeoutOrElse({
              duration: timeouts.request,
              orElse: () => Effect.fail(timedOut(asked(request), Duration.toSeconds(timeouts.request)))
            })
          )
        )
        const bytes = NodeStream.fromReadable({ evaluate: () => body, onError: (cause) => new Broken(cause) })
        return jsonLines(bytes).pipe(
          Stream.mapError((error) =>
            error._tag === "BadLine"
              ? badResponse(asked(request), status, error.line, "a line that is not JSON")
              : fromTransport(asked(request), error.cause)
          )
        )
      })
    )

  return KubernetesClient.of({ json, lines })
})

/** Kubernetes requests to the cluster of `KubeConfig`. */
export const layer: Layer.Layer<KubernetesClient, never, KubeConfig> = Layer.effect(KubernetesClient, make)
