/**
 * Acting as another user: the headers that the API server reads
 * (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation).
 */
import type { Impersonation } from "../../../services/KubeConfig.ts"

/** What a header's name may hold (RFC 9110, token), but for `%`, which escapes the rest. */
const plain = /^[!#$&'*+\-.^_`|~0-9A-Za-z]$/

const escapeKey = (key: string): string =>
  [...Buffer.from(key, "utf8")]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return plain.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
    })
    .join("")

/** Header values are written byte for byte: the bytes of UTF-8, as the API server expects them. */
const bytes = (value: string): string => Buffer.from(value, "utf8").toString("latin1")

/** Whether a value can stand in a header at all. */
export const fitsHeader = (value: string): boolean => !/\p{Cc}/u.test(value)

/** The headers of a request that is made as this user. */
export const impersonationHeaders = ({
  extra = {},
  groups = [],
  uid,
  user
}: Impersonation): Readonly<Record<string, string | Array<string>>> => {
  const headers: Record<string, string | Array<string>> = { "impersonate-user": bytes(user) }
  if (uid !== undefined) headers["impersonate-uid"] = bytes(uid)
  if (groups.length > 0) headers["impersonate-group"] = groups.map(bytes)
  for (const [key, values] of Object.entries(extra)) {
    headers[`impersonate-extra-${escapeKey(key).toLowerCase()}`] = values.map(bytes)
  }
  return headers
}
