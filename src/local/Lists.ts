/**
 * Lists and watches of any resource: selectors, pages, past revisions; and for watches the initial events, bookmarks,
 * the window of known changes and the end that the client asked for.
 */
import { type JsonObject, objectAt, stringAt } from "./Json.ts"
import { apiVersionOf, type Resource } from "./Resources.ts"
import { fieldSelector, labelSelector, type Selector } from "./Selectors.ts"
import { type ApiFailure, badRequest, expired, internal, invalid, tooLargeResourceVersion } from "./Status.ts"
import type { Change, Store } from "./Store.ts"

const integerOf = (query: URLSearchParams, name: string): number | undefined => {
  const text = query.get(name)
  if (text === null || text === "") return undefined
  if (!/^[+-]?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`)
  return Number(text)
}

const versionOf = (query: URLSearchParams, refuse: (message: string) => ApiFailure): number | undefined => {
  const text = query.get("resourceVersion") ?? ""
  if (text === "") return undefined
  if (!/^\d+$/.test(text)) {
    throw refuse(
      `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`
    )
  }
  return Number(text)
}

const selectorOf = (resource: Resource, namespace: string | undefined, query: URLSearchParams): Selector => {
  const byLabel = labelSelector(query.get("labelSelector") ?? "")
  const byField = fieldSelector(query.get("fieldSelector") ?? "", resource)
  return (object) =>
    (namespace === undefined || stringAt(objectAt(object, "metadata"), "namespace") === namespace) &&
    byLabel(object) &&
    byField(object)
}

/** Where a page ended: the revision of the whole list and the place of the last object. */
interface Continue {
  readonly rv: number
  readonly start: string
}

const writeContinue = (token: Continue) =>
  Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", ...token })).toString("base64url")

const readContinue = (text: string): Continue => {
  try {
    const { rv, start } = JSON.parse(Buffer.from(text, "base64url").toString())
    if (typeof rv === "number" && typeof start === "string") return { rv, start }
  } catch {
    // Told below.
  }
  throw badRequest("invalid continue token: continue key is not valid")
}

const placeOf = (object: JsonObject): string => {
  const metadata = objectAt(object, "metadata")
  return `${stringAt(metadata, "namespace") ?? ""}/${stringAt(metadata, "name") ?? ""}`
}

export interface Page {
  readonly items: ReadonlyArray<JsonObject>
  readonly metadata: JsonObject
}

const matchInvalid = (...problems: ReadonlyArray<readonly [reason: string, message: string]>) =>
  invalid(
    { group: "meta.k8s.io", kind: "ListOptions", plural: "" },
    "",
    problems.map(([reason, message]) => ({ reason, message, field: "resourceVersionMatch" }))
  )

export const list = (store: Store, resource: Resource, namespace: string | undefined, query: URLSearchParams): Page => {
  const limit = integerOf(query, "limit") ?? 0
  const match = query.get("resourceVersionMatch") ?? ""
  const asked = versionOf(query, (problem) => badRequest(`invalid resource version: ${problem}`))
  const token = query.get("continue") ? readContinue(query.get("continue")!) : undefined
  if (match !== "" && asked === undefined) {
    const message = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    throw matchInvalid(["FieldValueForbidden", message])
  }
  if (asked !== undefined && asked > store.revision()) throw tooLargeResourceVersion(asked, store.revision())
  const exact = token?.rv ?? (match === "Exact" ? asked : undefined)
  if (exact !== undefined && exact < store.floor()) {
    throw expired(
      token === undefined
        ? `The resourceVersion for the provided list is too old.`
        : `The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.`
    )
  }
  const selector = selectorOf(resource, namespace, query)
  const matching = store
    .list(resource.plural, exact)
    .filter(selector)
    .filter((object) => token === undefined || placeOf(object) > token.start)
  const revision = exact ?? store.revision()
  const hasMore = limit > 0 && matching.length > limit
  const items = hasMore ? matching.slice(0, limit) : matching
  const selects = (query.get("labelSelector") ?? "") !== "" || (query.get("fieldSelector") ?? "") !== ""
  return {
    items,
    metadata: {
      continue: hasMore ? writeContinue({ rv: revision, start: placeOf(items.at(-1)!) }) : "",
      remainingItemCount: hasMore && !selects ? matching.length - items.length : undefined,
      resourceVersion: String(revision)
    }
  }
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR"
  readonly object: JsonObject
}

export interface WatchSettings {
  /** Between bookmarks, for clients that take them. */
  readonly bookmarkMillis: number
  /** When the client names no time. */
  readonly defaultTimeoutSeconds: () => number
}

/** Node's timers hold no more. */
const MAX_DELAY = 2 ** 31 - 1

/** Starts a watch: calls `send` for each event, then `end`; gives the way to stop it. Throws what HTTP should say. */
export const watch = (
  store: Store,
  resource: Resource,
  namespace: string | undefined,
  query: URLSearchParams,
  settings: WatchSettings,
  send: (event: WatchEvent) => void,
  end: () => void
): (() => void) => {
  const from = versionOf(query, internal)
  const timeoutSeconds = integerOf(query, "timeoutSeconds") || settings.defaultTimeoutSeconds()
  const takesBookmarks = query.get("allowWatchBookmarks") === "true"
  const sendInitialEvents = query.get("sendInitialEvents")
  if (sendInitialEvents !== null && query.get("resourceVersionMatch") !== "NotOlderThan") {
    const message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    throw matchInvalid(["FieldValueForbidden", message])
  }
  const match = query.get("resourceVersionMatch") ?? ""
  if (sendInitialEvents === null && match !== "") {
    const message = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    const unsupported = `Unsupported value: ${JSON.stringify(match)}: supported values: "NotOlderThan"`
    throw matchInvalid(
      ["FieldValueForbidden", message],
      ...(match === "NotOlderThan" ? [] : [["FieldValueNotSupported", unsupported] as const])
    )
  }
  const selector = selectorOf(resource, namespace, query)
  const initial = sendInitialEvents === "true" || (sendInitialEvents === null && (from === undefined || from === 0))

  const bookmark = (initialEventsEnd: boolean): WatchEvent => ({
    type: "BOOKMARK",
    object: {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      metadata: {
        annotations: initialEventsEnd ? { "k8s.io/initial-events-end": "true" } : undefined,
        creationTimestamp: null,
        resourceVersion: String(store.revision())
      }
    }
  })

  /** An object that comes to match, or ceases to, is added or deleted for this watch. */
  const relay = (change: Change) => {
    if (change.plural !== resource.plural) return
    const was = change.previous !== undefined && selector(change.previous)
    const is = change.type !== "DELETED" && selector(change.object)
    if (is) send({ type: was ? "MODIFIED" : "ADDED", object: change.object })
    else if (was) {
      const metadata = { ...objectAt(change.previous, "metadata"), resourceVersion: String(change.revision) }
      send({ type: "DELETED", object: { ...change.previous, metadata } })
    }
  }

  if (!initial && from !== undefined && from !== 0 && from < store.floor()) {
    const { body } = expired(`too old resource version: ${from} (${store.floor()})`)
    send({ type: "ERROR", object: body as unknown as JsonObject })
    end()
    return () => {}
  }
  if (initial) {
    for (const object of store.list(resource.plural).filter(selector)) send({ type: "ADDED", object })
    if (sendInitialEvents === "true" && takesBookmarks) send(bookmark(true))
  } else if (from !== undefined && from !== 0) {
    for (const change of store.since(from)) relay(change)
  }
  const started = store.revision()
  const unsubscribe = store.subscribe((change) => {
    // A version from the future: what comes before it is not told.
    if (from === undefined || change.revision > from || initial || started >= from) relay(change)
  })
  const bookmarks = takesBookmarks
    ? setInterval(() => send(bookmark(false)), Math.min(settings.bookmarkMillis, MAX_DELAY))
    : undefined
  const timeout = setTimeout(
    () => {
      stop()
      end()
    },
    Math.min(timeoutSeconds * 1000, MAX_DELAY)
  )
  const stop = () => {
    unsubscribe()
    clearInterval(bookmarks)
    clearTimeout(timeout)
  }
  return stop
}
