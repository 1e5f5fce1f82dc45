/** `kpu get`: lists Computes, or follows them. */

import * as Clock from "effect/Clock"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type ComputeResource, findCondition } from "../../schema/ComputeResource.ts"
import { isDeleting, isReady, isUntouched } from "../../schema/Readiness.ts"
import { ComputeApi } from "../../services/ComputeApi.ts"
import { Namespace } from "../../services/Namespace.ts"
import { withClient } from "../client.ts"
import { globals } from "../globals.ts"
import { orUndefined } from "../input/flags.ts"
import { count, formatAge } from "../output/quantities.ts"
import { report, toYaml } from "../output/report.ts"
import { Screen } from "../output/Screen.ts"
import { columnWidths, formatRow, formatTable, widened } from "../output/table.ts"
import { watchNamespace } from "../watchNamespace.ts"
import { forEachDistinct, resourceName, stripKind, suggesting } from "./common.ts"

const headings = ["NAME", "READY", "STATUS", "AGE", "IMAGE"]

/** A Compute's state in a word or two. */
export const statusOf = (resource: ComputeResource): string => {
  if (isDeleting(resource)) return "Deleting"
  if (isReady(resource)) return "Ready"
  if (findCondition(resource, "Suspended")?.status === "True") return "Suspended"
  if (resource.spec?.suspend === true) return "Suspending"
  if (isUntouched(resource)) return "NotSeenByOperator"
  return findCondition(resource, "Ready")?.reason ?? "Pending"
}

const rowOf = (resource: ComputeResource, now: number): ReadonlyArray<string> => [
  resource.metadata.name,
  findCondition(resource, "Ready")?.status ?? "-",
  statusOf(resource),
  formatAge(resource.metadata.creationTimestamp, now),
  resource.spec?.image ?? "<default>"
]

/** A resource as the API has it, without the bookkeeping of who owns which field. */
export const withoutManagedFields = (resource: ComputeResource): ComputeResource => {
  const { managedFields, ...metadata } = resource.metadata
  return { ...resource, metadata }
}

const usualRow = [" ".repeat(20), "Unknown", "StatefulSetNotAvailable", "100m", ""]

const follow = (names: ReadonlyArray<string>, labelSelector: string | undefined) =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const { output } = yield* globals
    const namespace = yield* Namespace
    const wanted = new Set(names)
    let widths: ReadonlyArray<number> | undefined
    yield* watchNamespace({ namespace: namespace.name, labelSelector }).pipe(
      Stream.filter((event) => wanted.size === 0 || wanted.has(event.resource.metadata.name)),
      Stream.runForEach(({ deleted, resource }) =>
        Effect.gen(function* () {
          const item = withoutManagedFields(resource)
          switch (output) {
            // One line a change: what follows a stream reads lines.
            case "json":
              return yield* screen.print(JSON.stringify(deleted ? { ...item, deleted: true } : item))
            case "yaml":
              return yield* screen.print(`---\n${yield* toYaml(deleted ? { ...item, deleted: true } : item)}`)
            case "name":
              return yield* screen.print(resourceName(item.metadata.name))
          }
          const row = rowOf(item, yield* Clock.currentTimeMillis)
          const shown = deleted ? [row[0]!, "-", "Deleted", row[3]!, row[4]!] : row
          if (widths === undefined) {
            // Room for a name and the longest status, since later rows cannot move earlier ones.
            widths = columnWidths(headings, [shown, usualRow])
            yield* screen.print(formatRow(headings, widths))
          }
          widths = widened(widths, shown)
          yield* screen.print(formatRow(shown, widths))
        })
      )
    )
  })

export const get = Command.make(
  "get",
  {
    names: Argument.String("name").pipe(
      Argument.withDescription("The Computes' names; all of the namespace when absent"),
      Argument.atLeast(0)
    ),
    watch: Flag.Boolean("watch").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Follow the changes, until interrupted"),
      Flag.withDefault(false)
    ),
    selector: Flag.String("selector").pipe(
      Flag.withAlias("l"),
      Flag.withDescription("Only those whose own labels match"),
      orUndefined
    )
  },
  Effect.fnUntraced(function* ({ names: given, selector, watch }) {
    const names = given.map(stripKind)
    if (watch) return yield* follow(names, selector)
    const screen = yield* Screen
    const api = yield* ComputeApi
    const namespace = (yield* Namespace).name
    const { done: items, failed } =
      names.length > 0
        ? yield* forEachDistinct(names, (name) => suggesting(api.get({ namespace, name })))
        : { done: (yield* api.list({ namespace, labelSelector: selector })).items, failed: Effect.void }
    if (items.length === 0) yield* failed
    const now = yield* Clock.currentTimeMillis
    const shown = [...items].map(withoutManagedFields)
    const { output } = yield* globals
    if (output === "text" && shown.length === 0) {
      return yield* screen.say(`No Computes in namespace ${namespace}.`)
    }
    yield* report({
      text: formatTable(
        headings,
        shown.map((item) => rowOf(item, now))
      ),
      names: shown.map(({ metadata }) => resourceName(metadata.name)).join("\n"),
      data: names.length === 1 ? shown[0] : { apiVersion: "v1", kind: "List", metadata: {}, items: shown }
    })
    yield* Effect.logDebug(`${count(shown.length, "Compute")} in namespace ${namespace}`)
    yield* failed
  }, withClient)
).pipe(
  Command.withDescription("List Computes, or follow them as they change"),
  Command.withExamples([
    { command: "kpu get", description: "The namespace's Computes, as a table" },
    { command: "kpu get my-compute -o yaml", description: "One, as the API has it" },
    { command: "kpu get -w -o json", description: "Every change, one JSON document a line" }
  ])
)
