/**
 * X.509 certificates for tests: an authority, and what it signs for servers and clients, good or wrong on purpose
 * (expired, for another host, by another authority). Node can read certificates but not make them, so the few DER
 * structures that RFC 5280 asks for are written here.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto"

/** A certificate and its private key, as PEM. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

export interface SubjectOptions {
  readonly commonName: string
  /** Kubernetes reads a client certificate's organisations as the user's groups. */
  readonly organizations?: ReadonlyArray<string> | undefined
  readonly dnsNames?: ReadonlyArray<string> | undefined
  /** IPv4 addresses. */
  readonly ipAddresses?: ReadonlyArray<string> | undefined
  readonly usage: "server" | "client"
  readonly notBefore?: Date | undefined
  readonly notAfter?: Date | undefined
}

export interface Authority {
  /** The authority's own certificate, as PEM. */
  readonly cert: string
  readonly issue: (options: SubjectOptions) => KeyPair
}

const der = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(contents)
  if (body.length < 128) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const size = Buffer.from(
    body.length.toString(16).padStart(body.length < 256 ? 2 : body.length < 65_536 ? 4 : 6, "0"),
    "hex"
  )
  return Buffer.concat([Buffer.from([tag, 0x80 | size.length]), size, body])
}
const sequence = (...contents: ReadonlyArray<Uint8Array>) => der(0x30, ...contents)
const set = (...contents: ReadonlyArray<Uint8Array>) => der(0x31, ...contents)
const octets = (content: Uint8Array) => der(0x04, content)
const bits = (content: Uint8Array, unused = 0) => der(0x03, Buffer.from([unused]), content)
const utf8 = (text: string) => der(0x0c, Buffer.from(text))
const boolean = (value: boolean) => der(0x01, Buffer.from([value ? 0xff : 0]))

const oid = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  const bytes = [first * 40 + second]
  for (const part of rest) {
    const digits = [part & 0x7f]
    for (let left = part >>> 7; left > 0; left >>>= 7) digits.unshift(0x80 | (left & 0x7f))
    bytes.push(...digits)
  }
  return der(0x06, Buffer.from(bytes))
}

/** UTCTime serves until 2049, which is later than any test. */
const time = (date: Date) =>
  der(
    0x17,
    Buffer.from(
      date
        .toISOString()
        .replace(/[-:T]|\.\d+/g, "")
        .slice(2)
    )
  )

const name = (commonName: string, organizations: ReadonlyArray<string> = []) =>
  sequence(
    ...organizations.map((organization) => set(sequence(oid("2.5.4.10"), utf8(organization)))),
    set(sequence(oid("2.5.4.3"), utf8(commonName)))
  )

const extension = (id: string, critical: boolean, value: Uint8Array) =>
  sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value))

const ecdsaWithSha256 = sequence(oid("1.2.840.10045.4.3.2"))

const pem = (label: string, content: Uint8Array) =>
  `-----BEGIN ${label}-----\n${Buffer.from(content)
    .toString("base64")
    .replace(/.{64}/g, "$&\n")
    .trimEnd()}\n-----END ${label}-----\n`

const identifier = (spki: Uint8Array) => createHash("sha1").update(spki).digest()

const DAY = 86_400_000

const certificate = (options: {
  readonly issuer: Uint8Array
  readonly signer: KeyObject
  readonly signerSpki: Uint8Array
  readonly subject: Uint8Array
  readonly spki: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  readonly extensions: ReadonlyArray<Uint8Array>
}): string => {
  const serial = randomBytes(16)
  serial[0] = (serial[0]! & 0x3f) | 0x40 // a positive number without a leading zero byte
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    ecdsaWithSha256,
    options.issuer,
    sequence(time(options.notBefore), time(options.notAfter)),
    options.subject,
    options.spki,
    der(
      0xa3,
      sequence(
        ...options.extensions,
        extension("2.5.29.14", false, octets(identifier(options.spki))),
        extension("2.5.29.35", false, sequence(der(0x80, identifier(options.signerSpki))))
      )
    )
  )
  return pem("CERTIFICATE", sequence(body, ecdsaWithSha256, bits(sign("sha256", body, options.signer))))
}

const newKey = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  return { privateKey, spki: publicKey.export({ type: "spki", format: "der" }) }
}

/**
 * A new certificate authority.
 *
 * @example
 * const authority = makeAuthority("test-ca")
 * const alice = authority.issue({ commonName: "alice", organizations: ["team-a"], usage: "client" })
 */
export const makeAuthority = (commonName: string): Authority => {
  const own = newKey()
  const subject = name(commonName)
  return {
    cert: certificate({
      issuer: subject,
      signer: own.privateKey,
      signerSpki: own.spki,
      subject,
      spki: own.spki,
      notBefore: new Date(Date.now() - DAY),
      notAfter: new Date(Date.now() + 3650 * DAY),
      extensions: [
        extension("2.5.29.19", true, sequence(boolean(true))),
        extension("2.5.29.15", true, bits(Buffer.from([0x06]), 1)) // keyCertSign, cRLSign
      ]
    }),
    issue: (options) => {
      const key = newKey()
      const names = [
        ...(options.dnsNames ?? []).map((dns) => der(0x82, Buffer.from(dns))),
        ...(options.ipAddresses ?? []).map((ip) => der(0x87, Buffer.from(ip.split(".").map(Number))))
      ]
      const cert = certificate({
        issuer: subject,
        signer: own.privateKey,
        signerSpki: own.spki,
        subject: name(options.commonName, options.organizations),
        spki: key.spki,
        notBefore: options.notBefore ?? new Date(Date.now() - DAY),
        notAfter: options.notAfter ?? new Date(Date.now() + 365 * DAY),
        extensions: [
          extension("2.5.29.15", true, bits(Buffer.from([0x80]), 7)), // digitalSignature
          extension(
            "2.5.29.37",
            false,
            sequence(oid(options.usage === "server" ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2"))
          ),
          ...(names.length > 0 ? [extension("2.5.29.17", false, sequence(...names))] : [])
        ]
      })
      return { cert, key: key.privateKey.export({ type: "pkcs8", format: "pem" }).toString() }
    }
  }
}
