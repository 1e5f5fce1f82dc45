/**
 * The `kpu` command as a process: arguments in, exit code out, signals.
 *
 * **Signals.** The first Ctrl-C (or SIGTERM, SIGHUP) interrupts the command, whose scopes then clean up: streams are
 * cancelled, a Compute that was held is deleted, a partial file is removed. A second one leaves at once and says what
 * is left behind.
 *
 * **Pipes.** A reader that goes away (`kpu get -w | head -1`) ends the command, in order and without an error.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { exitCodes } from "./exitCodes.ts"
import { hasSwitch } from "./globals.ts"
import { expandArguments } from "./input/arguments.ts"
import { runKpu } from "./kpu.ts"
import * as Leftovers from "./Leftovers.ts"
import { layer as screenLayer } from "./output/Screen.ts"

const args = process.argv.slice(2)
const leftovers = Leftovers.make()

const program = runKpu(args).pipe(
  Effect.provide(
    Layer.mergeAll(
      screenLayer({ quiet: hasSwitch(expandArguments(args), "--quiet", "q") }),
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

let readerIsGone = false
process.stdout.on("error", () => {
  readerIsGone = true
  Effect.runFork(Fiber.interrupt(fiber))
})

fiber.addObserver((exit) => {
  const code = readerIsGone ? exitCodes.ok : Exit.isSuccess(exit) ? exit.value : exitCodes.failure
  // Whatever still keeps the process (a socket that closes slowly, standard input) is not waited for.
  process.exit(interruptedBy === undefined ? code : codes[interruptedBy])
})
