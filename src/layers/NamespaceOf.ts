/** A namespace given by its name, which Kubernetes' rule for namespaces (an RFC 1123 label) is checked on. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { InvalidInput } from "../schema/KpuError.ts"
import { Namespace } from "../services/Namespace.ts"

const rule = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/

export const layer = (name: string): Layer.Layer<Namespace, InvalidInput> =>
  Layer.effect(
    Namespace,
    Effect.suspend(() =>
      rule.test(name) && name.length <= 63
        ? Effect.succeed({ name, source: "given explicitly" })
        : Effect.fail(
            new InvalidInput({
              field: "namespace",
              problem: `"${name}" is no namespace: small letters, digits and "-", a letter or digit first and last, at most 63`
            })
          )
    )
  )
