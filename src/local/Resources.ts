/** The resources that the embedded API serves: Computes in full, and what a client of Computes may look at beside them. */
import { group, kind, plural, version } from "../schema/ComputeResource.ts"
import type { Subject } from "./Status.ts"

export interface Resource extends Subject {
  readonly version: string
  readonly singular: string
  readonly shortNames: ReadonlyArray<string>
  readonly namespaced: boolean
  readonly verbs: ReadonlyArray<string>
}

export const computes: Resource = {
  group,
  version,
  kind,
  plural,
  singular: "compute",
  shortNames: [],
  namespaced: true,
  verbs: ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
}

const readable = (
  group: string,
  version: string,
  kind: string,
  plural: string,
  namespaced: boolean,
  shortNames: ReadonlyArray<string>
): Resource => ({
  group,
  version,
  kind,
  plural,
  singular: kind.toLowerCase(),
  shortNames,
  namespaced,
  verbs: ["get", "list", "watch"]
})

export const namespaces: Resource = {
  ...readable("", "v1", "Namespace", "namespaces", false, ["ns"]),
  verbs: ["create", "delete", "get", "list", "watch"]
}
export const pods = readable("", "v1", "Pod", "pods", true, ["po"])
export const events = readable("", "v1", "Event", "events", true, ["ev"])
export const customResourceDefinitions = readable(
  "apiextensions.k8s.io",
  "v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  false,
  ["crd", "crds"]
)

/** Everything that is stored. */
export const stored: ReadonlyArray<Resource> = [computes, namespaces, pods, events, customResourceDefinitions]

export const apiVersionOf = ({ group, version }: { readonly group: string; readonly version: string }): string =>
  group === "" ? version : `${group}/${version}`

/** Where a group's version is served: `/api/v1`, `/apis/compute.kpu.dev/v1alpha1`. */
export const rootOf = (resource: { readonly group: string; readonly version: string }): string =>
  resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`
