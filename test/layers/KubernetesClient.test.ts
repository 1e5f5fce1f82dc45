/**
 * Requests to a server that answers badly: what is tried again and what is not, how long, and what the error says.
 */
import { createServer } from "node:https"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { KubeConfig } from "../../src/KubeConfig.ts"
import type { KubeConfigOptions } from "../../src/layers/KubeConfigOptions.ts"
import { KubernetesError, type KubernetesErrorReason } from "../../src/schema/KubernetesError.ts"
import { type ApiError, ComputeApi } from "../../src/services/ComputeApi.ts"
import { defaultTimeouts, Timeouts } from "../../src/services/Timeouts.ts"
import { type KeyPair, makeAuthority } from "../kit/certificates.ts"
import { compute } from "../kit/computes.ts"
import * as FaultProxy from "../kit/FaultProxy.ts"
import { kubernetes } from "../kit/kubernetesClient.ts"
import { listening } from "../kit/listening.ts"
import { freePorts } from "../kit/process.ts"

type Fault = FaultProxy.Fault
const { status } = FaultProxy

const token = "a-token-that-must-not-show"
const ref = { namespace: "team-a", name: "a" }
const any = () => true

const good: Fault = { _tag: "Answer", status: 200, body: JSON.stringify(compute("a", 7)) }
const unavailable: Fault = { _tag: "Answer", status: 503, body: status(503, "ServiceUnavailable", "starting") }
const throttled: Fault = {
  _tag: "Answer",
  status: 429,
  headers: { "retry-after": "1", "content-type": "text/plain" },
  body: "Too many requests, please try again later."
}

/** A server that gives these answers in turn, and the client for it. */
const answering = (...faults: ReadonlyArray<Fault>) =>
  Effect.gen(function* () {
    // nothing stands behind the proxy: every answer is the proxy's own
    const proxy = yield* FaultProxy.make({ url: "http://127.0.0.1:1" })
    yield* proxy.inject(any, ...faults)
    return proxy
  })

const withClient = <A, E>(
  server: string,
  effect: Effect.Effect<A, E, ComputeApi>,
  options: Partial<KubeConfigOptions> & { readonly request?: Duration.Input } = {}
) => {
  const { request = defaultTimeouts.request, ...config } = options
  return Effect.provide(
    effect,
    kubernetes(KubeConfig.layerOptions({ server, token, ...config })).pipe(
      Layer.provide(Layer.succeed(Timeouts, { ...defaultTimeouts, request: Duration.fromInputUnsafe(request) }))
    )
  )
}

const get = Effect.gen(function* () {
  return yield* (yield* ComputeApi).get(ref)
})
const apply = Effect.gen(function* () {
  return yield* (yield* ComputeApi).apply({ ...ref, spec: { image: "a" } })
})
const remove = (uid?: string) =>
  Effect.gen(function* () {
    return yield* (yield* ComputeApi).delete({ ...ref, uid })
  })

const reasonOf = <A, R>(effect: Effect.Effect<A, ApiError | unknown, R>) =>
  Effect.map(Effect.flip(effect), (error): KubernetesErrorReason => {
    assert.instanceOf(error, KubernetesError)
    assert.notInclude(`${JSON.stringify(error)} ${error.message} ${error.stack}`, token)
    return (error as KubernetesError).reason
  })

