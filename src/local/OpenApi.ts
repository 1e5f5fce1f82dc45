/** The OpenAPI documents of the API: what `kubectl explain` shows, and what tells kubectl to leave validation to the server. */
import { computes, rootOf } from "./Resources.ts"
import { objectMetaSchema, type StructuralSchema } from "./StructuralSchema.ts"

const groupVersionKind = { group: computes.group, version: computes.version, kind: computes.kind }
const name = `dev.kpu.compute.${computes.version}.${computes.kind}`
const metaName = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

const definitions = (schema: StructuralSchema, root: string) => ({
  [name]: {
    ...schema,
    properties: { ...schema.properties, metadata: { $ref: `${root}${metaName}` } },
    "x-kubernetes-group-version-kind": [groupVersionKind]
  },
  [metaName]: { ...objectMetaSchema, description: "Standard object's metadata." }
})

const path = `${rootOf(computes)}/namespaces/{namespace}/${computes.plural}/{name}`

const operation = (action: string, v3: boolean) => ({
  description: `${action} the specified Compute`,
  operationId: `${action}ComputeKpuDevV1alpha1NamespacedCompute`,
  parameters: ["dryRun", "fieldManager", "fieldValidation", ...(action === "patch" ? ["force"] : [])].map(
    (parameter) => ({
      name: parameter,
      in: "query",
      ...(v3
        ? { schema: { type: parameter === "force" ? "boolean" : "string", uniqueItems: true } }
        : { type: parameter === "force" ? "boolean" : "string", uniqueItems: true })
    })
  ),
  responses: { 200: { description: "OK" } },
  "x-kubernetes-action": action === "replace" ? "put" : action,
  "x-kubernetes-group-version-kind": groupVersionKind
})

const paths = (v3: boolean) => ({
  [path]: { put: operation("replace", v3), patch: operation("patch", v3) },
  [path.replace("/{name}", "")]: { post: operation("post", v3) }
})

const info = { title: "Kubernetes", version: "v1.34.2+effect-kpu" }

export const v2 = (schema: StructuralSchema) => ({
  swagger: "2.0",
  info,
  paths: paths(false),
  definitions: definitions(schema, "#/definitions/")
})

const root = rootOf(computes).slice(1)

export const v3Index = () => ({
  paths: { [root]: { serverRelativeURL: `/openapi/v3/${root}?hash=1` } }
})

export const v3 = (group: string, schema: StructuralSchema) =>
  group === root
    ? {
        openapi: "3.0.0",
        info,
        paths: paths(true),
        components: { schemas: definitions(schema, "#/components/schemas/") }
      }
    : undefined
