/**
 * One script of requests, played to two API servers, and what each answered as text: the same bytes are expected of both
 * once what must differ (uids, revisions, times, generated names) is written by rank.
 */
import { request as httpRequest } from "node:http"
import { request as httpsRequest } from "node:https"

export interface World {
  readonly url: string
  readonly token: string
  readonly ca?: string | undefined
}

export interface Step {
  readonly method: string
  /** Below the namespace's Computes, or from the root where it begins with `/`; `{ns}`, `{rv}` and `{uid}` are filled in. */
  readonly path: string
  readonly type?: string | undefined
  /** JSON, or text as it is; `{ns}`, `{rv}` and `{uid}` are filled in. */
  readonly body?: unknown
  readonly accept?: string | undefined
  /** Milliseconds to wait before it: managedFields has times in seconds, and what is older is told by them. */
  readonly after?: number | undefined
}

export interface Answer {
  readonly step: string
  readonly status: number
  readonly contentType: string
  readonly warnings: ReadonlyArray<string>
  readonly body: string
}

const send = (world: World, step: Step): Promise<{ status: number; headers: any; body: string }> =>
  new Promise((resolve, reject) => {
    const body =
      step.body === undefined ? undefined : typeof step.body === "string" ? step.body : JSON.stringify(step.body)
    const secure = world.url.startsWith("https:")
    const outgoing = (secure ? httpsRequest : httpRequest)(`${world.url}${step.path}`, {
      method: step.method,
      ca: world.ca,
      agent: false,
      headers: {
        authorization: `Bearer ${world.token}`,
        "user-agent": "exchange/1",
        accept: step.accept ?? "application/json",
        ...(body === undefined
          ? {}
          : { "content-type": step.type ?? "application/json", "content-length": Buffer.byteLength(body) })
      }
    })
    outgoing.once("error", reject)
    outgoing.once("response", (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk) => chunks.push(chunk))
      response.once("error", reject)
      response.once("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() })
      )
    })
    outgoing.end(body)
  })

const uid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
const time = /20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ/g
const version = /(\\*"resourceVersion\\*":\\*")(\d+)/g

/** The revision of a list is the whole cluster's: others write to the real one too. */
const listVersions = [
  /("kind":"Table","apiVersion":"[^"]*","metadata":\{"resourceVersion":")\d+/g,
  /("metadata":\{"continue":"[^"]*",(?:"remainingItemCount":\d+,)?"resourceVersion":")\d+/g
]

/** What must differ between servers, by rank of appearance. */
const normalizer = (namespace: string) => {
  const ranks: { readonly [kind: string]: Array<string> } = { uid: [], rv: [] }
  const rank = (kind: "uid" | "rv", value: string) => {
    const known = ranks[kind]!
    if (!known.includes(value)) known.push(value)
    return `${kind}#${known.indexOf(value)}`
  }
  return (answer: string) =>
    listVersions
      .reduce((text, pattern) => text.replace(pattern, "$1LISTED"), answer)
      .replaceAll(namespace, "NAMESPACE")
      .replace(uid, (value) => rank("uid", value))
      .replace(time, "TIME")
      .replace(/"\d+s"\]/g, '"AGE"]')
      .replace(version, (_, key: string, value: string) => `${key}${rank("rv", value)}`)
      .replace(/ResourceVersion in record \((\d+)\)/, (_, value: string) => `in record (${rank("rv", value)})`)
      .replace(/(gen-)[a-z0-9]{5}/g, "$1SUFFIX")
}

/**
 * What is in no order on the real server: the causes of a refusal come from a Go map, and managers are sorted by times,
 * which two worlds do not share.
 */
const reorder = (text: string): string => {
  const byText = (list: Array<unknown>) =>
    list
      .map((one) => JSON.stringify(one))
      .sort()
      .map((one) => JSON.parse(one))
  const order = (value: any): any => {
    if (Array.isArray(value)) return value.map(order)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, member]: [string, any]) => [
        key,
        key === "managedFields" || key === "causes" ? byText(member) : order(member)
      ])
    )
  }
  let parsed: any
  try {
    parsed = JSON.parse(text)
  } catch {
    return text
  }
  if (parsed.details?.causes?.length > 1) parsed.message = [...parsed.message].sort().join("")
  return JSON.stringify(order(parsed))
}

/** Plays the script in a namespace that exists. */
export const play = async (world: World, namespace: string, script: ReadonlyArray<Step>): Promise<Array<Answer>> => {
  const normalize = normalizer(namespace)
  const answers: Array<Answer> = []
  let last: { uid: string; rv: string } = { uid: "", rv: "" }
  for (const step of script) {
    if (step.after !== undefined) await new Promise((done) => setTimeout(done, step.after))
    const fill = (text: string) =>
      text.replaceAll("{ns}", namespace).replaceAll("{uid}", last.uid).replaceAll("{rv}", last.rv)
    const path = fill(step.path)
    const body =
      step.body === undefined ? undefined : typeof step.body === "string" ? step.body : JSON.stringify(step.body)
    const answer = await send(world, {
      ...step,
      path: path.startsWith("/")
        ? path
        : `/apis/compute.kpu.dev/v1alpha1/namespaces/${namespace}/computes${path && !path.startsWith("?") ? `/${path}` : path}`,
      body: body === undefined ? undefined : fill(body)
    })
    try {
      const { metadata } = JSON.parse(answer.body)
      if (typeof metadata.uid === "string") last = { uid: metadata.uid, rv: metadata.resourceVersion }
    } catch {
      // No object to go on from.
    }
    answers.push({
      step: `${step.method} ${step.path} ${step.type ?? ""} ${body ?? ""}`,
      status: answer.status,
      contentType: String(answer.headers["content-type"]),
      // The order of several is that of a Go map.
      warnings: String(answer.headers["warning"] ?? "")
        .split(/, (?=299)/)
        .sort(),
      body: reorder(normalize(answer.body))
    })
  }
  return answers
}
