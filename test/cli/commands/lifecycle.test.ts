/** The commands of a Compute's life, run as people and scripts run them. */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { parse } from "yaml"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { ActionResult, ErrorReport } from "../../../src/cli/output/json.ts"
import { kpu, succeed } from "../kit/command.ts"
import * as WorldKit from "../kit/World.ts"

const decodeAction = Schema.decodeUnknownSync(Schema.fromJsonString(ActionResult))
const decodeError = Schema.decodeUnknownSync(Schema.fromJsonString(ErrorReport))

layer(WorldKit.layer, { excludeTestServices: true })("kpu", (it) => {
  it.effect("applies from flags, lists, describes, suspends, resumes, waits and deletes", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      const applied = yield* succeed(
        [
          "apply",
          "life",
          "--image",
          "server:1",
          "-e",
          "LOG=DEBUG",
          "--label=team=ml",
          "--arg=--chunk-size=1",
          "--wait"
        ],
        { env }
      )
      assert.strictEqual(applied.stdout, "compute/life applied\n")
      // Conditions as they change, plain lines in a pipe.
      assert.match(applied.stderr, /Ready=True StatefulSetReady/)
      assert.notInclude(applied.stderr, "\u001b")

      const listed = yield* succeed(["get"], { env })
      assert.match(listed.stdout, /^NAME +READY +STATUS +AGE +IMAGE\nlife +True +Ready +\d+s +server:1$/m)
      const yaml = parse((yield* succeed(["get", "life", "-o", "yaml"], { env })).stdout)
      assert.deepStrictEqual(yaml.spec, {
        image: "server:1",
        args: ["--chunk-size=1"],
        env: [{ name: "LOG", value: "DEBUG" }],
        labels: { team: "ml" },
        suspend: false
      })
      assert.strictEqual(yaml.metadata.managedFields, undefined)
      assert.strictEqual((yield* succeed(["get", "-oname"], { env })).stdout, "compute.compute.kpu.dev/life\n")

      const described = (yield* succeed(["describe", "life"], { env })).stdout
      assert.match(described, /^Status: +Ready$/m)
      assert.match(described, /^ {2}Ready +True +StatefulSetReady/m)
      assert.match(described, /kpu-typescript-client \(Apply\)/)
      // The environment's names are shown; its values may be secrets.
      assert.match(described, /^Environment:\n {2}LOG$/m)
      assert.notInclude(described, "DEBUG")

      const suspended = yield* succeed(["suspend", "life", "-o", "json"], { env })
      assert.strictEqual(decodeAction(suspended.stdout).action, "suspended")
      assert.match((yield* succeed(["get", "life"], { env })).stdout, /Suspended/)
      const refused = yield* kpu(["receive", "life"], { env })
      assert.strictEqual(refused.code, exitCodes.tensors)
      assert.include(refused.stderr, "try: kpu resume life")

      yield* succeed(["resume", "compute/life"], { env })
      yield* succeed(["wait", "life", "--timeout", "1m"], { env })
      assert.strictEqual((yield* succeed(["delete", "life"], { env })).stdout, "compute/life deleted\n")
      assert.strictEqual((yield* succeed(["get"], { env })).stdout, "")
      yield* succeed(["delete", "life", "--ignore-not-found"], { env })
      assert.strictEqual((yield* kpu(["delete", "life"], { env })).code, exitCodes.notFound)
    })
  )

  it.effect(
    "does to every name what can be done, once, and tells of each that fails, with what may have been meant",
    () =>
      Effect.gen(function* () {
        const { env } = yield* WorldKit.World
        yield* succeed(["apply", "second"], { env })
        const listed = yield* kpu(["get", "second", "secnod", "nobody", "compute/second", "-o", "name"], { env })
        assert.strictEqual(listed.stdout, "compute.compute.kpu.dev/second\n")
        assert.strictEqual(listed.code, exitCodes.notFound)
        assert.match(listed.stderr, /default\/secnod: .*; did you mean "second"\?\n/)
        assert.match(listed.stderr, /default\/nobody: .* not found\n/)
        const described = yield* kpu(["describe", "secnd", "-o", "json"], { env })
        assert.include(decodeError(described.stderr).message, 'did you mean "second"?')
        const deleted = yield* kpu(["delete", "second", "a", "b", "second"], { env })
        assert.strictEqual(deleted.stdout, "compute/second deleted\n")
        assert.strictEqual(deleted.code, exitCodes.notFound)
        assert.strictEqual(deleted.stderr.match(/^error: /gm)?.length, 2)
      })
  )

  it.effect("keeps the columns of what is followed under each other once a long name has come", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      const long = "l".repeat(40)
      yield* succeed(["apply", "c-short"], { env })
      yield* succeed(["apply", long], { env })
      const { stdout } = yield* kpu(["get", "-w", "c-short", long], {
        env,
        onStart: (child) => {
          let text = ""
          child.stdout!.on("data", (chunk: Buffer) => {
            const before = text
            text += chunk.toString()
            if (!before.includes(long) && text.includes(long)) Effect.runFork(succeed(["suspend", "c-short"], { env }))
            if (/ Suspended /.test(text)) child.kill("SIGINT")
          })
        }
      })
      const rows = stdout.split("\n")
      assert.match(rows.find((row) => row.includes(" Suspended ")) ?? "", /^c-short {36}False/)
      yield* succeed(["delete", "c-short", long], { env })
    })
  )

  it.effect("says at once that a Compute that is waited for is suspended, and how to start it", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      yield* succeed(["apply", "asleep", "--suspend"], { env })
      const { code, stderr } = yield* kpu(["wait", "asleep", "--timeout", "1s"], { env })
      assert.strictEqual(code, exitCodes.timeout)
      assert.match(stderr, /^warning: compute\/asleep is suspended; start it with: kpu resume asleep$/m)
      assert.match(stderr, /^ {2}try: kpu resume asleep$/m)
      yield* succeed(["delete", "asleep"], { env })
    })
  )

  it.effect("applies manifests, from files and standard input, and takes back what get prints", () =>
    Effect.gen(function* () {
      const { env, folder } = yield* WorldKit.World
      const manifest = (name: string) =>
        `apiVersion: compute.kpu.dev/v1alpha1\nkind: Compute\nmetadata: { name: ${name} }\nspec: { image: "server:2" }\n`
      const file = folder.write("two.yaml", `${manifest("one")}---\n${manifest("two")}`)
      assert.strictEqual(
        (yield* succeed(["apply", "-f", file], { env })).stdout,
        "compute/one applied\ncompute/two applied\n"
      )
      const got = yield* succeed(["get", "one", "two", "-o", "yaml"], { env })
      const again = yield* succeed(["apply", "-f", "-", "-o", "name"], { env, input: got.stdout })
      assert.strictEqual(again.stdout, "compute.compute.kpu.dev/one\ncompute.compute.kpu.dev/two\n")

      const wrong = yield* kpu(["apply", "-f", "-"], { env, input: manifest("one").replace("image", "imgae") })
      assert.strictEqual(wrong.code, exitCodes.usage)
      assert.match(wrong.stderr, /standard input: spec\.imgae: there is no such field/)
      const both = yield* kpu(["apply", "-f", file, "--image", "x"], { env })
      assert.match(both.stderr, /leave out --image/)
      const elsewhere = yield* kpu(["apply", "-f", "-"], {
        env,
        input: manifest("one").replace("name: one", "name: one, namespace: other")
      })
      assert.match(elsewhere.stderr, /metadata\.namespace: is other, and the namespace is default; use -n other/)
      yield* succeed(["delete", "one", "two"], { env })
    })
  )

  it.effect("does what it can of several Computes, and ends with the code of what it could not", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      yield* succeed(["apply", "here"], { env })
      const mixed = yield* kpu(["delete", "here", "nowhere"], { env })
      assert.strictEqual(mixed.code, exitCodes.notFound)
      assert.strictEqual(mixed.stdout, "compute/here deleted\n")
      assert.include(mixed.stderr, `"nowhere" not found`)
    })
  )

  it.effect("follows changes, one JSON document a line, until the reader goes away", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      yield* succeed(["apply", "followed", "--wait"], { env })
      const seen = yield* kpu(["get", "-w", "-o", "json"], {
        env,
        onStart: (child) => {
          let text = ""
          let deleting = false
          child.stdout!.on("data", (chunk: Buffer) => {
            text += chunk.toString()
            if (!deleting && text.includes("followed")) {
              deleting = true
              Effect.runFork(succeed(["delete", "followed"], { env }))
            }
            if (/"deleted":true/.test(text)) child.kill("SIGINT")
          })
        }
      })
      assert.strictEqual(seen.code, exitCodes.interrupted)
      const documents = seen.stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
      const own = documents.filter((document) => document.metadata.name === "followed")
      assert.isTrue(own.at(-1).deleted)
      assert.strictEqual(own[0].deleted, undefined)
    })
  )

  it.effect("waits for a deletion by somebody else, and no longer than it may", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      yield* succeed(["apply", "awaited"], { env })
      const late = yield* kpu(["wait", "awaited", "--for", "deleted", "--timeout", "300ms"], { env })
      assert.strictEqual(late.code, exitCodes.timeout)
      assert.match(late.stderr, /was not deleted within 0\.3 s: it is still there/)
      let deleting = false
      const waited = yield* succeed(["wait", "awaited", "--for=deleted", "-o=json"], {
        env,
        // Its first line says that it waits.
        onStderr: () => {
          if (!deleting) Effect.runFork(succeed(["delete", "awaited"], { env }))
          deleting = true
        }
      })
      assert.strictEqual(decodeAction(waited.stdout).action, "deleted")
      assert.isTrue(deleting)
      // What is gone already is not waited for.
      yield* succeed(["wait", "awaited", "--for", "deleted"], { env })
    })
  )

  it.effect("shows what is wrong with a Pod while it waits, and gives up where waiting mends nothing", () =>
    Effect.gen(function* () {
      const { cluster, env } = yield* WorldKit.World
      cluster.setPodTrouble("default", "broken", { reason: "ErrImageNeverPull", message: "no such image" })
      const waited = yield* kpu(["apply", "broken", "--wait"], { env })
      assert.strictEqual(waited.code, exitCodes.failed)
      assert.match(waited.stderr, /^error: Compute default\/broken cannot start: .*ErrImageNeverPull/m)
      assert.match((yield* succeed(["describe", "broken"], { env })).stdout, /ErrImageNeverPull/)
      yield* succeed(["delete", "broken"], { env })

      cluster.setPodTrouble("default", "healing", { reason: "ImagePullBackOff", message: "back-off pulling" })
      const healed = yield* kpu(["apply", "healing", "--wait"], {
        env,
        onStderr: (text) => {
          if (text.includes("ImagePullBackOff")) cluster.setPodTrouble("default", "healing", undefined)
        }
      })
      assert.strictEqual(healed.code, 0, healed.stderr)
      assert.match(healed.stderr, /^warning: .*ImagePullBackOff/m)
      yield* succeed(["delete", "healing"], { env })
    })
  )

  it.effect("gives up on a server that does not answer, and says why once", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      const { code, stderr } = yield* kpu(["get", "--server", "http://127.0.0.1:1"], { env })
      assert.strictEqual(code, exitCodes.unreachable)
      assert.strictEqual(stderr.match(/nothing accepts connections/g)?.length, 2, stderr)
      assert.match(stderr, /^warning: trying again in \d+ ms \(retry 2 of/m)
    })
  )

  it.effect("ends quietly where the reader of its output goes away", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      yield* succeed(["apply", "read"], { env })
      // As `kpu get -w | head -1` does.
      const cut = yield* kpu(["get", "-w", "-o", "name"], {
        env,
        onStart: (child) =>
          child.stdout!.once("data", () => {
            child.stdout!.destroy()
            Effect.runFork(succeed(["suspend", "read"], { env }))
          })
      })
      assert.notMatch(cut.stderr, /EPIPE|^\s+at /m)
      assert.strictEqual(cut.code, 0)
      yield* succeed(["delete", "read"], { env })
    })
  )

  it.effect("tells a program what went wrong as JSON, on standard error alone", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      const absent = yield* kpu(["get", "absent", "--output", "json"], { env })
      assert.strictEqual(absent.stdout, "")
      const error = decodeError(absent.stderr)
      assert.deepInclude(error, { error: "KubernetesError", reason: "NotFound", exitCode: exitCodes.notFound })
      assert.strictEqual(absent.code, error.exitCode)
      const usage = yield* kpu(["get", "--nope", "-ojson"], { env })
      assert.deepInclude(decodeError(usage.stderr), { error: "Usage", exitCode: exitCodes.usage })
    })
  )

  it.effect("says nothing but results where it is told to be quiet", () =>
    Effect.gen(function* () {
      const { env } = yield* WorldKit.World
      const applied = yield* succeed(["apply", "quiet", "--wait", "-q"], { env })
      assert.strictEqual(applied.stderr, "")
      yield* succeed(["delete", "quiet", "-q"], { env })
    })
  )
})