describe("what is tried again", () => {
  it.live("a request that does the same when done twice, after 500, 502, 503, 504 and a reset", () =>
    Effect.gen(function* () {
      for (const request of [get, apply, remove("uid")]) {
        for (const fault of [unavailable, { ...unavailable, status: 504 }, { _tag: "Reset" } as const]) {
          const proxy = yield* answering(fault, fault, good)
          yield* withClient(proxy.url, request as Effect.Effect<unknown, ApiError, ComputeApi>)
          assert.strictEqual(proxy.seen.length, 3)
        }
      }
    })
  )

  it.live("not a deletion without uid, which may meet another Compute the second time", () =>
    Effect.gen(function* () {
      for (const fault of [unavailable, { _tag: "Reset" } as const]) {
        const proxy = yield* answering(fault, good)
        yield* reasonOf(withClient(proxy.url, remove()))
        assert.strictEqual(proxy.seen.length, 1)
      }
    })
  )

  it.live("everything after 429, as late as the server asks for", () =>
    Effect.gen(function* () {
      for (const request of [get, remove()]) {
        const proxy = yield* answering(throttled, good)
        yield* withClient(proxy.url, request as Effect.Effect<unknown, ApiError, ComputeApi>)
        const [first, second] = proxy.seen
        assert.isAtLeast(second!.at - first!.at, 990)
      }
    })
  )

  it.live("after 429 at the date that a proxy names, by the proxy's own clock", () =>
    Effect.gen(function* () {
      const later = new Date(Date.now() + 3_600_000)
      const fault = (seconds: number): Fault => ({
        ...throttled,
        headers: {
          "content-type": "text/plain",
          date: later.toUTCString(),
          "retry-after": new Date(later.getTime() + seconds * 1000).toUTCString()
        }
      })
      const proxy = yield* answering(fault(1), fault(-60), good)
      yield* withClient(proxy.url, get)
      const [first, second, third] = proxy.seen.map(({ at }) => at)
      assert.isAtLeast(second! - first!, 990)
      // a date that has passed asks for no wait of its own
      assert.isBelow(third! - second!, 990)

      const far = yield* answering(fault(60), good)
      const reason = yield* reasonOf(withClient(far.url, get))
      assert.strictEqual(reason._tag === "Throttled" && reason.retryAfterSeconds, 60)
    })
  )

  it.live("not an apply at a version, whose second try would find its own first", () =>
    Effect.gen(function* () {
      const atVersion = Effect.gen(function* () {
        return yield* (yield* ComputeApi).apply({ ...ref, spec: { image: "a" }, resourceVersion: "6" })
      })
      for (const fault of [unavailable, { _tag: "Reset" } as const, { _tag: "LoseAnswer" } as const]) {
        const proxy = yield* answering(fault, good)
        yield* reasonOf(withClient(proxy.url, atVersion))
        assert.strictEqual(proxy.seen.length, 1)
      }
      const proxy = yield* answering(throttled, good)
      yield* withClient(proxy.url, atVersion)
      assert.strictEqual(proxy.seen.length, 2)
    })
  )

  it.live("not when the server asks for a wait that is too long to be made here", () =>
    Effect.gen(function* () {
      const proxy = yield* answering({ ...throttled, headers: { "retry-after": "60" } }, good)
      const reason = yield* reasonOf(withClient(proxy.url, get))
      assert.strictEqual(reason._tag, "Throttled")
      if (reason._tag === "Throttled") assert.strictEqual(reason.retryAfterSeconds, 60)
      assert.strictEqual(proxy.seen.length, 1)
    })
  )

  const refusals: ReadonlyArray<readonly [number, string, KubernetesErrorReason["_tag"], number]> = [
    [400, "BadRequest", "Invalid", 1],
    [401, "Unauthorized", "Unauthorized", 2],
    [403, "Forbidden", "Forbidden", 1],
    [405, "MethodNotAllowed", "Rejected", 1],
    [409, "Conflict", "Conflict", 1],
    [410, "Expired", "Rejected", 1],
    [413, "RequestEntityTooLarge", "Rejected", 1],
    [422, "Invalid", "Invalid", 1]
  ]
  it.live.each(refusals)("not %i %s", ([code, name, tag, requests]) =>
    Effect.gen(function* () {
      const proxy = yield* answering()
      yield* proxy.injectAlways(any, { _tag: "Answer", status: code, body: status(code, name, "words", { name: "a" }) })
      const reason = yield* reasonOf(withClient(proxy.url, get))
      assert.strictEqual(reason._tag, tag)
      assert.include(reason.message, "words")
      assert.isFalse(reason.isRetryable)
      assert.strictEqual(proxy.seen.length, requests)
    })
  )

  it.live("and counted in the span of the request, which shows no token", () =>
    Effect.gen(function* () {
      const proxy = yield* answering(unavailable, unavailable, good)
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* withClient(proxy.url, get).pipe(Effect.withTracer(tracer))
      const span = spans.find(({ name }) => name === "Kubernetes.get")
      const { hostname, port } = new URL(proxy.url)
      const { "url.path": path, ...attributes } = Object.fromEntries(span?.attributes ?? [])
      assert.deepStrictEqual(attributes, {
        "k8s.resource.kind": "Compute",
        "k8s.namespace.name": "team-a",
        "k8s.resource.name": "a",
        "http.request.method": "GET",
        "server.address": hostname,
        "server.port": Number(port),
        "http.response.status_code": 200,
        "http.request.resend_count": 2
      })
      assert.match(String(path), /\/namespaces\/team-a\/computes\/a$/)
      const shown = spans.map((span) => inspect([span.name, span.attributes, span.events], { depth: 10 })).join()
      assert.notInclude(shown, token)
    })
  )

  it.live("four times at most, and each time is in the log", () =>
    Effect.gen(function* () {
      const proxy = yield* answering()
      yield* proxy.injectAlways(any, unavailable)
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => {
        lines.push(String(message))
      })
      const reason = yield* reasonOf(withClient(proxy.url, get)).pipe(Effect.provide(Logger.layer([logger])))
      assert.strictEqual(reason._tag, "Unavailable")
      assert.isTrue(reason.isRetryable)
      assert.strictEqual(proxy.seen.length, 5)
      assert.strictEqual(lines.length, 4)
      assert.match(lines[0]!, /get Compute team-a\/a: .*503 starting; trying again in \d+ ms \(retry 1 of 4\)/)
      assert.notInclude(lines.join(), token)
    })
  )
})

