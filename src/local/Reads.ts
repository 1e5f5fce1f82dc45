/**
 * Answers to reads: objects, lists and watches, as JSON or as tables.
 *
 * **Gotchas** A watch whose client reads too slowly is cut off, as the real server does: the client lists anew.
 */
import type * as Http from "node:http"
import { answer, type Call, type Headers } from "./HttpCall.ts"
import { encode, type JsonObject, objectAt, stringAt } from "./Json.ts"
import * as Lists from "./Lists.ts"
import type { Resource } from "./Resources.ts"
import { notFound } from "./Status.ts"
import type { Store } from "./Store.ts"
import { kindOfList, type TableOptions, tableOf, tableVersion } from "./Table.ts"
import { isWatch, type Target } from "./Target.ts"

/** What the routes share. */
export interface ReadContext {
  readonly store: Store
  readonly bookmarkMillis: number
  /** The answers of watches that are open. */
  readonly watches: Set<Http.ServerResponse>
}

/** Bytes that may wait for a slow watcher. */
const MAX_WATCH_BACKLOG = 32 * 1024 * 1024

const tableOptions = (call: Call): TableOptions | undefined => {
  const apiVersion = tableVersion(call.accept)
  if (apiVersion === undefined) return undefined
  const include = call.query.get("includeObject")
  return {
    apiVersion,
    includeObject: include === "None" || include === "Object" ? include : "Metadata",
    columns: true
  }
}

export const answerObject = (call: Call, resource: Resource, code: number, object: JsonObject, headers?: Headers) => {
  const table = tableOptions(call)
  const metadata = { resourceVersion: stringAt(objectAt(object, "metadata"), "resourceVersion") }
  answer(call, code, table === undefined ? object : tableOf([object], metadata, resource, table), headers)
}

const startWatch = (context: ReadContext, call: Call, { namespace, resource }: Target) => {
  const { store, watches } = context
  const { response } = call
  const table = tableOptions(call)
  let columns = true
  // What comes before the headers: a watch that is refused answers with a status of its own.
  const pending: Array<string> = []
  let ended = false
  const send = ({ object, type }: Lists.WatchEvent) => {
    let shown: unknown = object
    if (table !== undefined && type !== "ERROR") {
      const metadata = { resourceVersion: stringAt(objectAt(object, "metadata"), "resourceVersion") }
      shown = tableOf(type === "BOOKMARK" ? [] : [object], metadata, resource, { ...table, columns })
      columns = false
    }
    const line = `${encode({ type, object: shown })}\n`
    if (!response.headersSent) pending.push(line)
    else {
      response.write(line)
      if (response.writableLength > MAX_WATCH_BACKLOG) response.destroy()
    }
  }
  const stop = Lists.watch(
    store,
    resource,
    namespace,
    call.query,
    { bookmarkMillis: context.bookmarkMillis, defaultTimeoutSeconds: () => 1800 + Math.random() * 1800 },
    send,
    () => {
      ended = true
      if (response.headersSent) response.end()
    }
  )
  response.on("close", () => {
    stop()
    watches.delete(response)
  })
  response.writeHead(200, { "cache-control": "no-cache, private", "content-type": "application/json" })
  response.flushHeaders()
  for (const line of pending) response.write(line)
  if (ended) response.end()
  else watches.add(response)
}

export const read = (context: ReadContext, call: Call, target: Target) => {
  const { store } = context
  const { name, namespace, resource } = target
  if (name === undefined && isWatch(call)) return startWatch(context, call, target)
  if (name !== undefined) {
    const object = store.get(resource.plural, namespace ?? "", name)
    if (object === undefined) throw notFound(resource, name)
    return answerObject(call, resource, 200, object)
  }
  const page = Lists.list(store, resource, namespace, call.query)
  const table = tableOptions(call)
  if (table !== undefined) return answer(call, 200, tableOf(page.items, page.metadata, resource, table))
  const { apiVersion, kind } = kindOfList(resource)
  return answer(call, 200, { apiVersion, items: page.items, kind, metadata: page.metadata })
}
