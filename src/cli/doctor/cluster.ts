/** The checks of the way to the cluster and of what it holds: server, identity, permissions, CRD, operator. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { apiVersion, type ComputeResource, group, plural, version } from "../../schema/ComputeResource.ts"
import { isUntouched } from "../../schema/Readiness.ts"
import { type ApiError, ComputeApi } from "../../services/ComputeApi.ts"
import { KubeConfig } from "../../services/KubeConfig.ts"
import { KubernetesClient } from "../../services/KubernetesClient.ts"
import { count } from "../output/quantities.ts"
import { type Finding, failed, ok, skipped, warning, wordsOf } from "./Check.ts"

const get = (kind: string, path: string) =>
  Effect.flatMap(KubernetesClient, (client) =>
    client.json({ verb: "get", resource: { kind }, method: "GET", path, idempotent: true })
  )

const review = (kind: string, path: string, content: unknown) =>
  Effect.flatMap(KubernetesClient, (client) =>
    client.json({
      verb: "create",
      resource: { kind },
      method: "POST",
      path,
      body: { contentType: "application/json", content },
      idempotent: true
    })
  )

const reasonOf = (error: ApiError): string => (error._tag === "KubernetesError" ? error.reason._tag : error._tag)

const Version = Schema.Struct({ gitVersion: Schema.String })
const decodeVersion = Schema.decodeUnknownOption(Version)

/** Whether the API server answers, and which one it is. */
export const checkServer = Effect.gen(function* () {
  const { server } = yield* KubeConfig
  const answer = yield* Effect.result(get("Version", "/version"))
  if (answer._tag === "Failure") {
    const error = answer.failure
    // It answered: who asks is the next check's question.
    if (reasonOf(error) === "Unauthorized" || reasonOf(error) === "Forbidden") {
      return warning(`${server} answers, and does not tell its version to these credentials`)
    }
    return failed(
      wordsOf(error),
      "check the server's address (kubectl config view --minify), VPN, proxy and certificates"
    )
  }
  const found = Option.getOrUndefined(decodeVersion(answer.success))
  return found === undefined
    ? failed(`${server} answers, but not as a Kubernetes API server`, "is that the API server's address?")
    : ok(`${server} runs Kubernetes ${found.gitVersion}`)
})

const SelfSubjectReview = Schema.Struct({
  status: Schema.Struct({
    userInfo: Schema.Struct({ username: Schema.String, groups: Schema.optional(Schema.Array(Schema.String)) })
  })
})
const decodeSelf = Schema.decodeUnknownOption(SelfSubjectReview)

/** Who these credentials are to the server. */
export const checkIdentity = Effect.gen(function* () {
  const answer = yield* Effect.result(
    review("SelfSubjectReview", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "SelfSubjectReview"
    })
  )
  if (answer._tag === "Failure") {
    const error = answer.failure
    const reason = reasonOf(error)
    if (reason === "Unauthorized" || reason === "KubeConfigError") {
      return failed(wordsOf(error), "log in again, or give --token; see that the context's user is the one you mean")
    }
    return reason === "NotFound" || reason === "BadResponse" || reason === "Forbidden" || reason === "CrdNotInstalled"
      ? warning("the server does not tell who these credentials are (Kubernetes before 1.28, or it may not be asked)")
      : failed(wordsOf(error))
  }
  const found = Option.getOrUndefined(decodeSelf(answer.success))
  if (found === undefined) return warning("the server's answer names no user")
  const { groups = [], username } = found.status.userInfo
  return username === "system:anonymous"
    ? failed("the server sees an anonymous user: no credentials reached it", "log in, or give --token")
    : ok(`${username}${groups.length === 0 ? "" : ` (${groups.join(", ")})`}`)
})

export interface Permission {
  readonly verb: string
  readonly group: string
  readonly resource: string
  /** What works without it. */
  readonly optional?: string | undefined
}

/** What the client needs, and what it can use. */
export const permissions: ReadonlyArray<Permission> = [
  ...["get", "list", "watch", "create", "patch", "delete"].map((verb) => ({ verb, group, resource: plural })),
  {
    verb: "get",
    group: "",
    resource: "pods",
    optional: "without it a Compute that cannot start is noticed only when the wait times out"
  },
  {
    verb: "list",
    group: "",
    resource: "events",
    optional: "without it quota and scheduling failures are not explained"
  }
]

const AccessReview = Schema.Struct({
  status: Schema.Struct({ allowed: Schema.Boolean, reason: Schema.optional(Schema.String) })
})
const decodeAccess = Schema.decodeUnknownOption(AccessReview)

