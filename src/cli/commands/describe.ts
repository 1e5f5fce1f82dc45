/** `kpu describe`: everything there is to see of one Compute. */

import * as Clock from "effect/Clock"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { defaultPort } from "../../schema/ComputeOptions.ts"
import type { ComputeResource } from "../../schema/ComputeResource.ts"
import { describe as describeStatus, isReady } from "../../schema/Readiness.ts"
import { ComputeApi } from "../../services/ComputeApi.ts"
import { ComputeDiagnosis } from "../../services/ComputeDiagnosis.ts"
import { Endpoint } from "../../services/Endpoint.ts"
import { Namespace } from "../../services/Namespace.ts"
import { withClient } from "../client.ts"
import { globals } from "../globals.ts"
import { computeName } from "../input/flags.ts"
import { formatAge } from "../output/quantities.ts"
import { report } from "../output/report.ts"
import { formatTable } from "../output/table.ts"
import { resourceName, stripKind, suggesting } from "./common.ts"
import { statusOf, withoutManagedFields } from "./get.ts"

const indented = (text: string): string => `  ${text.replaceAll("\n", "\n  ")}`

const section = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : [`${title}:`, ...lines.map(indented)]

const pairs = (title: string, values: Readonly<Record<string, string>> | undefined): ReadonlyArray<string> =>
  section(
    title,
    Object.entries(values ?? {}).map(([key, value]) => `${key}=${value}`)
  )

const textOf = (resource: ComputeResource, address: string, pod: string | undefined, now: number): string => {
  const { metadata, spec, status } = resource
  const fact = (name: string, value: string) => `${`${name}:`.padEnd(13)}${value}`
  const managers = (metadata.managedFields ?? []).map(
    ({ manager, operation, subresource, time }) =>
      `${manager ?? "<unknown>"} (${operation ?? "?"}${subresource === undefined ? "" : ` of ${subresource}`}) ${formatAge(time, now)} ago`
  )
  const conditions = status?.conditions ?? []
  return [
    fact("Name", metadata.name),
    fact("Namespace", metadata.namespace),
    fact("Status", statusOf(resource)),
    fact("Created", `${metadata.creationTimestamp ?? "<unknown>"} (${formatAge(metadata.creationTimestamp, now)} ago)`),
    fact("UID", metadata.uid),
    fact("Generation", String(metadata.generation ?? "<unknown>")),
    fact("Image", spec?.image ?? "<the operator's default>"),
    ...(spec?.command === undefined ? [] : [fact("Command", JSON.stringify(spec.command))]),
    ...(spec?.args === undefined ? [] : [fact("Args", JSON.stringify(spec.args))]),
    fact("Suspend", String(spec?.suspend ?? false)),
    fact("Endpoint", address),
    // Values of the environment may be secrets: kubectl shows them, this does not.
    ...section(
      "Environment",
      (spec?.env ?? []).map(({ name, valueFrom }) => `${name}${valueFrom === undefined ? "" : " (from elsewhere)"}`)
    ),
    ...pairs("Labels", spec?.labels),
    ...pairs("Annotations", spec?.annotations),
    ...(conditions.length === 0
      ? section("Conditions", [describeStatus(resource)])
      : section("Conditions", [
          formatTable(
            ["TYPE", "STATUS", "REASON", "AGE", "MESSAGE"],
            conditions.map((c) => [c.type, c.status, c.reason, formatAge(c.lastTransitionTime, now), c.message])
          )
        ])),
    ...section("Managers", managers),
    ...(pod === undefined ? [] : section("Pod", [pod]))
  ].join("\n")
}

export const describe = Command.make(
  "describe",
  { name: computeName },
  Effect.fnUntraced(function* ({ name: given }) {
    const flags = yield* globals
    const api = yield* ComputeApi
    const namespace = (yield* Namespace).name
    const resource = yield* suggesting(api.get({ namespace, name: stripKind(given) }))
    const endpoint = yield* Endpoint
    const port = flags.port ?? defaultPort
    const address =
      flags.host === undefined
        ? yield* endpoint.resolve({ namespace, name: resource.metadata.name, port }).pipe(
            Effect.map(({ host, port }) => `${host}:${port}`),
            Effect.catch((error) => Effect.succeed(error.message))
          )
        : `${flags.host}:${port}`
    const pod =
      isReady(resource) || resource.spec?.suspend === true
        ? undefined
        : yield* Effect.flatMap(ComputeDiagnosis, (diagnosis) => diagnosis.summary(resource))
    const now = yield* Clock.currentTimeMillis
    yield* report({
      text: textOf(resource, address, pod === "" ? undefined : pod, now),
      names: resourceName(resource.metadata.name),
      data: withoutManagedFields(resource)
    })
  }, withClient)
).pipe(
  Command.withDescription("Show all there is to see of a Compute: specification, conditions, endpoint, Pod trouble"),
  Command.withExamples([{ command: "kpu describe my-compute", description: "One Compute" }])
)
