/**
 * Credentials that rotate: files read afresh, caches that a 401 empties, and the checks that turn a bad certificate into
 * a message that names the file and the field.
 */

import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import { KubeConfigError } from "../../../schema/KpuError.ts"
import type { Credentials } from "../../../services/KubeConfig.ts"

/** What a source of credentials gives, and when it must be asked again. */
export interface Issued {
  readonly credentials: Credentials
  /** Milliseconds since the epoch; never when absent. */
  readonly expiresAt: number | undefined
}

/** Credentials as `KubeConfig` has them. */
export interface CredentialSource {
  readonly credentials: Effect.Effect<Credentials, KubeConfigError>
  readonly invalidate: Effect.Effect<void>
}

/** A file that rotates is read again after so long, as client-go does (its period is a minute, a tenth of that here). */
export const filePeriod = Duration.seconds(6)

/** `what` names the file and the field. */
export const invalidCredential = (what: string, problem: string): KubeConfigError =>
  new KubeConfigError({ problem: `${what}: ${problem}`, tried: [] })

/** Node's code for a failed file operation, in words. */
export const describeFileError = (cause: unknown): string => {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  switch (code) {
    case "ENOENT":
      return "no such file"
    case "EACCES":
    case "EPERM":
      return "no permission to read it"
    case "EISDIR":
      return "it is a directory"
    default:
      return `it cannot be read (${code ?? "unknown error"})`
  }
}

/** Reads a file, or fails with a message that names it and the field that points to it. */
export const readFile = (file: string, field: string): Effect.Effect<string, KubeConfigError> =>
  Effect.tryPromise({
    try: () => Fs.readFile(file, "utf8"),
    catch: (cause) => invalidCredential(field, `${file}: ${describeFileError(cause)}`)
  })

/** Credentials that never change. */
export const fixed = (credentials: Credentials): CredentialSource => ({
  credentials: Effect.succeed(credentials),
  invalidate: Effect.void
})

/** Caches what `issue` gives until it expires or is invalidated; callers that come together share one run. */
export const cached = (issue: Effect.Effect<Issued, KubeConfigError>): CredentialSource => {
  const lock = Semaphore.makeUnsafe(1)
  let current: Issued | undefined
  return {
    credentials: Semaphore.withPermits(
      lock,
      1
    )(
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (current === undefined || (current.expiresAt !== undefined && current.expiresAt <= now)) {
          current = yield* issue
        }
        return current.credentials
      })
    ),
    invalidate: Effect.sync(() => {
      current = undefined
    })
  }
}

/** A `Bearer` header for a token, which must not be empty. */
export const bearer = (token: string, what: string): Effect.Effect<Redacted.Redacted<string>, KubeConfigError> => {
  const trimmed = token.trim()
  if (trimmed === "") return Effect.fail(invalidCredential(what, "the token is empty"))
  // a line break inside would end the header
  if (/[^\x21-\x7e]/.test(trimmed)) {
    return Effect.fail(invalidCredential(what, "the token holds characters that no HTTP header may have"))
  }
  return Effect.succeed(Redacted.make(`Bearer ${trimmed}`))
}

/** A token file, read again as it rotates. */
export const tokenFile = (file: string, field: string): CredentialSource =>
  cached(
    Effect.gen(function* () {
      const authorization = yield* bearer(yield* readFile(file, field), `${field}: ${file}`)
      const now = yield* Clock.currentTimeMillis
      return { credentials: { authorization }, expiresAt: now + Duration.toMillis(filePeriod) }
    })
  )

/** Checks PEM certificates of authorities. */
export const checkAuthority = (pem: string, what: string): Effect.Effect<string, KubeConfigError> =>
  Effect.try({
    try: () => {
      new Crypto.X509Certificate(pem)
      return pem
    },
    catch: () => invalidCredential(what, "it is no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
  })

/** Checks a client certificate and its key: readable, belonging together, and valid today. */
export const checkCertificate = Effect.fnUntraced(function* (input: {
  readonly cert: string
  readonly certField: string
  readonly key: string
  readonly keyField: string
}) {
  const certificate = yield* Effect.try({
    try: () => new Crypto.X509Certificate(input.cert),
    catch: () => invalidCredential(input.certField, "it is no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
  })
  const key = yield* Effect.try({
    try: () => Crypto.createPrivateKey(input.key),
    catch: () =>
      invalidCredential(input.keyField, "it is no private key in PEM form that can be read without a password")
  })
  if (!certificate.checkPrivateKey(key)) {
    return yield* invalidCredential(input.keyField, `the key does not belong to the certificate in ${input.certField}`)
  }
  const now = yield* Clock.currentTimeMillis
  if (Date.parse(certificate.validTo) < now) {
    return yield* invalidCredential(
      input.certField,
      `the client certificate expired on ${new Date(certificate.validTo).toISOString()}; get a new one`
    )
  }
  if (Date.parse(certificate.validFrom) > now) {
    return yield* invalidCredential(
      input.certField,
      `the client certificate is not valid before ${new Date(certificate.validFrom).toISOString()}; check the clock`
    )
  }
  return { cert: input.cert, key: Redacted.make(input.key) }
})

/** `*-data` fields: base64 of a PEM file. */
export const fromBase64 = (data: string): string => Buffer.from(data, "base64").toString("utf8")
