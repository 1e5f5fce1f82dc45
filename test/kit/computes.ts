/** Computes as a test makes them up. */
import type { ComputeResource } from "../../src/schema/ComputeResource.ts"

/** A Compute of namespace `team-a`, as an API server would answer it. */
export const compute = (
  name: string,
  resourceVersion: number | string,
  options: {
    readonly uid?: string | undefined
    readonly namespace?: string | undefined
    readonly ready?: boolean | undefined
    readonly creationTimestamp?: string | undefined
  } = {}
): ComputeResource => ({
  apiVersion: "compute.kpu.dev/v1alpha1",
  kind: "Compute",
  metadata: {
    name,
    namespace: options.namespace ?? "team-a",
    uid: options.uid ?? `uid-${name}`,
    resourceVersion: String(resourceVersion),
    creationTimestamp: options.creationTimestamp ?? "2026-01-01T00:00:00Z"
  },
  spec: { image: "example/server" },
  ...(options.ready === undefined
    ? {}
    : {
        status: {
          conditions: [
            {
              type: "Ready",
              status: options.ready ? "True" : "False",
              reason: options.ready ? "StatefulSetReady" : "StatefulSetNotReady",
              message: "",
              lastTransitionTime: "2026-01-01T00:00:00Z"
            }
          ]
        }
      })
})
