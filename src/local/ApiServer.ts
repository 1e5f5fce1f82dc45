/**
 * The HTTP door of the embedded API: authentication, permissions, routing. What a request means is in the modules that
 * it calls; every refusal arrives here as an `ApiFailure` and leaves as a `Status`.
 *
 * **Gotchas** Plain HTTP, for loopback alone.
 */
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { type Computes, schema as computeSchema } from "./Computes.ts"
import * as Discovery from "./Discovery.ts"
import { answer, answerFailure, answerText, authenticate, type Call, callOf, readBuiltIn } from "./HttpCall.ts"
import * as Namespaces from "./Namespaces.ts"
import * as OpenApi from "./OpenApi.ts"
import { answerObject, read } from "./Reads.ts"
import { computes as computesResource, namespaces } from "./Resources.ts"
import { type Access, refusal, selfSubjectAccessReview, selfSubjectReview } from "./Reviews.ts"
import { forbidden, methodNotAllowed, notFound } from "./Status.ts"
import type { Store } from "./Store.ts"
import { nameOf, type Target, targetOf, verbOf } from "./Target.ts"
import { optionsOf, writeCompute } from "./Writes.ts"

export interface ApiServerOptions {
  readonly host: string
  readonly port: number
  readonly token: string
  readonly store: Store
  readonly computes: Computes
  readonly allows: (access: Access) => boolean
  readonly bookmarkMillis: number
}

export interface ApiServer {
  readonly port: number
  readonly close: () => Promise<void>
  /** Cuts every watch, as a restart of the server would. */
  readonly cutWatches: () => void
}

export const start = async (options: ApiServerOptions): Promise<ApiServer> => {
  const { store } = options
  const watches = new Set<Http.ServerResponse>()
  const context = { ...options, watches }

  const handleResource = (call: Call, target: Target): void | Promise<void> => {
    const { resource, subresource } = target
    const access: Access = {
      verb: verbOf(call, target),
      group: resource.group,
      resource: resource.plural,
      subresource: subresource ?? "",
      namespace: target.namespace ?? "",
      name: nameOf(call, target)
    }
    if (!options.allows(access)) throw forbidden(resource, access.name, refusal(access))
    if (subresource !== undefined && !(resource === computesResource && subresource === "status")) {
      throw notFound(resource, target.name ?? "")
    }
    if (call.method === "GET" || call.method === "HEAD") return read(context, call, target)
    if (resource === namespaces) return writeNamespace(call, target)
    if (resource !== computesResource) throw methodNotAllowed()
    return writeCompute(context, call, target)
  }

  const writeNamespace = async (call: Call, { name, resource }: Target) => {
    if (call.method === "POST" && name === undefined) {
      const { dryRun } = optionsOf(call, "CreateOptions")
      const body = await readBuiltIn(call.request, "Namespace")
      return answerObject(call, resource, 201, Namespaces.create(store, body, dryRun))
    }
    if (call.method === "DELETE" && name !== undefined) {
      return answerObject(call, resource, 200, Namespaces.remove(store, name))
    }
    throw methodNotAllowed()
  }

  const handleReview = async (call: Call) => {
    const body = await readBuiltIn(call.request, "SelfSubjectAccessReview")
    const reviewed = call.path.includes("selfsubjectaccessreviews")
      ? selfSubjectAccessReview(body, options.allows)
      : selfSubjectReview()
    answer(call, 201, reviewed)
  }

  const wantsAggregated = (call: Call) => /g=apidiscovery\.k8s\.io/.test(call.accept) && /v=v2\b/.test(call.accept)
  const aggregatedType = {
    "content-type": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
  }

  const handle = (call: Call, port: number): void | Promise<void> => {
    const { path } = call
    switch (path) {
      case "/version":
      case "/version/":
        return answer(call, 200, Discovery.version)
      case "/healthz":
      case "/livez":
      case "/readyz":
        return answerText(call, 200, "ok")
      case "/api":
      case "/api/":
        return wantsAggregated(call)
          ? answer(call, 200, Discovery.aggregated(true), aggregatedType)
          : answer(call, 200, Discovery.coreVersions(`${options.host}:${port}`))
      case "/apis":
      case "/apis/":
        return wantsAggregated(call)
          ? answer(call, 200, Discovery.aggregated(false), aggregatedType)
          : answer(call, 200, Discovery.groupList())
      case "/openapi/v2":
        return answer(call, 200, OpenApi.v2(computeSchema))
      case "/openapi/v3":
        return answer(call, 200, OpenApi.v3Index())
    }
    if (path.startsWith("/openapi/v3/")) {
      const document = OpenApi.v3(path.slice("/openapi/v3/".length), computeSchema)
      return document === undefined ? answerText(call, 404, "404 page not found\n") : answer(call, 200, document)
    }
    if (
      call.method === "POST" &&
      (path === "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" ||
        path === "/apis/authentication.k8s.io/v1/selfsubjectreviews")
    ) {
      return handleReview(call)
    }
    const target = targetOf(path)
    if (target !== undefined) return handleResource(call, target)
    const [, root, first = "", second] = path.replace(/\/$/, "").split("/")
    const document =
      root === "api"
        ? Discovery.resourceList("", first)
        : root === "apis"
          ? second === undefined
            ? Discovery.groupNamed(first)
            : path.split("/").length > 4
              ? undefined
              : Discovery.resourceList(first, second)
          : undefined
    return document === undefined ? answerText(call, 404, "404 page not found\n") : answer(call, 200, document)
  }

  const server = Http.createServer((request, response) => {
    const call = callOf(request, response)
    const work = async () => {
      authenticate(request, options.token)
      await handle(call, (server.address() as AddressInfo).port)
    }
    work()
      .catch((error) => answerFailure(call, error))
      // A body that nobody reads would hold up the next request on its connection.
      .finally(() => request.resume())
  })
  server.keepAliveTimeout = 30_000
  server.requestTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(options.port, options.host, () => {
      server.off("error", reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    cutWatches: () => {
      for (const response of watches) response.destroy()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