describe("what is not the API's answer", () => {
  it.live("an HTML page is a BadResponse with its status and first bytes", () =>
    Effect.gen(function* () {
      const proxy = yield* answering({
        _tag: "Answer",
        status: 200,
        headers: { "content-type": "text/html" },
        body: `<html>${"Please log in. ".repeat(100)}</html>`
      })
      const reason = yield* reasonOf(withClient(proxy.url, get))
      assert.strictEqual(reason._tag, "BadResponse")
      if (reason._tag !== "BadResponse") return
      assert.strictEqual(reason.status, 200)
      assert.isTrue(reason.firstBytes.startsWith("<html>Please log in."))
      assert.isAtMost(reason.firstBytes.length, 200)
      assert.isFalse(reason.isRetryable)
      assert.strictEqual(proxy.seen.length, 1)
    })
  )

  it.live("an HTML page with 502 is tried again, and named when it stays", () =>
    Effect.gen(function* () {
      const page: Fault = { _tag: "Answer", status: 502, headers: { "content-type": "text/html" }, body: "<html>" }
      const proxy = yield* answering(page, good)
      yield* withClient(proxy.url, get)
      yield* proxy.injectAlways(any, page)
      const reason = yield* reasonOf(withClient(proxy.url, get))
      assert.strictEqual(reason._tag, "BadResponse")
      assert.include(reason.message, "an HTML page")
    })
  )

  it.live("JSON that is no Compute, a 404 of another server, and a redirect are named for what they are", () =>
    Effect.gen(function* () {
      const answers: ReadonlyArray<Fault> = [
        { _tag: "Answer", status: 200, body: `{"hello":"world"}` },
        { _tag: "Answer", status: 404, headers: { "content-type": "text/plain" }, body: "no such page" },
        { _tag: "Answer", status: 302, headers: { location: "https://login.example" } }
      ]
      for (const answer of answers) {
        const proxy = yield* answering(answer)
        assert.strictEqual((yield* reasonOf(withClient(proxy.url, get)))._tag, "BadResponse")
      }
    })
  )

  it.live("a line of a watch that is no event ends the watch with a BadResponse", () =>
    Effect.gen(function* () {
      const proxy = yield* answering({
        _tag: "Answer",
        status: 200,
        body: `{"type":"ADDED","object":{"kind":"Pod"}}\n`
      })
      const watch = Effect.gen(function* () {
        const api = yield* ComputeApi
        return yield* api.watch({ namespace: "team-a" }).pipe(Stream.runDrain)
      })
      assert.strictEqual((yield* reasonOf(withClient(proxy.url, watch)))._tag, "BadResponse")
    })
  )
})

describe("no answer at all", () => {
  it.live("a server that is not there is said to be refused, with its address, within seconds", () =>
    Effect.gen(function* () {
      const [port] = yield* freePorts(1)
      const reason = yield* reasonOf(withClient(`https://127.0.0.1:${port}`, get))
      assert.strictEqual(reason._tag, "Transport")
      if (reason._tag === "Transport") assert.strictEqual(reason.code, "ECONNREFUSED")
      assert.include(reason.message, `https://127.0.0.1:${port}`)
      assert.include(reason.message, "explicit options")
    })
  )

  it.live("a host that does not resolve is said to be so", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(withClient("https://nowhere.invalid:6443", get))
      assert.strictEqual(reason._tag, "Transport")
      assert.include(reason.message, "cannot be resolved")
    })
  )

  it.live("a server that never answers is given up after the request timeout, and its connection closed", () =>
    Effect.gen(function* () {
      const proxy = yield* answering({ _tag: "Ignore" })
      const started = Date.now()
      const reason = yield* reasonOf(withClient(proxy.url, get, { request: "300 millis" }))
      assert.strictEqual(reason._tag, "Transport")
      assert.include(reason.message, "no answer within 0.3 s")
      assert.isAtLeast(Date.now() - started, 300)
      while (proxy.connections() > 0) yield* Effect.sleep(10)
    })
  )

  it.live("an answer that stalls half-way is given up just so", () =>
    Effect.gen(function* () {
      const server = yield* FaultProxy.make({ url: "http://127.0.0.1:1" })
      yield* server.inject(any, good)
      const proxy = yield* FaultProxy.make({ url: server.url })
      yield* proxy.inject(any, { _tag: "SilentAfter", afterEvents: 0 })
      const reason = yield* reasonOf(withClient(proxy.url, get, { request: "300 millis" }))
      assert.include(reason.message, "no answer within 0.3 s")
      while (proxy.connections() > 0) yield* Effect.sleep(10)
    })
  )

  it.live("when time runs out between two attempts, the error is what went wrong", () =>
    Effect.gen(function* () {
      const proxy = yield* answering()
      yield* proxy.injectAlways(any, unavailable)
      const reason = yield* reasonOf(withClient(proxy.url, get, { request: "500 millis" }))
      assert.strictEqual(reason._tag, "Unavailable")
    })
  )

  it.live("an interrupted request closes its connection", () =>
    Effect.gen(function* () {
      const proxy = yield* answering({ _tag: "Ignore" })
      yield* withClient(proxy.url, Effect.timeoutOption(get, "100 millis"))
      while (proxy.connections() > 0) yield* Effect.sleep(10)
    })
  )

  it.live("an apply whose answer is lost is applied again", () =>
    Effect.gen(function* () {
      const server = yield* FaultProxy.make({ url: "http://127.0.0.1:1" })
      yield* server.injectAlways(any, good)
      const proxy = yield* FaultProxy.make({ url: server.url })
      yield* proxy.inject(any, { _tag: "LoseAnswer" })
      yield* withClient(proxy.url, apply)
      assert.strictEqual(server.seen.length, 2)
    })
  )
})

