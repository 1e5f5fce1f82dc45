/** The `kpu` command as a process: in pipes, and in a pseudo-terminal. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { join } from "node:path"
import { describe, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { root } from "../../kit/peers.ts"
import { type Running, start } from "../../kit/process.ts"

// Each command is a process that loads everything anew: on a busy machine that takes as long as it takes.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 })

/** The arguments with which Node runs the command from its sources. */
export const command: ReadonlyArray<string> = [
  process.execPath,
  "--conditions=effect-kpu-source",
  join(root, "src/cli/main.ts")
]

export interface Result {
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
  /** Standard output as it was. */
  readonly bytes: Buffer
}

export interface Options {
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  readonly input?: string | Uint8Array | undefined
  readonly cwd?: string | undefined
  /** Called with the child when it runs, to send it signals. */
  readonly onStart?: ((child: ChildProcess) => void) | undefined
  /** Called with all of standard error so far. */
  readonly onStderr?: ((text: string, child: ChildProcess) => void) | undefined
}

/** No surprise from the environment of who runs the tests. */
const clean = {
  KUBECONFIG: undefined,
  KUBERNETES_SERVICE_HOST: undefined,
  KPU_GATEWAY: undefined,
  KPU_TOKEN: undefined,
  NO_COLOR: undefined,
  FORCE_COLOR: undefined,
  NODE_OPTIONS: undefined,
  NODE_EXTRA_CA_CERTS: undefined
}

/** Runs `kpu` with its streams in pipes, to its end. */
export const kpu = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Result> =>
  Effect.callback<Result>((resume) => {
    const [node, ...rest] = command
    const child = spawn(node!, [...rest, ...args], {
      cwd: options.cwd,
      env: { ...process.env, ...clean, ...options.env },
      stdio: ["pipe", "pipe", "pipe"]
    })
    const out: Array<Buffer> = []
    let stderr = ""
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk))
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk
      options.onStderr?.(stderr, child)
    })
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("close", (code, signal) => {
      const bytes = Buffer.concat(out)
      resume(Effect.succeed({ code: code ?? signal ?? "unknown", stdout: bytes.toString("utf8"), stderr, bytes }))
    })
    child.stdin.on("error", () => {})
    child.stdin.end(options.input)
    options.onStart?.(child)
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** The same, and dies where the exit code is not 0. */
export const succeed = (args: ReadonlyArray<string>, options?: Options): Effect.Effect<Result> =>
  Effect.tap(kpu(args, options), (result) =>
    result.code === 0
      ? Effect.void
      : Effect.die(new Error(`kpu ${args.join(" ")} ended with ${result.code}:\n${result.stdout}${result.stderr}`))
  )

const python = ["python3", "/usr/bin/python3"].find((name) => spawnSync(name, ["-c", "import pty"]).status === 0)

/** `describe` for what is seen at a terminal; skipped by name where no pseudo-terminal can be made. */
export const describeTerminal = (title: string, body: () => void): void => {
  if (python !== undefined) describe(title, body)
  else describe.skip(`${title} [Python 3, whose pty module makes the pseudo-terminal, not found]`, body)
}

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  readonly columns?: number | undefined
}

export interface Terminal extends Running {
  /** Types text; `"\u0003"` is Ctrl-C. */
  readonly type: (text: string) => void
  /** Waits until what was shown so far holds this. */
  readonly shown: (pattern: RegExp) => Effect.Effect<string>
}

/** Starts a program in a pseudo-terminal. */
export const terminal = (
  program: ReadonlyArray<string>,
  options: TerminalOptions = {}
): Effect.Effect<Terminal, never, Scope.Scope> =>
  Effect.map(
    start(python!, [join(import.meta.dirname, "terminal.py"), String(options.columns ?? 100), ...program], {
      env: { TERM: "xterm-256color", ...clean, ...options.env },
      stdin: true
    }),
    (running) => ({
      ...running,
      type: (text) => running.write(`send ${Buffer.from(text).toString("hex")}\n`),
      shown: (pattern) =>
        Effect.callback<string>((resume) => {
          const look = () => {
            if (pattern.test(running.output())) {
              running.child.stdout!.off("data", later)
              resume(Effect.succeed(running.output()))
            }
          }
          // After whoever keeps the output.
          const later = () => setImmediate(look)
          running.child.stdout!.on("data", later)
          look()
          void running.exited.then((code) => {
            look()
            resume(Effect.die(new Error(`ended (${code}) without showing ${pattern}:\n${running.output()}`)))
          })
        })
    })
  )

/** `kpu` in a pseudo-terminal. */
export const kpuTerminal = (args: ReadonlyArray<string>, options?: TerminalOptions) =>
  terminal([...command, ...args], options)
