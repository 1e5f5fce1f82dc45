/** Completion scripts. The global flags are no part of what effect/cli describes of a command: they are added here. */
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import { globalFlags } from "./globals.ts"
import { kpu } from "./kpu.ts"

const globalDescriptors = Completions.fromCommand(
  Command.make("globals", Object.fromEntries(globalFlags.map((setting) => [setting.id, setting.flag])))
).flags

const withGlobals = (descriptor: Completions.CommandDescriptor): Completions.CommandDescriptor => ({
  ...descriptor,
  flags: [
    ...descriptor.flags,
    ...globalDescriptors.filter((flag) => !descriptor.flags.some(({ name }) => name === flag.name))
  ],
  subcommands: descriptor.subcommands.map(withGlobals)
})

export const completionScript = (shell: Completions.Shell): string =>
  Completions.generate("kpu", shell, withGlobals(Completions.fromCommand(kpu)))
