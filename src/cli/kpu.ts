/**
 * The `kpu` command: its subcommands, and what becomes of their errors.
 */
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import type * as HelpDoc from "effect/cli/HelpDoc"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { Exit as ExitCode } from "./CommandError.ts"
import { apply } from "./commands/apply.ts"
import { completion } from "./commands/completion.ts"
import { deleteCommand } from "./commands/delete.ts"
import { describe } from "./commands/describe.ts"
import { doctor } from "./commands/doctor.ts"
import { get } from "./commands/get.ts"
import { inspect } from "./commands/inspect.ts"
import { local } from "./commands/local.ts"
import { receive } from "./commands/receive.ts"
import { resume } from "./commands/resume.ts"
import { run } from "./commands/run.ts"
import { send } from "./commands/send.ts"
import { stream } from "./commands/stream.ts"
import { suspend } from "./commands/suspend.ts"
import { wait } from "./commands/wait.ts"
import { exitCodes } from "./exitCodes.ts"
import { globalFlags, hasSwitch, outputOf } from "./globals.ts"
import { loggingLayer } from "./logging.ts"
import { type ErrorBlock, errorBlock, errorReport, formatErrorBlock, usageBlock } from "./output/errorBlock.ts"
import { Screen, type Stream } from "./output/Screen.ts"
import { coloured, type Style } from "./output/Style.ts"
import { wrapHelp } from "./output/wrap.ts"
import { packageVersion } from "./version.ts"

/** `--version` without effect's `-v`, which is `--verbose` here. */
const Version = GlobalFlag.Action({
  flag: Flag.Boolean("version").pipe(
    Flag.withoutNegation,
    Flag.withDescription("Show the version"),
    Flag.withDefault(false)
  ),
  run: Effect.fnUntraced(function* (_, { command, version }) {
    const presenter = yield* CliOutput.Presenter
    yield* presenter.present({ _tag: "Version", name: command.name, version })
  })
})

export const kpu = Command.make("kpu").pipe(
  Command.withDescription("Create KPU Computes in Kubernetes, and stream PyTorch tensors to and from them"),
  Command.withSubcommands([
    { group: "Computes", commands: [apply, get, describe, wait, suspend, resume, deleteCommand] },
    { group: "Tensors", commands: [send, receive, stream, inspect] },
    { group: "Programs and clusters", commands: [run, doctor, local, completion] }
  ]),
  Command.withGlobalFlags(globalFlags)
)

/** An error as these arguments ask for it: for people, or for programs. */
export const errorText = (block: ErrorBlock, args: ReadonlyArray<string>, style: Style): string =>
  outputOf(args) === "json"
    ? JSON.stringify(errorReport(block))
    : formatErrorBlock(block, style, hasSwitch(args, "--verbose", "v"))

/** Runs the command; gives the exit code. Everything that goes wrong has been said when it ends. */
export const runKpu = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const showError = (block: ErrorBlock) => screen.warn(errorText(block, args, screen.err.style))

    const helpFor = ({ columns, isTerminal, style }: Stream, doc: HelpDoc.HelpDoc): string => {
      const help = CliOutput.defaultFormatter({ colors: style === coloured }).formatHelpDoc(doc)
      return isTerminal ? wrapHelp(help, columns) : help
    }
    const presenter: CliOutput.Presenter = {
      present: (event) => {
        switch (event._tag) {
          case "Help":
            return event.reason === "Requested"
              ? screen.print(helpFor(screen.out, event.helpDoc))
              : screen.warn(helpFor(screen.err, event.helpDoc))
          case "InvalidInvocation":
            return showError(usageBlock(event.commandPath, event.errors))
          case "Version":
            return screen.print(`${event.name} ${event.version}`)
        }
      }
    }

    const exit = yield* Command.runWith(kpu, { version: packageVersion })(args).pipe(
      Effect.provide(
        Layer.mergeAll(
          loggingLayer({ verbose: hasSwitch(args, "--verbose", "v") }),
          CliOutput.layerPresenter(presenter),
          CliConfig.layer({ builtIns: [GlobalFlag.Help, Version] })
        )
      ),
      Effect.exit
    )
    const code = yield* exitCode(exit, showError)
    yield* screen.flush
    return code
  })

const exitCode = (
  exit: Exit.Exit<void, unknown>,
  showError: (block: ErrorBlock) => Effect.Effect<void>
): Effect.Effect<number> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(exitCodes.ok)
  const { cause } = exit
  if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(exitCodes.interrupted)
  const error = Cause.squash(cause)
  // Presented when it came up.
  if (CliError.isCliError(error)) return Effect.succeed(exitCodes.usage)
  if (error instanceof ExitCode) return Effect.succeed(error.exitCode)
  const failures = cause.reasons.filter(Cause.isFailReason)
  const blocks =
    failures.length > 1 ? failures.map((reason) => errorBlock(Cause.fromReasons([reason]))) : [errorBlock(cause)]
  return Effect.as(Effect.forEach(blocks, showError, { discard: true }), blocks[0]!.exitCode)
}
