import { execFile, execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { writeFile } from "../../../src/cli/files/disk.ts"
import * as Leftovers from "../../../src/cli/Leftovers.ts"
import { temporaryFolder } from "../../kit/folder.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const withLeftovers = <A, E>(body: (list: () => ReadonlyArray<string>) => Effect.Effect<A, E, Leftovers.Leftovers>) => {
  const leftovers = Leftovers.make()
  return Effect.provideService(body(leftovers.list), Leftovers.Leftovers, leftovers)
}

describe("an atomic file", () => {
  it.live("appears with all of its pieces, and nothing beside it", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      yield* withLeftovers(() => writeFile(join(path, "a"), [bytes("one "), bytes(""), bytes("two")]))
      assert.strictEqual(readFileSync(join(path, "a"), "utf8"), "one two")
      assert.deepStrictEqual(readdirSync(path), ["a"])
    })
  )

  it.live("keeps the mode of the file that it takes the place of, and goes through a link", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      folder.write("real", "old")
      chmodSync(join(folder.path, "real"), 0o640)
      symlinkSync("real", join(folder.path, "link"))
      yield* withLeftovers(() => writeFile(join(folder.path, "link"), [bytes("new")]))
      assert.isTrue(lstatSync(join(folder.path, "link")).isSymbolicLink())
      assert.strictEqual(readFileSync(join(folder.path, "real"), "utf8"), "new")
      assert.strictEqual(statSync(join(folder.path, "real")).mode & 0o777, 0o640)
    })
  )

  it.live("leaves the old one, and nothing else, where writing fails half-way", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = folder.write("a", "old")
      const pieces = function* () {
        yield bytes("half")
        throw new Error("the source broke")
      }
      const exit = yield* withLeftovers((left) =>
        Effect.map(Effect.exit(writeFile(file, pieces())), (exit) => [exit, left()] as const)
      )
      assert.strictEqual(exit[0]._tag, "Failure")
      assert.deepStrictEqual(exit[1], [])
      assert.strictEqual(readFileSync(file, "utf8"), "old")
      assert.deepStrictEqual(readdirSync(folder.path), ["a"])
    })
  )

  it.live("names its partial file while it is written, and removes it when interrupted", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = join(folder.path, "a")
      const begun = yield* Deferred.make<void>()
      yield* withLeftovers((left) =>
        Effect.gen(function* () {
          const context = yield* Effect.context<never>()
          const pieces = function* () {
            // Many small pieces: writing goes on until it is interrupted.
            for (let n = 0; n < 1_000_000; n++) {
              if (n === 10) Effect.runForkWith(context)(Deferred.succeed(begun, undefined))
              yield bytes("piece")
            }
          }
          const fiber = yield* Effect.forkChild(writeFile(file, pieces()))
          yield* Deferred.await(begun)
          assert.strictEqual(left().length, 1)
          assert.match(left()[0]!, /\.a\.[0-9a-f]+\.part: remove it$/)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(left(), [])
        })
      )
      assert.deepStrictEqual(readdirSync(folder.path), [])
    })
  )

  it.live("says what is wrong with a place that cannot be written to", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      mkdirSync(join(path, "folder"))
      writeFileSync(join(path, "file"), "")
      const problem = (place: string) =>
        withLeftovers(() => Effect.map(Effect.flip(writeFile(place, [])), (error) => error.problem))
      assert.match(yield* problem(join(path, "none", "a")), /there is no folder .*none$/)
      assert.match(yield* problem(join(path, "folder")), /it is a folder/)
      assert.match(yield* problem(join(path, "file", "a")), /a part of the path is no folder/)
    })
  )

  it.live("writes to what is no regular file as it is", () =>
    Effect.gen(function* () {
      yield* withLeftovers(() => writeFile("/dev/null", [bytes("gone")]))
      assert.isTrue(existsSync("/dev/null"))
      assert.isTrue(statSync("/dev/null").isCharacterDevice())
    })
  )

  it.live("says that a disk is full, and that a link leads in a circle", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      symlinkSync("b", join(path, "a"))
      symlinkSync("a", join(path, "b"))
      const problem = (place: string) =>
        withLeftovers(() => Effect.map(Effect.flip(writeFile(place, [bytes("x")])), (error) => error.problem))
      assert.match(yield* problem("/dev/full"), /cannot write \/dev\/full: no space is left on the disk/)
      assert.match(yield* problem(join(path, "a")), /lead in a circle/)
    })
  )

  it.live("goes into a named pipe, in order", () =>
    Effect.gen(function* () {
      const { path } = yield* temporaryFolder
      const pipe = join(path, "pipe")
      execFileSync("mkfifo", [pipe])
      const reader = promisify(execFile)("cat", [pipe])
      yield* withLeftovers(() => writeFile(pipe, [bytes("one "), bytes("two")]))
      assert.strictEqual((yield* Effect.promise(() => reader)).stdout, "one two")
    })
  )
})
