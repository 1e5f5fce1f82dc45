/**
 * A kubeconfig file as a document: parsed, checked, and merged with others as kubectl merges a `KUBECONFIG` list.
 *
 * **Details**
 *
 * The first file that names a cluster, user or context wins the whole entry, and the first `current-context` wins; a
 * name that stands twice in one file is refused.
 * Paths inside a file are relative to that file's folder, so every entry remembers its file.
 *
 * **Gotchas**
 *
 * A message says which field is wrong and never what stands there: it may be a token.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Yaml from "yaml"
import { KubeConfigError } from "../../../schema/KpuError.ts"

const optional = Schema.optional
const text = optional(Schema.String)

/** `clusters[].cluster`. */
export const Cluster = Schema.Struct({
  server: text,
  "certificate-authority": text,
  "certificate-authority-data": text,
  "insecure-skip-tls-verify": optional(Schema.Boolean),
  "tls-server-name": text,
  "proxy-url": text,
  extensions: optional(Schema.Array(Schema.Struct({ name: Schema.String, extension: Schema.optional(Schema.Unknown) })))
})
export type Cluster = typeof Cluster.Type

/** `users[].user.exec`: the command that gives credentials. */
export const Exec = Schema.Struct({
  apiVersion: text,
  command: Schema.String,
  args: optional(Schema.Array(Schema.String)),
  env: optional(Schema.Array(Schema.Struct({ name: Schema.String, value: Schema.String }))),
  installHint: text,
  provideClusterInfo: optional(Schema.Boolean),
  interactiveMode: text
})
export type Exec = typeof Exec.Type

/** `users[].user`. */
export const User = Schema.Struct({
  "client-certificate": text,
  "client-certificate-data": text,
  "client-key": text,
  "client-key-data": text,
  token: text,
  tokenFile: text,
  username: text,
  password: text,
  as: text,
  "as-uid": text,
  "as-groups": optional(Schema.Array(Schema.String)),
  "as-user-extra": optional(Schema.Record(Schema.String, Schema.Array(Schema.String))),
  exec: optional(Exec),
  "auth-provider": optional(
    Schema.Struct({ name: Schema.String, config: optional(Schema.Record(Schema.String, Schema.String)) })
  )
})
export type User = typeof User.Type

const Context = Schema.Struct({ cluster: text, user: text, namespace: text })
type Context = typeof Context.Type

const Document = Schema.Struct({
  "current-context": text,
  clusters: optional(Schema.Array(Schema.Struct({ name: Schema.String, cluster: optional(Cluster) }))),
  users: optional(Schema.Array(Schema.Struct({ name: Schema.String, user: optional(User) }))),
  contexts: optional(Schema.Array(Schema.Struct({ name: Schema.String, context: optional(Context) })))
})

/** An entry and the file that it stands in. */
export interface Located<A> {
  readonly file: string
  readonly value: A
}

/** One or several kubeconfig files as one. */
export interface KubeConfigDocument {
  readonly files: ReadonlyArray<string>
  readonly currentContext: Located<string> | undefined
  readonly clusters: ReadonlyMap<string, Located<Cluster>>
  readonly users: ReadonlyMap<string, Located<User>>
  readonly contexts: ReadonlyMap<string, Located<Context>>
}

/** kubeconfig writers leave empty keys behind (`users: null`, `env: null`): null means absent. */
const withoutNulls = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== null)
      .map(([key, part]) => [key, withoutNulls(part)])
  )
}

const decode = Schema.decodeUnknownEffect(Document)

const isMissing = "is missing"

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => (issue._tag === "MissingKey" ? isMissing : "")
})

const broken = (file: string, problem: string) =>
  new KubeConfigError({
    problem: `the kubeconfig ${file} is broken: ${problem}. Repair it, or point KUBECONFIG at another file.`,
    tried: []
  })

const formatPath = (path: ReadonlyArray<unknown>): string =>
  path.map((key, i) => (typeof key === "number" ? `[${key}]` : `${i === 0 ? "" : "."}${String(key)}`)).join("")

/** Reads the text of one kubeconfig file. Unknown fields are ignored, as kubectl ignores them. */
export const parse = Effect.fnUntraced(function* (file: string, source: string) {
  const parsed = Yaml.parseDocument(source, { prettyErrors: false, logLevel: "silent" })
  const error = parsed.errors[0]
  if (error !== undefined) {
    const line = source.slice(0, error.pos[0]).split("\n").length
    return yield* broken(file, `it is not YAML (line ${line}, ${error.code})`)
  }
  const content = yield* Effect.try({
    try: () => parsed.toJS() as unknown,
    catch: () => broken(file, "it is not YAML (its aliases cannot be resolved)")
  })
  const document = yield* decode(withoutNulls(content ?? {})).pipe(
    Effect.mapError((error) => {
      const first = formatIssue(error.issue).issues[0]
      const path = formatPath((first?.path ?? []).map((key) => (typeof key === "object" ? key.key : key)))
      return broken(
        file,
        path === ""
          ? "it is not a mapping"
          : `field ${path} ${first?.message === isMissing ? isMissing : "has the wrong type"}`
      )
    })
  )
  const locate = <A>(field: string, entries: ReadonlyArray<readonly [string, A]>) => {
    const map = new Map<string, Located<A>>()
    for (const [name, value] of entries) {
      if (map.has(name)) return Effect.fail(broken(file, `field ${field} names ${JSON.stringify(name)} twice`))
      map.set(name, { file, value })
    }
    return Effect.succeed(map)
  }
  const currentContext = document["current-context"]
  const result: KubeConfigDocument = {
    files: [file],
    currentContext: currentContext ? { file, value: currentContext } : undefined,
    clusters: yield* locate(
      "clusters",
      (document.clusters ?? []).map((entry) => [entry.name, entry.cluster ?? {}] as const)
    ),
    users: yield* locate(
      "users",
      (document.users ?? []).map((entry) => [entry.name, entry.user ?? {}] as const)
    ),
    contexts: yield* locate(
      "contexts",
      (document.contexts ?? []).map((entry) => [entry.name, entry.context ?? {}] as const)
    )
  }
  return result
})

const mergeMaps = <A>(first: ReadonlyMap<string, A>, second: ReadonlyMap<string, A>): ReadonlyMap<string, A> =>
  new Map([...second, ...first])

/** Merges files in the order of a `KUBECONFIG` list: what an earlier one names stays. */
export const merge = (first: KubeConfigDocument, second: KubeConfigDocument): KubeConfigDocument => ({
  files: [...first.files, ...second.files],
  currentContext: first.currentContext ?? second.currentContext,
  clusters: mergeMaps(first.clusters, second.clusters),
  users: mergeMaps(first.users, second.users),
  contexts: mergeMaps(first.contexts, second.contexts)
})
