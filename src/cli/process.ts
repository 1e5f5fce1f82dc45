/**
 * The `kpu` command as a process: arguments in, exit code out, signals.
 *
 * **Signals.** The first Ctrl-C (or SIGTERM, SIGHUP) interrupts the command, whose scopes then clean up: streams are
 * cancelled, a Compute that was held is deleted, a partial file is removed. A second one leaves at once and says what
 * is left behind.
 *
 * **Pipes.** A reader that goes away (`kpu get -w | head -1`) ends the command, in order and without an error. An output
 * that cannot be written (a full disk) ends it with one.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { exitCodes } from "./exitCodes.ts"
import { fileError } from "./files/disk.ts"
import { hasSwitch } from "./globals.ts"
import { expandArguments } from "./input/arguments.ts"
import { errorText, runKpu } from "./kpu.ts"
import * as Leftovers from "./Leftovers.ts"
import { errorBlock } from "./output/errorBlock.ts"
import { layer as screenLayer, streamOf } from "./output/Screen.ts"

const args = expandArguments(process.argv.slice(2))
const leftovers = Leftovers.make()

const program = runKpu(args).pipe(
  Effect.provide(
    Layer.mergeAll(
      screenLayer({ quiet: hasSwitch(args, "--quiet", "q") }),
      NodeServices.layer,
      Layer.succeed(Leftovers.Leftovers, leftovers)
    )
  )
)

const fiber = Effect.runFork(program)

const codes = { SIGINT: exitCodes.interrupted, SIGTERM: exitCodes.terminated, SIGHUP: exitCodes.hungUp } as const
let interruptedBy: keyof typeof codes | undefined

const leaveAtOnce = (signal: keyof typeof codes): void => {
  const left = leftovers.list()
  const text =
    left.length === 0
      ? "kpu: left at once\n"
      : `kpu: left at once; this may be left behind:\n${left.map((item) => `  ${item}\n`).join("")}`
  try {
    process.stderr.write(text)
  } finally {
    process.exit(codes[signal])
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (interruptedBy !== undefined) return leaveAtOnce(signal)
    interruptedBy = signal
    if (leftovers.list().length > 0) {
      process.stderr.write(`${process.stderr.isTTY ? "\r\u001b[2K" : ""}kpu: cleaning up; once more leaves at once\n`)
    }
    Effect.runFork(Fiber.interrupt(fiber))
  })
}

let outputError: NodeJS.ErrnoException | undefined
process.stdout.on("error", (cause) => {
  outputError ??= cause
  Effect.runFork(Fiber.interrupt(fiber))
})

/** The exit code where standard output took no more: its reader had enough, or what was written is lost. */
const outputExit = (cause: NodeJS.ErrnoException): number => {
  if (cause.code === "EPIPE") return exitCodes.ok
  const block = errorBlock(Cause.fail(fileError("write", "standard output", cause)))
  process.stderr.write(`${errorText(block, args, streamOf(process.stderr).style)}\n`)
  return block.exitCode
}

fiber.addObserver((exit) => {
  const code =
    outputError !== undefined ? outputExit(outputError) : Exit.isSuccess(exit) ? exit.value : exitCodes.failure
  // Whatever still keeps the process (a socket that closes slowly, standard input) is not waited for.
  process.exit(interruptedBy === undefined ? code : codes[interruptedBy])
})
