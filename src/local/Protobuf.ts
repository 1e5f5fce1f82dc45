/**
 * Kubernetes' protobuf bodies, for the few built-in kinds that kubectl writes in no other form: its access reviews and
 * namespaces. Custom resources are always JSON.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire"
import type { JsonObject } from "./Json.ts"
import { badRequest } from "./Status.ts"

export const contentType = "application/vnd.kubernetes.protobuf"

/** Members of a message by their numbers: strings, or messages in turn. */
type Shape = { readonly [number: number]: readonly [name: string, shape: "string" | Shape] }

const resourceAttributes: Shape = Object.fromEntries(
  ["namespace", "verb", "group", "version", "resource", "subresource", "name"].map((name, i) => [
    i + 1,
    [name, "string"] as const
  ])
)
const nonResourceAttributes: Shape = { 1: ["path", "string"], 2: ["verb", "string"] }
const metadata: Shape = { 1: ["name", "string"], 2: ["generateName", "string"] }

const kinds: { readonly [kind: string]: Shape } = {
  SelfSubjectAccessReview: {
    2: ["spec", { 1: ["resourceAttributes", resourceAttributes], 2: ["nonResourceAttributes", nonResourceAttributes] }]
  },
  SelfSubjectReview: {},
  Namespace: { 1: ["metadata", metadata] },
  DeleteOptions: {}
}

const read = (bytes: Uint8Array, shape: Shape): JsonObject => {
  const reader = new BinaryReader(bytes)
  const message: { [name: string]: string | JsonObject } = {}
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    const member = shape[tag >>> 3]
    if (member === undefined || (tag & 7) !== 2) reader.skip(tag & 7)
    else message[member[0]] = member[1] === "string" ? reader.string() : read(reader.bytes(), member[1])
  }
  return message
}

/** `k8s\0`, then the kind's name and its message. */
const envelope: Shape = { 1: ["typeMeta", { 1: ["apiVersion", "string"], 2: ["kind", "string"] }] }

/** The body as the JSON that it stands for. */
export const decode = (body: Buffer): JsonObject => {
  const magic = Buffer.from("k8s\0")
  if (!body.subarray(0, 4).equals(magic)) throw badRequest("the object provided is not Kubernetes protobuf")
  const rest = body.subarray(4)
  const typeMeta = read(rest, envelope)["typeMeta"] as JsonObject | undefined
  const kind = String(typeMeta?.["kind"] ?? "")
  const shape = kinds[kind]
  if (shape === undefined) throw badRequest(`no kind ${JSON.stringify(kind)} is read from protobuf here: send JSON`)
  const reader = new BinaryReader(rest)
  let raw: Uint8Array = new Uint8Array()
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    if (tag >>> 3 === 2) raw = reader.bytes()
    else reader.skip(tag & 7)
  }
  return { ...typeMeta, ...read(raw, shape) }
}
