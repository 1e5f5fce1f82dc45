/** `kpu apply`: creates or updates Computes, from flags or manifests. */
import { readFile } from "node:fs/promises"
import { text } from "node:stream/consumers"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Compute from "../../Compute.ts"
import type { ComputeOptions } from "../../schema/ComputeOptions.ts"
import { InvalidInput } from "../../schema/KpuError.ts"
import { Namespace } from "../../services/Namespace.ts"
import { dialOptions, withClient } from "../client.ts"
import { fileError } from "../files/disk.ts"
import { globals } from "../globals.ts"
import { list, orUndefined, record, waitTimeout } from "../input/flags.ts"
import { type ManifestItem, readManifest } from "../input/manifest.ts"
import { actionResult, ready, reportActions, stripKind } from "./common.ts"

/** The flags of a Compute's specification; `kpu run` has them too. */
export const specFlags = {
  image: Flag.String("image").pipe(
    Flag.withDescription("The container image (the operator's default when absent)"),
    orUndefined
  ),
  command: list("command").pipe(
    Flag.withDescription("A word of the entrypoint, instead of the image's; may be repeated")
  ),
  args: list("arg").pipe(
    Flag.withDescription("An argument of the entrypoint; may be repeated (--arg=--verbose where it begins with -)")
  ),
  env: record("env").pipe(Flag.withAlias("e"), Flag.withDescription("An environment variable; may be repeated")),
  labels: record("label").pipe(Flag.withDescription("A label of what the operator creates; may be repeated")),
  annotations: record("annotation").pipe(Flag.withDescription("An annotation of the same; may be repeated"))
} as const

const read = (file: string) =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () => (file === "-" ? text(process.stdin) : readFile(file, "utf8")),
      catch: (cause) => fileError("read", file, cause)
    }),
    (content) => readManifest(file === "-" ? "standard input" : file, content)
  )

/** The namespace of a manifest must be the one that is worked in, as kubectl has it. */
const checkNamespace = (item: ManifestItem, namespace: string) =>
  item.namespace === undefined || item.namespace === namespace
    ? Effect.void
    : Effect.fail(
        new InvalidInput({
          field: `${item.source}: metadata.namespace`,
          problem: `is ${item.namespace}, and the namespace is ${namespace}; use -n ${item.namespace}`
        })
      )

const applyAll = Effect.fnUntraced(function* (
  items: ReadonlyArray<ManifestItem>,
  all: ReadonlyArray<ComputeOptions>,
  wait: boolean,
  timeout: Duration.Duration | undefined
) {
  const flags = yield* globals
  const namespace = yield* Namespace
  yield* Effect.forEach(items, (item) => checkNamespace(item, namespace.name), { discard: true })
  const handles = yield* Effect.forEach(all, (options) => Compute.apply({ ...dialOptions(flags), ...options }), {
    concurrency: 8
  })
  const results = yield* Effect.forEach(handles, (handle) =>
    Effect.map(handle.resource, ({ metadata }) => actionResult("applied", metadata))
  )
  yield* reportActions(results)
  if (!wait) return
  yield* Effect.forEach(
    handles.filter((_, index) => all[index]?.suspend !== true),
    (handle) => ready(handle, { timeout }),
    { concurrency: "unbounded", discard: true }
  )
})

export const apply = Command.make(
  "apply",
  {
    name: Argument.String("name").pipe(Argument.withDescription("The Compute's name"), Argument.optional),
    files: Flag.String("filename").pipe(
      Flag.withAlias("f"),
      Flag.withMetavar("file"),
      Flag.withDescription("A YAML or JSON manifest (- is standard input); may be repeated"),
      Flag.atLeast(0)
    ),
    ...specFlags,
    suspend: Flag.Boolean("suspend").pipe(Flag.withDescription("Create it suspended, at zero replicas"), orUndefined),
    wait: Flag.Boolean("wait").pipe(Flag.withDescription("Wait until it serves"), Flag.withDefault(false)),
    timeout: waitTimeout
  },
  Effect.fnUntraced(function* ({ files, name, timeout, wait, ...spec }) {
    const given = Object.entries(spec).filter(([, value]) => value !== undefined)
    let items: ReadonlyArray<ManifestItem> = []
    let all: ReadonlyArray<ComputeOptions>
    if (files.length > 0) {
      const extra = name._tag === "Some" ? "a name" : given[0] === undefined ? undefined : `--${given[0][0]}`
      if (extra !== undefined) {
        return yield* new InvalidInput({
          field: "--filename",
          problem: `a manifest says everything; leave out ${extra}`
        })
      }
      items = (yield* Effect.forEach(files, read)).flat()
      all = items.map(({ options }) => options)
    } else {
      if (name._tag === "None") {
        return yield* new InvalidInput({ field: "name", problem: "is missing; give a Compute's name, or -f FILE" })
      }
      all = [{ name: stripKind(name.value), ...spec }]
    }
    yield* applyAll(items, all, wait, timeout).pipe(withClient)
  })
).pipe(
  Command.withDescription("Create or update Computes by server-side apply, from flags or from manifests"),
  Command.withExamples([
    {
      command: "kpu apply my-compute --image localhost:5001/kpu-torch-server:latest --wait",
      description: "From flags, and wait until it serves"
    },
    { command: "kpu apply -f compute.yaml", description: "From a manifest" }
  ])
)
