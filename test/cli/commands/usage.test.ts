/** The command line itself: help, versions, mistakes, completion. */
import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { temporaryFolder } from "../../kit/folder.ts"
import { command, kpu, succeed } from "../kit/command.ts"

const commands = [
  ["apply"],
  ["get"],
  ["describe"],
  ["wait"],
  ["suspend"],
  ["resume"],
  ["delete"],
  ["send"],
  ["receive"],
  ["stream"],
  ["inspect"],
  ["run"],
  ["doctor"],
  ["local", "up"],
  ["local", "status"],
  ["local", "down"],
  ["completion"]
]

describe("kpu's command line", () => {
  it.live("explains every command, with examples and the flags that all have", () =>
    Effect.forEach(
      commands,
      (path) =>
        Effect.gen(function* () {
          const help = yield* succeed([...path, "--help"])
          assert.match(help.stdout, new RegExp(`USAGE\\n  kpu ${path.join(" ")}`))
          assert.include(help.stdout, "--kubeconfig")
          assert.strictEqual(help.stderr, "")
          assert.notInclude(help.stdout, "\u001b")
        }),
      { concurrency: 2 }
    )
  )

  it.live("lists all commands in its own help, and tells its version", () =>
    Effect.gen(function* () {
      const help = yield* succeed(["--help"])
      for (const [name] of commands) assert.match(help.stdout, new RegExp(`^  ${name} `, "m"))
      assert.match((yield* succeed(["--version"])).stdout, /^kpu \d+\.\d+\.\d+\n$/)
    })
  )

  it.live("answers a mistake with one block, on standard error, and exit code 2", () =>
    Effect.gen(function* () {
      const mistake = (...args: ReadonlyArray<string>) =>
        Effect.map(kpu(args), ({ code, stderr, stdout }) => {
          assert.strictEqual(code, exitCodes.usage)
          assert.strictEqual(stdout, "")
          assert.notMatch(stderr, /^\s+at /m)
          return stderr
        })
      assert.match(
        yield* mistake("aply"),
        /Unknown subcommand "aply" for "kpu"\n +Did you mean this\?\n +apply\n +try: kpu --help\n$/
      )
      assert.match(yield* mistake("get", "--watsch"), /--watsch[\s\S]*--watch/)
      assert.match(yield* mistake("describe"), /name/)
      assert.match(yield* mistake("wait", "x", "--timeout", "soon"), /timeout[\s\S]*a duration such as 300s/)
      assert.match(yield* mistake("apply", "x", "-e", "NOVALUE"), /KEY=VALUE/)
      assert.notInclude(yield* mistake("apply", "x", "-e", "=hunter2"), "hunter2")
      assert.match(yield* mistake("get", "-o", "xml"), /text|json/)
      assert.match(yield* mistake("get", "-n"), /namespace/)
      assert.match(yield* mistake("run", "--image", "x"), /command: is missing/)
      assert.match(yield* mistake("run", "sh", "-c", "true"), /try: kpu run .* -- COMMAND/)
      assert.match(
        yield* mistake("get", "--port", "99999"),
        /--port: "99999"\. Expected: a whole number, from 1 to 65535/
      )
      assert.match(yield* mistake("receive", "x", "-c0"), /--count: "0"\. Expected: a whole number, 1 or more/)
      assert.match(yield* mistake("send", "x", "f", "--chunk-size=1"), /--chunk-size: "1"\. Expected: .*65536/)
      assert.match(yield* mistake("get", "--server", "localhost:6443"), /^error: --server: "localhost:6443" is no URL/)
    })
  )

  it.live("knows the words that other commands have for help and version", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* succeed(["help"])).stdout, (yield* succeed(["--help"])).stdout)
      assert.strictEqual(
        (yield* succeed(["help", "local", "up"])).stdout,
        (yield* succeed(["local", "up", "--help"])).stdout
      )
      assert.strictEqual((yield* succeed(["version"])).stdout, (yield* succeed(["--version"])).stdout)
    })
  )

  it.live("names a server that does not answer as it was given", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const { code, stderr } = yield* kpu(["get", "--server", "http://127.0.0.1:1"], { env: { HOME: path } })
      assert.strictEqual(code, exitCodes.unreachable)
      assert.include(stderr, "is it the one of --server?")
      // The same words again and again help nobody.
      assert.strictEqual(stderr.match(/^warning: .+; trying again/gm)?.length, 1)
    })
  )

  it.live("says where it looked for a cluster, and what to do without one", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const nowhere = yield* kpu(["get"], { env: { HOME: path } })
      assert.strictEqual(nowhere.code, exitCodes.unreachable)
      assert.match(nowhere.stderr, /- KUBECONFIG: not set[\s\S]*kube\/config: no such file[\s\S]*try: .*kpu local up/)
      // What a program would do is no help at a terminal.
      assert.notInclude(nowhere.stderr, "KubeConfig.layer")
    })
  )

  it.live("completes commands and flags in bash", () =>
    Effect.gen(function* () {
      const { stdout } = yield* succeed(["completion", "bash"])
      const complete = (...words: ReadonlyArray<string>) => {
        const script = `${stdout}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")})
COMP_CWORD=${words.length - 1}
COMP_LINE='${words.join(" ")}'
COMP_POINT=\${#COMP_LINE}
$(complete -p kpu | sed 's/.*-F \\([^ ]*\\).*/\\1/') kpu '${words.at(-1)}' '${words.at(-2)}'
printf '%s\\n' "\${COMPREPLY[@]}"`
        const { status, stderr, stdout: replies } = spawnSync("bash", ["-c", script], { encoding: "utf8" })
        assert.strictEqual(status, 0, stderr)
        return replies.split("\n").map((reply) => reply.trim())
      }
      assert.includeMembers(complete("kpu", "de"), ["delete", "describe"])
      assert.includeMembers(complete("kpu", "get", "--"), ["--watch", "--kubeconfig", "--namespace"])
      assert.includeMembers(complete("kpu", "local", ""), ["up", "status", "down"])
      for (const shell of ["zsh", "fish"]) {
        const script = (yield* succeed(["completion", shell])).stdout
        for (const word of ["inspect", "doctor", "kubeconfig"]) assert.include(script, word)
      }
    })
  )

  it.live("shows no token, however much it tells", () =>
    Effect.gen(function* () {
      const { path, write } = yield* temporaryFolder
      const kubeconfig = write(
        "config",
        JSON.stringify({
          clusters: [{ name: "c", cluster: { server: "http://127.0.0.1:1" } }],
          users: [{ name: "u", user: { token: "in-the-kubeconfig" } }],
          contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
          "current-context": "x"
        })
      )
      for (const [args, env] of [
        [["--token", "on-the-line"], {}],
        [[], { KPU_TOKEN: "in-the-environment" }],
        [[], {}]
      ] as const) {
        for (const command of [["get"], ["doctor"]]) {
          const { stderr, stdout } = yield* kpu([...command, "-v", ...args], {
            env: { HOME: path, KUBECONFIG: kubeconfig, ...env }
          })
          assert.match(stderr + stdout, /nothing accepts connections/)
          assert.notMatch(stderr + stdout, /on-the-line|in-the-environment|in-the-kubeconfig/)
        }
      }
    })
  )

  it("starts as a program of its own", () => {
    const { status, stdout } = spawnSync(command[0]!, [...command.slice(1), "--version"], { encoding: "utf8" })
    assert.deepStrictEqual([status, stdout.slice(0, 4)], [0, "kpu "])
  })
})
