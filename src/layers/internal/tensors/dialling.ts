/**
 * Why a tensor server could not be reached, in words that say what to do: a name that does not resolve is another matter
 * than a port that nothing listens on.
 */
import { lookup } from "node:dns/promises"
import { connect } from "node:net"
import * as Effect from "effect/Effect"
import { kind } from "../../../schema/ComputeResource.ts"
import { GrpcError } from "../../../schema/KpuError.ts"
import type { Address } from "../../../services/Endpoint.ts"
import type { ConnectOptions } from "../../../services/TensorClient.ts"

/** `host:port`, an IPv6 address in brackets. */
export const formatAddress = ({ host, port }: Address): string =>
  host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`

/** The host as Node's sockets want it. */
export const bareHost = ({ host }: Address): string =>
  host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host

/** Node's code for a name that has no address. */
const isUnresolved = (errno: string | undefined): boolean => errno === "ENOTFOUND" || errno === "ENODATA"

/** The error of a connection that did not come up. `problem` is the transport's own words, where it has better ones. */
export const connectError = (
  { address, name, namespace }: ConnectOptions,
  errno: string | undefined,
  problem?: string | undefined
): GrpcError => {
  const at = formatAddress(address)
  const found = isUnresolved(errno)
    ? `the name ${address.host} does not resolve (${errno})`
    : errno === "EAI_AGAIN"
      ? `the name ${address.host} cannot be resolved now: no name server answered (${errno})`
      : errno === "ECONNREFUSED"
        ? `nothing listens at ${at} (${errno})`
        : (problem ?? `no connection to ${at}${errno === undefined ? "" : ` (${errno})`}`)
  return new GrpcError({
    code: "UNAVAILABLE",
    details: address.hint === "" ? found : `${found}. ${address.hint}`,
    method: "connect",
    address: at,
    errno: isUnresolved(errno) ? "ENOTFOUND" : errno,
    resource: { kind, namespace, name }
  })
}

const errnoOf = (error: unknown): string | undefined => {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === "string" ? code : undefined
}

/** Looks why an address cannot be connected to, for a transport that does not tell. Undefined: it can. */
export const diagnose = (address: Address): Effect.Effect<string | undefined> =>
  Effect.callback((resume, signal) => {
    const host = bareHost(address)
    lookup(host, { all: true }).then(
      () => {
        if (signal.aborted) return
        const socket = connect({ host, port: address.port, timeout: 2000 })
        const end = (errno: string | undefined) => {
          socket.destroy()
          resume(Effect.succeed(errno))
        }
        socket.once("connect", () => end(undefined))
        socket.once("timeout", () => end("ETIMEDOUT"))
        socket.on("error", (error) => end(errnoOf(error)))
        signal.addEventListener("abort", () => socket.destroy(), { once: true })
      },
      (error) => resume(Effect.succeed(errnoOf(error)))
    )
  })
