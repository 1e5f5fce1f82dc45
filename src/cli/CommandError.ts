/**
 * What goes wrong in the command itself, beside the client's own errors: a file, a manifest, a child process, a doctor
 * that found something.
 */
import * as Data from "effect/Data"

/** A failure of the command, with what to do about it and the exit code that it ends with. */
export class CommandError extends Data.TaggedError("CommandError")<{
  /** What went wrong, one sentence. */
  readonly problem: string
  /** What to do. */
  readonly advice?: string | undefined
  readonly exitCode: number
  /** What is shown with `--verbose`. */
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.problem
  }
}

/** Ends the command with an exit code and says nothing more: all has been said. */
export class Exit extends Data.TaggedError("Exit")<{ readonly exitCode: number }> {}
