/** `kpu completion`: a script that completes commands and flags in a shell. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { Screen } from "../output/Screen.ts"

export const completion = Command.make(
  "completion",
  {
    shell: Argument.Literals("shell", ["bash", "zsh", "fish"]).pipe(Argument.withDescription("The shell"))
  },
  Effect.fnUntraced(function* ({ shell }) {
    const screen = yield* Screen
    // Imported here: the script describes the whole command, which holds this one.
    const { completionScript } = yield* Effect.promise(() => import("../completionScript.ts"))
    yield* screen.print(completionScript(shell))
  })
).pipe(
  Command.withDescription("Print a script that completes kpu's commands and flags"),
  Command.withExamples([
    { command: "source <(kpu completion bash)", description: "In this bash" },
    { command: "kpu completion zsh > ~/.zfunc/_kpu", description: "For zsh, with ~/.zfunc in fpath" },
    { command: "kpu completion fish > ~/.config/fish/completions/kpu.fish", description: "For fish" }
  ])
)
