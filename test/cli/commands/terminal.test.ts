/** What a person sees at a terminal, and what Ctrl-C does there. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { unstyled } from "../../../src/cli/output/Style.ts"
import { Tensor } from "../../../src/Tensor.ts"
import * as TorchFile from "../../../src/TorchFile.ts"
import { describeTerminal, kpu, kpuTerminal, succeed } from "../kit/command.ts"
import { makeWorld } from "../kit/World.ts"

const exited = (terminal: { readonly exited: Promise<number | string> }) => Effect.promise(() => terminal.exited)

// biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is told begins with the escape character
const escapes = /\u001b\[[0-9;?]*[A-Za-z]/

describeTerminal("kpu at a terminal", () => {
  it.live("shows what it waits for in a line that goes away, conditions as they change, colours", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld({ startDelay: "1500 millis" })
      const applying = yield* kpuTerminal(["apply", "x", "--wait"], { env })
      assert.strictEqual(yield* exited(applying), 0)
      const output = applying.output()
      assert.match(output, /[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] waiting for compute\/x to be ready/)
      assert.match(output, /Ready=True StatefulSetReady/)
      // The line is cleared before the next one and at the end.
      assert.isTrue(output.lastIndexOf("\r\u001b[2K") > output.lastIndexOf("waiting for compute/x"))
      assert.match(output, escapes)
      const failed = yield* kpuTerminal(["get", "nope"], { env })
      assert.strictEqual(yield* exited(failed), exitCodes.notFound)
      assert.include(failed.output(), "\u001b[31m")
    })
  )

  it.live("uses no colour with NO_COLOR, and no line that goes away with --quiet", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld({ startDelay: "1 second" })
      const plain = yield* kpuTerminal(["get", "nope"], { env: { ...env, NO_COLOR: "1" } })
      yield* exited(plain)
      assert.notMatch(plain.output(), escapes)
      const help = yield* kpuTerminal(["get", "--help"], { env: { ...env, NO_COLOR: "1" } })
      assert.strictEqual(yield* exited(help), 0)
      assert.notMatch(help.output(), escapes)
      const quiet = yield* kpuTerminal(["apply", "x", "--wait", "--quiet"], { env })
      assert.strictEqual(yield* exited(quiet), 0)
      assert.strictEqual(quiet.output(), "compute/x applied\r\n")
    })
  )

  it.live("shows a bar with rate and time left, no wider than the terminal", () =>
    Effect.gen(function* () {
      const { env, folder } = yield* makeWorld()
      yield* succeed(["apply", "x", "--wait"], { env })
      const file = join(folder.path, "large.pt")
      const tensors = Array.from({ length: 4 }, () => Tensor.zeros([4, 1024, 1024]))
      yield* Effect.provide(TorchFile.write(file, tensors), NodeFileSystem.layer)
      const streaming = yield* kpuTerminal(["stream", "x", file, "--out", "/dev/null", "--format", "pt"], {
        env,
        columns: 70
      })
      assert.strictEqual(yield* exited(streaming), 0, streaming.output())
      const lines = streaming.output().split("\r\u001b[2K")
      const bars = lines.filter((line) => line.startsWith("streaming  ["))
      assert.isAbove(bars.length, 0)
      assert.isTrue(
        bars.some((line) => /\[#*\.*\] +\d+% {2}[\d.]+ \wi?B\/128 MiB/.test(line)),
        bars.join("\n")
      )
      for (const line of bars) assert.isBelow([...line].length, 70)
      const inPipe = yield* succeed(["stream", "x", file, "--out", "/dev/null", "--format", "pt"], { env })
      assert.notMatch(inPipe.stdout + inPipe.stderr, escapes)
    })
  )

  it.live("keeps help within a narrow terminal", () =>
    Effect.gen(function* () {
      const help = yield* kpuTerminal(["suspend", "--help"], { columns: 40 })
      assert.strictEqual(yield* exited(help), 0)
      const [explained] = unstyled(help.output()).split("EXAMPLES")
      const lines = explained!.split("\r\n")
      for (const line of lines) assert.isAtMost(line.length, 40, line)
      assert.include(
        lines.map((line) => line.trim()).join(" "),
        "How long to wait until the operator acknowledges (60s by default)"
      )
    })
  )

  it.live("writes no tensor's bytes to a terminal", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      yield* succeed(["apply", "x", "--wait"], { env })
      const refused = yield* kpuTerminal(["receive", "x", "--out", "-"], { env })
      assert.strictEqual(yield* exited(refused), exitCodes.usage)
      assert.include(refused.output(), "not written to a terminal")
    })
  )

  it.live("cleans up at Ctrl-C: the Compute that was held for a command is deleted", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      const running = yield* kpuTerminal(["run", "--name", "held", "--", "sh", "-c", "echo started; exec sleep 600"], {
        env
      })
      yield* running.shown(/started/)
      assert.include((yield* succeed(["get", "-o", "name"], { env })).stdout, "held")
      running.type("\u0003")
      assert.strictEqual(yield* exited(running), exitCodes.interrupted)
      assert.include(running.output(), "cleaning up; once more leaves at once")
      assert.strictEqual((yield* succeed(["get", "-o", "name"], { env })).stdout.trim(), "")
    })
  )

  it.live("leaves at once at a second Ctrl-C, and says what is left behind and how to remove it", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      // A command that does not heed Ctrl-C keeps the cleaning up busy.
      const running = yield* kpuTerminal(
        ["run", "--name", "stubborn", "--", "sh", "-c", "trap '' INT TERM; echo started; while :; do sleep 1; done"],
        { env }
      )
      yield* running.shown(/started/)
      running.type("\u0003")
      yield* running.shown(/cleaning up/)
      running.type("\u0003")
      assert.strictEqual(yield* exited(running), exitCodes.interrupted)
      const said =
        /may be left behind:\r\n {2}Compute default\/stubborn: remove it with (kpu delete stubborn -n default)/.exec(
          running.output()
        )
      assert.isNotNull(said, running.output())
      // It is so, and what it says to do helps.
      assert.include((yield* succeed(["get", "-o", "name"], { env })).stdout, "stubborn")
      yield* succeed(said![1]!.split(" ").slice(1), { env })
      assert.strictEqual((yield* succeed(["get", "-o", "name"], { env })).stdout.trim(), "")
    })
  )

  it.live("ends a wait at Ctrl-C without a trace, and leaves the Compute that it only looked at", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld({ controller: false })
      yield* succeed(["apply", "x"], { env })
      const waiting = yield* kpuTerminal(["wait", "x"], { env })
      yield* waiting.shown(/waiting for compute\/x/)
      waiting.type("\u0003")
      assert.strictEqual(yield* exited(waiting), exitCodes.interrupted)
      assert.notMatch(waiting.output(), /error|^\s+at /m)
      assert.include((yield* succeed(["get", "-o", "name"], { env })).stdout, "compute.compute.kpu.dev/x")
    })
  )
})

describeTerminal("signals in pipes", () => {
  it.live("SIGTERM ends a transfer, removes its partial file and gives 143", () =>
    Effect.gen(function* () {
      const { env, folder } = yield* makeWorld()
      yield* succeed(["apply", "x", "--wait"], { env })
      const out = join(folder.path, "out")
      const ended = yield* kpu(["receive", "x", "--count", "1000000", "--out", `${out}/`], {
        env,
        onStart: (child) => {
          const timer = setInterval(() => {
            const files = existsSync(out) ? readdirSync(out).filter((file) => file.endsWith(".pt")) : []
            if (files.length > 2) {
              clearInterval(timer)
              child.kill("SIGTERM")
            }
          }, 20)
        }
      })
      assert.strictEqual(ended.code, exitCodes.terminated)
      const files = readdirSync(out)
      assert.isAbove(files.length, 2)
      for (const file of files) assert.match(file, /^x-\d+\.pt$/)
    })
  )

  it.live("kpu run gives the command's own exit code, and deletes the Compute after", () =>
    Effect.gen(function* () {
      const { env } = yield* makeWorld()
      const ran = yield* kpu(["run", "--", "sh", "-c", 'echo "$KPU_COMPUTE_ID at $KPU_ENDPOINT"; cat; exit 7'], {
        env,
        input: "from standard input"
      })
      assert.strictEqual(ran.code, 7)
      assert.match(ran.stdout, /^default\/kpu-run-[0-9a-f]{8} at 127\.0\.0\.1:\d+\nfrom standard input$/)
      assert.strictEqual((yield* succeed(["get", "-o", "name"], { env })).stdout.trim(), "")
      const killed = yield* kpu(["run", "--", "sh", "-c", "kill -KILL $$"], { env })
      assert.strictEqual(killed.code, 137)
      const absent = yield* kpu(["run", "--", "no-such-command"], { env })
      assert.strictEqual(absent.code, 127)
      assert.include(absent.stderr, "there is no such command")
      yield* succeed(["apply", "taken"], { env })
      const taken = yield* kpu(["run", "--name", "taken", "--", "true"], { env })
      assert.strictEqual(taken.code, exitCodes.refused)
      assert.match(taken.stderr, /default\/taken: it exists already .*--if-exists adopt/)
      assert.notInclude(taken.stderr, "ifExists")
    })
  )
})
