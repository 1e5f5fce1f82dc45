/** What the embedded API says about itself: versions, groups, resources; plain and aggregated, as kubectl asks. */
import { createHash } from "node:crypto"
import { apiVersionOf, computes, type Resource, stored } from "./Resources.ts"

export const version = {
  major: "1",
  minor: "34",
  emulationMajor: "1",
  emulationMinor: "34",
  minCompatibilityMajor: "1",
  minCompatibilityMinor: "33",
  gitVersion: "v1.34.2+effect-kpu",
  gitCommit: "",
  gitTreeState: "",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: ""
}

interface Served {
  readonly group: string
  readonly version: string
  readonly resources: ReadonlyArray<{
    readonly name: string
    readonly singularName: string
    readonly namespaced: boolean
    readonly kind: string
    readonly verbs: ReadonlyArray<string>
    readonly shortNames?: ReadonlyArray<string> | undefined
    readonly storageVersionHash?: string | undefined
  }>
}

const described = (resource: Resource) => ({
  name: resource.plural,
  singularName: resource.singular,
  namespaced: resource.namespaced,
  kind: resource.kind,
  verbs: resource.verbs,
  shortNames: resource.shortNames.length === 0 ? undefined : resource.shortNames,
  storageVersionHash: createHash("sha256")
    .update(`${resource.group}/${resource.version}/${resource.kind}`)
    .digest()
    .subarray(0, 8)
    .toString("base64")
})

const review = (kind: string) => ({
  name: `${kind.toLowerCase()}s`,
  singularName: kind.toLowerCase(),
  namespaced: false,
  kind,
  verbs: ["create"]
})

const ofGroup = (group: string, version: string): Served => ({
  group,
  version,
  resources: stored.filter((one) => one.group === group && one.version === version).map(described)
})

/** Every group and version that is served. */
export const served: ReadonlyArray<Served> = [
  ofGroup("", "v1"),
  ofGroup("apiextensions.k8s.io", "v1"),
  { group: "authentication.k8s.io", version: "v1", resources: [review("SelfSubjectReview")] },
  { group: "authorization.k8s.io", version: "v1", resources: [review("SelfSubjectAccessReview")] },
  {
    ...ofGroup(computes.group, computes.version),
    resources: [
      described(computes),
      {
        name: `${computes.plural}/status`,
        singularName: "",
        namespaced: true,
        kind: computes.kind,
        verbs: ["get", "patch", "update"]
      }
    ]
  }
]

export const coreVersions = (address: string) => ({
  kind: "APIVersions",
  versions: ["v1"],
  serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: address }]
})

const groupOf = ({ group, version }: Served) => {
  const one = { groupVersion: `${group}/${version}`, version }
  return { name: group, versions: [one], preferredVersion: one }
}

export const groupList = () => ({
  kind: "APIGroupList",
  apiVersion: "v1",
  groups: served.filter(({ group }) => group !== "").map(groupOf)
})

export const groupNamed = (name: string) => {
  const found = served.find(({ group }) => group === name && group !== "")
  return found === undefined ? undefined : { kind: "APIGroup", apiVersion: "v1", ...groupOf(found) }
}

export const resourceList = (group: string, version: string) => {
  const found = served.find((one) => one.group === group && one.version === version)
  return found === undefined
    ? undefined
    : { kind: "APIResourceList", apiVersion: "v1", groupVersion: apiVersionOf(found), resources: found.resources }
}

/** Everything under `/api` or `/apis` in one answer. */
export const aggregated = (core: boolean) => ({
  kind: "APIGroupDiscoveryList",
  apiVersion: "apidiscovery.k8s.io/v2",
  metadata: {},
  items: served
    .filter(({ group }) => (group === "") === core)
    .map(({ group, resources, version }) => ({
      metadata: group === "" ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
      versions: [
        {
          version,
          resources: resources
            .filter(({ name }) => !name.includes("/"))
            .map((resource) => ({
              resource: resource.name,
              responseKind: { group, version, kind: resource.kind },
              scope: resource.namespaced ? "Namespaced" : "Cluster",
              singularResource: resource.singularName,
              shortNames: resource.shortNames,
              verbs: resource.verbs,
              subresources: resources
                .filter(({ name }) => name.startsWith(`${resource.name}/`))
                .map((sub) => ({
                  subresource: sub.name.slice(resource.name.length + 1),
                  responseKind: { group, version, kind: sub.kind },
                  verbs: sub.verbs
                }))
            })),
          freshness: "Current"
        }
      ]
    }))
})
