/**
 * The options that every transport has, checked and with their defaults filled in.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { InvalidInput } from "../../../schema/KpuError.ts"

/** TLS to the server; the client's own certificate and key make it mutual. All in PEM. */
export interface TlsOptions {
  /** The authorities that the server's certificate is checked against; Node's own list by default. */
  readonly ca?: string | Uint8Array | undefined
  readonly cert?: string | Uint8Array | undefined
  readonly key?: Redacted.Redacted<string> | undefined
  /** The name that the certificate must be for, where it is not the host that is dialled. */
  readonly serverName?: string | undefined
}

/** Options of a transport. */
export interface ChannelOptions {
  /**
   * The largest message sent, in bytes; 4 MiB by default, as servers accept by theirs. A chunk's data may take this less
   * 1 MiB.
   */
  readonly maxSendMessageBytes?: number | undefined
  /** The largest message accepted, in bytes; 65 MiB by default. */
  readonly maxReceiveMessageBytes?: number | undefined
  /** Bytes that the server may send ahead, on each call and on the connection; 16 MiB by default. */
  readonly receiveWindowBytes?: number | undefined
  /**
   * How often an HTTP/2 ping is sent on a connection with calls; none by default, at least 5 minutes: stock servers cut
   * off faster ones.
   */
  readonly keepalive?: Duration.Input | undefined
  /** How long one attempt to connect may take; 20 s by default. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Plain text by default, as the servers are; true for TLS with Node's own authorities. */
  readonly tls?: boolean | TlsOptions | undefined
  /** Sent with every call as `authorization: Bearer …`. Needs `tls`. */
  readonly token?: Redacted.Redacted<string> | undefined
}

/** The options with their defaults. */
export interface CheckedChannelOptions {
  readonly maxSendMessageBytes: number
  readonly maxReceiveMessageBytes: number
  readonly receiveWindowBytes: number
  readonly keepaliveMillis: number | undefined
  readonly connectTimeoutMillis: number
  readonly tls: TlsOptions | undefined
  readonly token: Redacted.Redacted<string> | undefined
}

const mebibyte = 2 ** 20
const minKeepaliveMillis = 5 * 60_000

/** Metadata keys and values of HTTP/2 are printable ASCII. */
const isTokenText = (token: string): boolean => /^[\x21-\x7e]+$/.test(token)

const whole = (field: string, value: unknown, from: number, to: number, fallback: number): number => {
  if (value === undefined) return fallback
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= from && value <= to) return value
  throw new InvalidInput({ field, problem: `must be a whole number of bytes from ${from} to ${to}` })
}

const millis = (field: string, value: Duration.Input | undefined): number | undefined => {
  if (value === undefined) return undefined
  const duration = Option.getOrUndefined(Duration.fromInput(value))
  const result = duration === undefined ? Number.NaN : Duration.toMillis(duration)
  if (result > 0 && result <= 2 ** 31 - 1) return result
  throw new InvalidInput({ field, problem: 'must be a duration such as "30 seconds", more than 0 and below 24 days' })
}

/** Checks the options of a transport; throws `InvalidInput`. */
export const checkChannelOptions = (options: ChannelOptions = {}): CheckedChannelOptions => {
  const keepaliveMillis = millis("keepalive", options.keepalive)
  if (keepaliveMillis !== undefined && keepaliveMillis < minKeepaliveMillis) {
    throw new InvalidInput({ field: "keepalive", problem: "must be at least 5 minutes: servers cut off faster ones" })
  }
  const tls = options.tls === true ? {} : options.tls === false ? undefined : options.tls
  if (tls !== undefined && (tls.cert === undefined) !== (tls.key === undefined)) {
    throw new InvalidInput({ field: "tls", problem: "a client's certificate and its key go together" })
  }
  const { token } = options
  if (token !== undefined) {
    if (tls === undefined) {
      throw new InvalidInput({ field: "token", problem: "needs tls: in plain text anyone on the way can read it" })
    }
    if (!Redacted.isRedacted(token) || !isTokenText(Redacted.value(token))) {
      throw new InvalidInput({ field: "token", problem: "must be a Redacted string of printable ASCII" })
    }
  }
  return {
    maxSendMessageBytes: whole(
      "maxSendMessageBytes",
      options.maxSendMessageBytes,
      1.25 * mebibyte,
      1024 * mebibyte,
      4 * mebibyte
    ),
    maxReceiveMessageBytes: whole(
      "maxReceiveMessageBytes",
      options.maxReceiveMessageBytes,
      1024,
      2 ** 31 - 1,
      65 * mebibyte
    ),
    receiveWindowBytes: whole("receiveWindowBytes", options.receiveWindowBytes, 65_535, 2 ** 31 - 1, 16 * mebibyte),
    keepaliveMillis,
    connectTimeoutMillis: millis("connectTimeout", options.connectTimeout) ?? 20_000,
    tls,
    token
  }
}

/** The most data in a chunk: the rest is for its id and metadata. */
export const maxChunkSizeOf = ({ maxSendMessageBytes }: CheckedChannelOptions): number => maxSendMessageBytes - mebibyte