/** Whether these credentials may do one thing in the namespace. */
export const checkPermission = ({ group, optional, resource, verb }: Permission, namespace: string) =>
  Effect.gen(function* () {
    const what = `${verb} ${resource}${group === "" ? "" : `.${group}`} in namespace ${namespace}`
    const answer = yield* Effect.result(
      review("SelfSubjectAccessReview", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: { namespace, verb, group, resource } }
      })
    )
    if (answer._tag === "Failure") return warning(`cannot ask whether ${what} is allowed: ${wordsOf(answer.failure)}`)
    const found = Option.getOrUndefined(decodeAccess(answer.success))
    if (found === undefined) return warning(`the server's answer does not say whether ${what} is allowed`)
    if (found.status.allowed) return ok(`may ${what}`)
    const why = found.status.reason === undefined || found.status.reason === "" ? "" : ` (${found.status.reason})`
    return optional === undefined
      ? failed(`may not ${what}${why}`, "ask for a Role with it: docs/kubernetes.md shows one")
      : warning(`may not ${what}${why}: ${optional}`)
  })

const Definition = Schema.Struct({
  spec: Schema.Struct({
    versions: Schema.Array(Schema.Struct({ name: Schema.String, served: Schema.Boolean }))
  })
})
const decodeDefinition = Schema.decodeUnknownOption(Definition)
const GroupDocument = Schema.Struct({
  versions: Schema.Array(Schema.Struct({ version: Schema.String }))
})
const decodeGroup = Schema.decodeUnknownOption(GroupDocument)

const install = "install the KPU operator, which brings the CustomResourceDefinition"

const judgeVersions = (versions: ReadonlyArray<string>): Finding =>
  versions.includes(version)
    ? ok(`${plural}.${group} is installed and serves ${versions.join(", ")}`)
    : failed(
        `${plural}.${group} serves ${versions.join(", ") || "no version"}, and this client speaks ${version}`,
        "use a client of the operator's version, or an operator that serves both"
      )

/** Whether the cluster knows Computes, in this client's version. */
export const checkCrd = Effect.gen(function* () {
  const definition = yield* Effect.result(
    get("CustomResourceDefinition", `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.${group}`)
  )
  if (definition._tag === "Success") {
    const found = Option.getOrUndefined(decodeDefinition(definition.success))
    if (found !== undefined) {
      return judgeVersions(found.spec.versions.filter(({ served }) => served).map(({ name }) => name))
    }
  } else if (reasonOf(definition.failure) === "NotFound") {
    return failed(`${plural}.${group} is not installed in this cluster`, install)
  }
  // Few may read definitions; everybody may ask which groups there are.
  const groups = yield* Effect.result(get("APIGroup", `/apis/${group}`))
  if (groups._tag === "Success") {
    const found = Option.getOrUndefined(decodeGroup(groups.success))
    if (found !== undefined) return judgeVersions(found.versions.map(({ version }) => version))
  } else if (["NotFound", "CrdNotInstalled", "BadResponse"].includes(reasonOf(groups.failure))) {
    return failed(`this cluster does not know the API group ${group}`, install)
  }
  return warning(
    `cannot be told: ${groups._tag === "Failure" ? wordsOf(groups.failure) : `the answer about ${apiVersion} is no list of versions`}`
  )
})

const operatorManager = "kpu-compute-controller"

const isTouched = (resource: ComputeResource): boolean =>
  !isUntouched(resource) || (resource.metadata.managedFields ?? []).some(({ manager }) => manager === operatorManager)

/** How long an operator may take to notice a Compute. */
const noticeMillis = 15_000

const noOperator = `is the operator running? Look for its Deployment: kubectl get deployments -A | grep kpu`

/** Whether an operator has acted on what is there; gives the Computes that it looked at. */
export const checkOperator = (namespace: string, now: number) =>
  Effect.gen(function* () {
    const api = yield* ComputeApi
    const answer = yield* Effect.result(api.list({ namespace }))
    if (answer._tag === "Failure") {
      return { finding: warning(`cannot be told: ${wordsOf(answer.failure)}`), computes: undefined }
    }
    const computes = answer.success.items
    const touched = computes.filter(isTouched)
    if (touched.length > 0) {
      return { finding: ok(`it has acted on ${touched.length} of ${count(computes.length, "Compute")} here`), computes }
    }
    const old = computes.filter(({ metadata }) => now - Date.parse(metadata.creationTimestamp ?? "") > noticeMillis)
    if (old.length > 0) {
      return {
        finding: failed(
          `no controller has ever acted on ${count(old.length, "Compute")} of namespace ${namespace}`,
          noOperator
        ),
        computes
      }
    }
    return {
      finding: skipped(
        computes.length === 0
          ? `cannot be told: there is no Compute in namespace ${namespace}`
          : "cannot be told yet: the Computes here are only just created",
        "kpu doctor --probe creates one for the moment, and looks"
      ),
      computes
    }
  })