describe("TLS", () => {
  const authority = makeAuthority("test authority")

  const serve = (pair: KeyPair) =>
    Effect.map(
      listening(
        createServer({ cert: pair.cert, key: pair.key }, (_, response) => response.end(JSON.stringify(compute("a", 7))))
      ),
      (port) => `https://127.0.0.1:${port}`
    )

  it.live("an expired server certificate and one for another host are told apart, and not tried again", () =>
    Effect.gen(function* () {
      const names = { commonName: "server", usage: "server", ipAddresses: ["127.0.0.1"] } as const
      const caData = authority.cert
      yield* withClient(yield* serve(authority.issue(names)), get, { caData })

      const expired = authority.issue({
        ...names,
        notBefore: new Date(Date.now() - 2e9),
        notAfter: new Date(Date.now() - 1e9)
      })
      const old = yield* reasonOf(withClient(yield* serve(expired), get, { caData }))
      assert.include(old.message, "not valid today")
      assert.isFalse(old.isRetryable)

      const elsewhere = authority.issue({ commonName: "server", usage: "server", dnsNames: ["elsewhere.example"] })
      const url = yield* serve(elsewhere)
      assert.include((yield* reasonOf(withClient(url, get, { caData }))).message, "for another host")
      yield* withClient(url, get, { caData, tlsServerName: "elsewhere.example" })
    })
  )

  it.live("https to a server that speaks plain http says so, and is not tried again", () =>
    Effect.gen(function* () {
      const proxy = yield* answering(good)
      const reason = yield* reasonOf(withClient(proxy.url.replace("http:", "https:"), get))
      assert.strictEqual(reason._tag, "Transport")
      assert.include(reason.message, "does it speak https?")
      assert.isFalse(reason.isRetryable)
    })
  )
})

describe("connections", () => {
  it.live("are no more than 32 for any number of requests at once, and none when the client has gone", () =>
    Effect.gen(function* () {
      const server = yield* FaultProxy.make({ url: "http://127.0.0.1:1" })
      yield* server.injectAlways(any, good)
      const proxy = yield* FaultProxy.make({ url: server.url })
      let most = 0
      const many = Effect.forEach(
        Array.from({ length: 200 }),
        () =>
          Effect.tap(get, () =>
            Effect.sync(() => {
              most = Math.max(most, proxy.connections())
            })
          ),
        { concurrency: "unbounded" }
      )
      yield* withClient(proxy.url, many)
      assert.isAbove(most, 1)
      assert.isAtMost(most, 32)
      while (proxy.connections() > 0) yield* Effect.sleep(10)
    })
  )

  it.live("are waited for without losing the time that a request has", () =>
    Effect.gen(function* () {
      const server = yield* FaultProxy.make({ url: "http://127.0.0.1:1" })
      yield* server.injectAlways(any, good)
      const proxy = yield* FaultProxy.make({ url: server.url })
      // some 60 bytes at a time, so that each answer takes about 100 ms
      yield* proxy.injectAlways(any, { _tag: "Drip", bytes: 60, everyMillis: 30 })
      const started = Date.now()
      const request = 3000
      const many = Effect.forEach(Array.from({ length: 32 * 30 }), () => get, { concurrency: "unbounded" })
      yield* withClient(proxy.url, many, { request })
      assert.isAbove(Date.now() - started, request)
    })
  )
})
