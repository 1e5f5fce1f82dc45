/** Credential plugins that fail, each a real program. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { authProvider } from "../../../../src/layers/internal/kubernetes/authProvider.ts"
import { execPlugin } from "../../../../src/layers/internal/kubernetes/execPlugin.ts"
import type { Exec } from "../../../../src/layers/internal/kubernetes/kubeConfigDocument.ts"
import { terminal } from "../../../cli/kit/command.ts"
import { makeAuthority } from "../../../kit/certificates.ts"
import { temporaryFolder } from "../../../kit/folder.ts"

const v1 = "client.authentication.k8s.io/v1"
const cluster = { server: "https://kubernetes.example" }

/** Runs this JavaScript as the plugin. */
const plugin = (code: string, more: Partial<Exec> = {}) =>
  execPlugin({
    exec: { apiVersion: v1, command: process.execPath, args: ["-e", code], interactiveMode: "Never", ...more },
    command: more.command ?? process.execPath,
    cluster,
    field: "config: users[u].user.exec"
  })

const answer = (status: unknown, apiVersion = v1) =>
  `process.stdout.write(${JSON.stringify(JSON.stringify({ kind: "ExecCredential", apiVersion, status }))})`

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const failure = (code: string, more?: Partial<Exec>) =>
  Effect.map(Effect.flip(plugin(code, more).credentials), (error) => {
    assert.include(error.message, "config: users[u].user.exec")
    assert.notInclude(error.message, "s3cret")
    return error.message
  })

describe("a credential plugin", () => {
  it.live("gets the environment that the kubeconfig adds, beside its own", () =>
    Effect.gen(function* () {
      const { authorization } = yield* plugin(
        `process.stdout.write(JSON.stringify({ kind: "ExecCredential", apiVersion: ${JSON.stringify(v1)},
           status: { token: process.env.ADDED + (process.env.PATH ? "-and-path" : "") } }))`,
        { env: [{ name: "ADDED", value: "added" }] }
      ).credentials
      assert.strictEqual(authorization && Redacted.value(authorization), "Bearer added-and-path")
    })
  )

  it.live("that is not installed is named, with the hint of the kubeconfig", () =>
    Effect.gen(function* () {
      const message = yield* failure("", { command: "no-such-plugin", installHint: "brew install it" })
      assert.include(message, `"no-such-plugin" is not installed`)
      assert.include(message, "brew install it")
    })
  )

  it.live("that fails is named with its exit code and its own words", () =>
    Effect.gen(function* () {
      const message = yield* failure(`process.stdout.write("s3cret"); console.error("log in first"); process.exit(7)`)
      assert.include(message, "exit code 7: log in first")
      assert.include(yield* failure("process.exit(3)"), "exit code 3 and wrote nothing")
      assert.include(yield* failure("process.kill(process.pid, 'SIGKILL')"), "was ended by SIGKILL")
    })
  )

  it.live("that answers something else is told so, and its output is not shown", () =>
    Effect.gen(function* () {
      assert.include(yield* failure(`console.log("s3cret")`), "did not write an ExecCredential")
      assert.include(yield* failure(`console.log('{"kind":"ExecCredential","token":"s3cret"}')`), "did not write")
      assert.include(yield* failure(answer({})), "neither a token nor a client certificate")
      assert.include(yield* failure(answer({ clientCertificateData: "s3cret" })), "neither a token")
      assert.include(yield* failure(answer({ token: "s3cret" }, "client.authentication.k8s.io/v1beta1")), "asks for")
      assert.include(yield* failure(answer({ token: "s3cret", expirationTimestamp: "soon" })), "that is no date")
      assert.include(yield* failure(answer({ token: "s3cret\r\nX-Evil: 1" })), "no HTTP header")
      assert.include(
        yield* failure(answer({ clientCertificateData: "s3cret", clientKeyData: "s3cret" })),
        "clientCertificateData"
      )
    })
  )

  it.live("whose version is not known is not run", () =>
    Effect.gen(function* () {
      const message = yield* failure("process.exit(9)", { apiVersion: "client.authentication.k8s.io/v1alpha1" })
      assert.include(message, "apiVersion")
      assert.notInclude(message, "exit code")
    })
  )

  it.live("that wants a terminal is not run without one", () =>
    Effect.gen(function* () {
      if (process.stdin.isTTY === true) return
      assert.include(yield* failure("process.exit(9)", { interactiveMode: "Always" }), "wants a terminal")
    })
  )

  it.live("is ended when nobody waits for it any more", () =>
    Effect.gen(function* () {
      const started = Date.now()
      yield* plugin("setTimeout(() => {}, 60000)").credentials.pipe(Effect.timeoutOption("100 millis"))
      assert.isBelow(Date.now() - started, 30_000)
    })
  )

  it.effect("that hangs is given up after two minutes, and ended", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = `${folder.path}/pid`
      const code = `require("node:fs").writeFileSync(${JSON.stringify(file)}, String(process.pid)); setInterval(() => {}, 1000)`
      const fiber = yield* Effect.forkChild(failure(code))
      const started = Effect.promise(() => new Promise((done) => setTimeout(done, 10)))
      while (!existsSync(file) || readFileSync(file, "utf8") === "") yield* started
      const pid = Number(readFileSync(file, "utf8"))
      yield* TestClock.adjust("119 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.include(yield* Fiber.join(fiber), "gave no answer within 120 s")
      while (isRunning(pid)) yield* started
    })
  )

  it.live("is told that it may ask a person, and gets the terminal, where there is one", () =>
    Effect.gen(function* () {
      const code = `const { spec } = JSON.parse(process.env.KUBERNETES_EXEC_INFO)
        const token = spec.interactive + "-" + (process.stdin.isTTY === true)
        process.stdout.write(JSON.stringify({ kind: "ExecCredential", apiVersion: "${v1}", status: { token } }))`
      const program = join(import.meta.dirname, "execPluginInTerminal.ts")
      const { shown } = yield* terminal([process.execPath, program, code], { columns: 200 })
      const output = yield* shown(/Never Bearer false-false/)
      assert.include(output, "IfAvailable Bearer true-true")
      assert.include(output, "Always Bearer true-true")
    }).pipe(Effect.scoped)
  )

  it.live("gives a certificate that is checked like any other", () =>
    Effect.gen(function* () {
      const { cert, key } = makeAuthority("a").issue({ commonName: "ada", usage: "client" })
      const { certificate } = yield* plugin(answer({ clientCertificateData: cert, clientKeyData: key })).credentials
      assert.strictEqual(certificate?.cert, cert)
      const other = makeAuthority("b").issue({ commonName: "eve", usage: "client" })
      const message = yield* failure(answer({ clientCertificateData: cert, clientKeyData: other.key }))
      assert.include(message, "does not belong")
    })
  )
})

describe("a legacy auth provider", () => {
  it.live("another one is refused by name", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(authProvider({ name: "openstack", config: {}, field: "f" }).credentials)
      assert.include(error.message, `"openstack" is not supported`)
    })
  )
})
