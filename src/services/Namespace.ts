/** The namespace in which Computes live. */
import * as Context from "effect/Context"

export class Namespace extends Context.Service<
  Namespace,
  {
    readonly name: string
    /** Where the name came from, in a person's words. */
    readonly source: string
  }
>()("effect-kpu/Namespace") {}
