/**
 * The HTTP proxy that the environment asks for, by the rules of Go's net/http, which kubectl follows: `HTTPS_PROXY` or
 * `HTTP_PROXY` by the server's scheme, exceptions in `NO_PROXY`, capitals before small letters, and never for loopback.
 */
import { BlockList, isIP } from "node:net"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** An environment variable; empty counts as unset. */
export const variable = (name: string): Effect.Effect<string | undefined> =>
  Config.option(Config.String(name)).pipe(
    Effect.map((value) => (Option.isSome(value) && value.value !== "" ? value.value : undefined)),
    Effect.orElseSucceed(() => undefined)
  )

const eitherCase = (name: string) =>
  Effect.flatMap(variable(name), (value) =>
    value !== undefined ? Effect.succeed(value) : variable(name.toLowerCase())
  )

const family = (address: string) => (isIP(address) === 6 ? "ipv6" : "ipv4")

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))

/** Whether `NO_PROXY` names this host. */
export const isExempt = (host: string, port: string, noProxy: string): boolean =>
  noProxy.split(",").some((raw) => {
    const entry = raw.trim().toLowerCase()
    if (entry === "") return false
    if (entry === "*") return true
    const [base, prefix] = entry.split("/")
    if (prefix !== undefined) {
      if (base === undefined || isIP(base) === 0 || isIP(host) === 0 || !/^\d+$/.test(prefix)) return false
      const bits = Number(prefix)
      if (bits > (isIP(base) === 6 ? 128 : 32)) return false
      const list = new BlockList()
      list.addSubnet(base, bits, family(base))
      return list.check(host, family(host))
    }
    const withPort = isIP(entry) === 0 ? /^\[?(.*?)\]?:(\d+)$/.exec(entry) : null
    const name = withPort?.[1] ?? entry.replace(/^\[(.*)\]$/, "$1")
    if (withPort?.[2] !== undefined && withPort[2] !== port) return false
    if (isIP(name) !== 0) return name === host
    const domain = name.replace(/^\*?\./, "")
    // ".example.com" speaks of subdomains only, "example.com" of itself as well
    return host.endsWith(`.${domain}`) || (host === domain && domain === name)
  })

/** The proxy for this server, or none. */
export const environmentProxy = Effect.fnUntraced(function* (server: string) {
  const url = new URL(server)
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase()
  if (isLoopback(host)) return undefined
  const proxy = yield* eitherCase(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY")
  if (proxy === undefined) return undefined
  const noProxy = yield* eitherCase("NO_PROXY")
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port
  if (noProxy !== undefined && isExempt(host, port, noProxy)) return undefined
  return proxy.includes("://") ? proxy : `http://${proxy}`
})
