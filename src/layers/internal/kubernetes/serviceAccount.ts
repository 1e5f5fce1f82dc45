/** Where Kubernetes mounts a Pod's service account: token, CA and namespace. */
import * as Context from "effect/Context"

/** A reference, so that tests have one of their own. */
export const ServiceAccountFolder = Context.Reference<string>("effect-kpu/ServiceAccountFolder", {
  defaultValue: () => "/var/run/secrets/kubernetes.io/serviceaccount"
})
