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
      env: { ...env, PATH: `${bin}:${process.env["PATH"]}`, PS1: "$ ", ZDOTDIR: folder.path, INPUTRC: "/dev/null" }
    }
  })

// biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is told begins with the escape character
const escapes = /\u001b(?:\[[0-9;?>]*[A-Za-z]|[=>])|\r|\u0007|\u0008/g

/** What is on the screen after a line was typed that ends in Tab. */
const typed = (
  shell: ReadonlyArray<string>,
  setup: string,
  line: string,
  expected: RegExp,
  options: { readonly env: Readonly<Record<string, string>> }
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const session = yield* terminal(shell, { env: options.env, columns: 200 })
      session.type(`${setup}; echo re''ady\r`)
      yield* session.shown(/ready/)
      session.type(line)
      const deadline = Date.now() + 60_000
      const seen = () => session.output().split("ready").at(-1)!.replace(escapes, "")
      while (!expected.test(seen()) && Date.now() < deadline) yield* Effect.sleep("50 millis")
      assert.match(seen(), expected, `after ${JSON.stringify(line)}`)
    })
  )

/** Lines that end in Tab, and what the screen then holds. Two Tabs list what there is. */
const cases: ReadonlyArray<readonly [what: string, line: string, expected: RegExp]> = [
  ["a command", "kpu comple\t", /kpu completion /],
  ["the commands that begin so", "kpu de\t\t", /delete[\s\S]*describe|describe[\s\S]*delete/],
  ["commands of a command", "kpu local st\t", /kpu local status /],
  ["a flag of a command", "kpu get --wat\t", /kpu get --watch /],
  ["a flag that every command has", "kpu send --kubecon\t", /kpu send --kubeconfig/],
  ["the value of a flag", "kpu get --output js\t", /kpu get --output json /],
  ["the value of an argument", "kpu completion fi\t", /kpu completion fish /],
  ["a Compute", "kpu describe al\t", /kpu describe alpha /],
  ["another Compute", "kpu delete alpha be\t", /kpu delete alpha beta /],
  ["a Compute of the namespace on the line", "kpu describe -n default al\t", /kpu describe -n default alpha /],
  [
    "a Compute after flags",
    "kpu --output=name delete --namespace=default al\t",
    /kpu --output=name delete --namespace=default alpha /
  ],
  ["a file", "kpu inspect my\t", /kpu inspect (my\\ model\.pt|'my model\.pt') /],
  ["a file after a Compute", "kpu send alpha my\t", /kpu send alpha (my\\ model\.pt|'my model\.pt') /],
  ["the file of a flag", "kpu apply -f my\t", /kpu apply -f (my\\ model\.pt|'my model\.pt') /]
]

describeTerminal("completion in bash", () => {
  it.live.each(cases)("completes %s", ([, line, expected]) =>
    Effect.gen(function* () {
      const { env, files, script } = yield* prepared("bash")
      yield* typed(["bash", "--norc", "--noprofile", "-i"], `cd '${files}'; source '${script}'`, line, expected, {
        env
      })
    })
  )
})

describeWith(["zsh"], "completion in zsh", () => {
  it.live.each(cases)("completes %s", ([, line, expected]) =>
    Effect.gen(function* () {
      const { env, files, folder } = yield* prepared("zsh")
      const setup = `PROMPT='$ '; fpath=('${folder}' $fpath); autoload -U compinit; compinit -u -D; cd '${files}'`
      yield* typed([need("zsh"), "-f", "-i"], setup, line, expected, { env })
    })
  )

  it.live("completes in the shell that sources the script, too", () =>
    Effect.gen(function* () {
      const { env, script } = yield* prepared("zsh")
      const setup = `PROMPT='$ '; autoload -U compinit; compinit -u -D; source '${script}'`
      yield* typed([need("zsh"), "-f", "-i"], setup, "kpu comple\t", /kpu completion /, { env })
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
