/** The programs beside the client under test, each in a process of its own: lines of JSON in, lines of JSON out. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { need } from "../../test/kit/peers.ts"

export interface Program {
  readonly tell: (value: unknown) => Effect.Effect<void>
  readonly hear: Effect.Effect<any>
}

const start = (command: string, args: ReadonlyArray<string>): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] })),
      (process) => Effect.sync(() => process.kill())
    ),
    (process) => {
      const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]()
      return {
        tell: (value) => Effect.sync(() => void process.stdin.write(`${JSON.stringify(value)}\n`)),
        hear: Effect.promise(async () => {
          const line = await lines.next()
          if (line.done === true) throw new Error(`${command} ended`)
          return JSON.parse(line.value)
        })
      }
    }
  )

/** Plays the operator, and makes bare applies. */
export const startOperator: Effect.Effect<Program, never, Scope.Scope> = Effect.suspend(() =>
  start(process.execPath, [
    ...process.execArgv.filter((argument) => argument.startsWith("--conditions")),
    join(import.meta.dirname, "operator.ts")
  ])
)

/** The Python kubernetes client. */
export const startPython: Effect.Effect<Program, never, Scope.Scope> = Effect.suspend(() =>
  start(need("pytorch").python, [join(import.meta.dirname, "client.py")])
)

/** How long some applies took, and how much of a processor their client used. */
export interface Applied {
  readonly seconds: number
  readonly cpuSeconds: number
}

/** Has a program apply these names. */
export const applyWith = (program: Program, namespace: string, names: ReadonlyArray<string>): Effect.Effect<Applied> =>
  Effect.andThen(program.tell({ do: "apply", namespace, names }), program.hear)
