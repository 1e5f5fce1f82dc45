/**
 * Programs that tests start: scoped, their output kept for the message when they fail, and gone when the scope closes.
 *
 * A test runner that is killed runs no finalizer, so where `setpriv` exists the kernel is asked to end the child with
 * its parent.
 */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from "node:child_process"
import { createServer } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A running program. */
export interface Running {
  readonly child: ChildProcess
  /** The end of what it has written so far, standard output and error together. */
  readonly output: () => string
  /** The lines of standard output so far. */
  readonly lines: ReadonlyArray<string>
  /**
   * The first line of standard output that `pick` finds something in, from line `from` on (0 unless told otherwise);
   * dies with the output when the program ends before.
   */
  readonly line: <A>(pick: (line: string) => A | undefined, from?: number) => Effect.Effect<A>
  /** Writes to standard input, where the program was started with it open. */
  readonly write: (text: string) => void
  readonly exited: Promise<number | string>
  /** Ends it: SIGTERM, and SIGKILL five seconds after. */
  readonly stop: Effect.Effect<void>
}

export interface StartOptions {
  readonly env?: Record<string, string | undefined> | undefined
  /** Keep standard input open for `write`. */
  readonly stdin?: boolean | undefined
}

const KEPT = 64 * 1024

const withParent = process.platform === "linux" && spawnSync("setpriv", ["--pdeathsig", "KILL", "true"]).status === 0

const live = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of live) child.kill("SIGKILL")
})

const launch = (command: string, args: ReadonlyArray<string>, options: StartOptions): Running => {
  const settings = {
    env: { ...process.env, ...options.env },
    stdio: [options.stdin === true ? "pipe" : "ignore", "pipe", "pipe"] satisfies StdioOptions
  }
  const child = withParent
    ? spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], settings)
    : spawn(command, args, settings)
  child.stdin?.on("error", () => {}) // the exit code tells why nobody reads
  live.add(child)
  let output = ""
  let pending = ""
  const lines: Array<string> = []
  const watchers = new Set<() => void>()
  const keep = (chunk: string) => {
    output = (output + chunk).slice(-KEPT)
  }
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    keep(chunk)
    const parts = (pending + chunk).split("\n")
    pending = parts.pop() ?? ""
    lines.push(...parts)
    for (const watcher of watchers) watcher()
  })
  child.stderr!.setEncoding("utf8").on("data", keep)
  const exited = new Promise<number | string>((done) => {
    child.once("error", (error) => {
      keep(String(error))
      live.delete(child)
      done("not started")
    })
    child.once("close", (code, signal) => {
      live.delete(child)
      done(code ?? signal ?? "unknown")
    })
  })
  const stop = Effect.promise(async () => {
    if (!live.has(child)) return
    child.kill("SIGTERM")
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000)
    await exited
    clearTimeout(timer)
  })
  const line = <A>(pick: (line: string) => A | undefined, from = 0) =>
    Effect.callback<A>((resume) => {
      let next = from
      const look = () => {
        while (next < lines.length) {
          const found = pick(lines[next++]!)
          if (found !== undefined) {
            watchers.delete(look)
            resume(Effect.succeed(found))
            return
          }
        }
      }
      watchers.add(look)
      look()
      void exited.then((code) => {
        if (!watchers.has(look)) return
        look()
        if (watchers.delete(look)) resume(Effect.die(new Error(`${command} ended (${code}):\n${output}`)))
      })
      return Effect.sync(() => watchers.delete(look))
    })
  const write = (text: string) => void child.stdin?.write(text)
  return { child, output: () => output, lines, line, write, exited, stop }
}

/** Starts a program; it is ended when the scope closes, and has ended when the closing has. */
export const start = (
  command: string,
  args: ReadonlyArray<string>,
  options: StartOptions = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => launch(command, args, options)),
    (running) => running.stop
  )

export interface ExecOptions {
  readonly env?: Record<string, string | undefined> | undefined
  readonly input?: string | Uint8Array | undefined
}

/** Runs a program to its end, whatever its exit code. */
export const exec = (
  command: string,
  args: ReadonlyArray<string>,
  options: ExecOptions = {}
): Effect.Effect<{ readonly code: number | string; readonly stdout: string; readonly stderr: string }> =>
  Effect.callback((resume) => {
    const child = spawn(command, args, { env: { ...process.env, ...options.env }, stdio: ["pipe", "pipe", "pipe"] })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      stdout += chunk
    })
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk
    })
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("close", (code, signal) => resume(Effect.succeed({ code: code ?? signal ?? "unknown", stdout, stderr })))
    // A program that ends without reading breaks the pipe; its exit code tells what went wrong.
    child.stdin.on("error", () => {})
    child.stdin.end(options.input)
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Runs a program to its end, and gives what it wrote; dies with that when it fails. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: ExecOptions = {}
): Effect.Effect<{ readonly stdout: string; readonly stderr: string }> =>
  Effect.flatMap(exec(command, args, options), (result) =>
    result.code === 0
      ? Effect.succeed(result)
      : Effect.die(
          new Error(`${[command, ...args].join(" ")} ended with ${result.code}:\n${result.stdout}${result.stderr}`)
        )
  )

/** Ports of the loopback interface that nothing listens on, all different. */
export const freePorts = (count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.promise(async () => {
    const servers = await Promise.all(
      Array.from(
        { length: count },
        () =>
          new Promise<ReturnType<typeof createServer>>((done, fail) => {
            const server = createServer()
            server.once("error", fail).listen(0, "127.0.0.1", () => done(server))
          })
      )
    )
    const ports = servers.map((server) => (server.address() as { readonly port: number }).port)
    await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
    return ports
  })
