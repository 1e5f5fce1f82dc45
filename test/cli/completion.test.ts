/** Completion, in the shells themselves: what a person gets at the key Tab. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeWith, need } from "../kit/peers.ts"
import { run } from "../kit/process.ts"
import { command, describeTerminal, succeed, terminal } from "./kit/command.ts"
import { makeWorld } from "./kit/World.ts"

/** Two Computes, a file whose name has a space, `kpu` on the PATH, and the shell's script as the help says to install it. */
const prepared = (shell: string) =>
  Effect.gen(function* () {
    const { env, folder } = yield* makeWorld({ controller: false })
    for (const name of ["alpha", "beta"]) yield* succeed(["apply", name], { env })
    const bin = join(folder.path, "bin")
    mkdirSync(bin)
    writeFileSync(join(bin, "kpu"), `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(" ")} "$@"\n`)
    chmodSync(join(bin, "kpu"), 0o755)
    const files = join(folder.path, "files")
    mkdirSync(files)
    writeFileSync(join(files, "my model.pt"), "")
    const script = folder.write("_kpu", (yield* succeed(["completion", shell])).stdout)
    return {
      script,
      files,
      folder: folder.path,
      env: { ...env, PATH: `${bin}:${process.env["PATH"]}`, ZDOTDIR: folder.path, INPUTRC: "/dev/null" }
    }
  })

// biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is told begins with the escape character
const escapes = /\u001b(?:\[[0-9;?>]*[A-Za-z]|[=>])|\r|\u0007|\u0008/g

/** A shell at a terminal; gives what is on the screen once a line that ends in Tab shows what is expected. */
const session = (
  shell: ReadonlyArray<string>,
  setup: string,
  options: { readonly env: Readonly<Record<string, string>> }
) =>
  Effect.gen(function* () {
    const screen = yield* terminal(shell, { env: { ...options.env, HISTFILE: "/dev/null" }, columns: 200 })
    let steps = 0
    const seen = (since: string) => (screen.output().split(since)[1] ?? "").replace(escapes, "")
    const until = (since: string, pattern: RegExp, what: string) =>
      Effect.gen(function* () {
        const deadline = Date.now() + 60_000
        while (!pattern.test(seen(since)) && Date.now() < deadline) yield* Effect.sleep("20 millis")
        assert.match(seen(since), pattern, `after ${JSON.stringify(what)} in ${screen.output()}`)
      })
    const prompt = (line: string) =>
      Effect.suspend(() => {
        const mark = `at step ${++steps}.`
        // The line as it is typed does not hold the mark.
        screen.type(`\u0015${line}echo at ''step ${steps}.\r`)
        return Effect.as(until(mark, /\$ $/, line), mark)
      })
    yield* prompt(`${setup}; `)
    return (line: string, expected: RegExp) =>
      Effect.gen(function* () {
        const mark = yield* prompt("")
        screen.type(line)
        yield* until(mark, expected, line)
      })
  })

/** Lines that end in Tab, and what the screen then holds. Two Tabs list what there is. */
const cases: ReadonlyArray<readonly [line: string, expected: RegExp]> = [
  ["kpu comple\t", /kpu completion /],
  ["kpu de\t\t", /delete[\s\S]*describe|describe[\s\S]*delete/],
  ["kpu local st\t", /kpu local status /],
  ["kpu get --wat\t", /kpu get --watch /],
  ["kpu send --kubecon\t", /kpu send --kubeconfig/],
  ["kpu get --output js\t", /kpu get --output json /],
  ["kpu completion fi\t", /kpu completion fish /],
  ["kpu describe al\t", /kpu describe alpha /],
  ["kpu delete alpha be\t", /kpu delete alpha beta /],
  ["kpu describe -n default al\t", /kpu describe -n default alpha /],
  ["kpu --output=name delete --namespace=default al\t", /kpu --output=name delete --namespace=default alpha /],
  ["kpu inspect my\t", /kpu inspect (my\\ model\.pt|'my model\.pt') /],
  ["kpu send alpha my\t", /kpu send alpha (my\\ model\.pt|'my model\.pt') /],
  ["kpu apply -f my\t", /kpu apply -f (my\\ model\.pt|'my model\.pt') /]
]

describeTerminal("completion in bash", () => {
  it.live("completes commands, flags, values, Computes and files", () =>
    Effect.gen(function* () {
      const { env, files, script } = yield* prepared("bash")
      const types = yield* session(
        ["bash", "--norc", "--noprofile", "-i"],
        `PS1='$ '; cd '${files}'; source '${script}'`,
        {
          env
        }
      )
      for (const [line, expected] of cases) yield* types(line, expected)
    })
  )
})

describeWith(["zsh"], "completion in zsh", () => {
  it.live("completes commands, flags, values, Computes and files", () =>
    Effect.gen(function* () {
      const { env, files, folder } = yield* prepared("zsh")
      const setup = `PROMPT='$ '; fpath=('${folder}' $fpath); autoload -U compinit; compinit -u -D; cd '${files}'`
      const types = yield* session([need("zsh"), "-f", "-i"], setup, { env })
      for (const [line, expected] of cases) yield* types(line, expected)
    })
  )

  it.live("completes in the shell that sources the script, too", () =>
    Effect.gen(function* () {
      const { env, script } = yield* prepared("zsh")
      const setup = `PROMPT='$ '; autoload -U compinit; compinit -u -D; source '${script}'`
      const types = yield* session([need("zsh"), "-f", "-i"], setup, { env })
      yield* types("kpu comple\t", /kpu completion /)
    })
  )
})

describeWith(["fish"], "completion in fish", () => {
  it.live("completes all the same, with what each thing is", () =>
    Effect.gen(function* () {
      const { env, files, script } = yield* prepared("fish")
      const complete = (line: string) =>
        Effect.map(
          run(
            need("fish"),
            ["--no-config", "-c", `cd $argv[1]; source $argv[2]; complete -C $argv[3]`, files, script, line],
            {
              env
            }
          ),
          ({ stdout }) =>
            new Map(
              stdout
                .trimEnd()
                .split("\n")
                .map((each) => {
                  const [word, description = ""] = each.split("\t")
                  return [word!, description] as const
                })
            )
        )
      assert.match((yield* complete("kpu comple")).get("completion")!, /script/)
      assert.containsAllKeys(yield* complete("kpu de"), ["delete", "describe"])
      assert.deepStrictEqual([...(yield* complete("kpu local st")).keys()], ["status"])
      assert.match((yield* complete("kpu get --wat")).get("--watch")!, /changes/)
      assert.containsAllKeys(yield* complete("kpu send --kubecon"), ["--kubeconfig"])
      assert.deepStrictEqual([...(yield* complete("kpu get --output js")).keys()], ["json"])
      assert.deepStrictEqual([...(yield* complete("kpu completion fi")).keys()], ["fish"])
      for (const line of ["kpu describe al", "kpu describe -n default al", "kpu delete beta al"]) {
        assert.deepStrictEqual([...(yield* complete(line)).keys()], ["alpha"], line)
      }
      for (const line of ["kpu inspect my", "kpu send alpha my", "kpu apply -f my"]) {
        assert.containsAllKeys(yield* complete(line), ["my model.pt"], line)
      }
    })
  )
})

describe("a completion script", () => {
  it.live("says nothing of another way to print it, and has no place left open", () =>
    Effect.forEach(["bash", "zsh", "fish"], (shell) =>
      Effect.map(succeed(["completion", shell]), ({ stdout }) => {
        assert.notInclude(stdout, "--completions")
        assert.notInclude(stdout, "__kpu_computes__")
      })
    )
  )
})
