/** Tensors between files and a Compute, through pipes as through files. */
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { exitCodes } from "../../../src/cli/exitCodes.ts"
import { openTensors } from "../../../src/cli/files/formats.ts"
import { TensorSummaryList, TransferResult } from "../../../src/cli/output/json.ts"
import { Tensor } from "../../../src/Tensor.ts"
import * as TorchFile from "../../../src/TorchFile.ts"
import { exec } from "../../kit/process.ts"
import { command, kpu, succeed } from "../kit/command.ts"
import * as WorldKit from "../kit/World.ts"

const decodeTransfer = Schema.decodeUnknownSync(Schema.fromJsonString(TransferResult))
const decodeSummaries = Schema.decodeUnknownSync(Schema.fromJsonString(TensorSummaryList))

const read = (path: string) =>
  Effect.scoped(Effect.flatMap(openTensors(path), (file) => Stream.runCollect(file.readAll)))

const weight = Tensor.randn([40, 50], { seed: 7 })
const steps = Tensor.make({ dtype: "int64", shape: [2, 2], data: new BigInt64Array([1n, -2n, 3n, 4n]) })

/** A Compute that serves, and a state dict in a file. */
const prepared = Effect.gen(function* () {
  const world = yield* WorldKit.World
  yield* succeed(["apply", "tensors", "--wait"], { env: world.env })
  const model = join(world.folder.path, "model.pt")
  yield* Effect.provide(TorchFile.write(model, { "layer.weight": weight, steps }), NodeFileSystem.layer)
  return { ...world, model, path: world.folder.path }
})

layer(WorldKit.layer, { excludeTestServices: true })("kpu and tensors", (it) => {
  it.effect("sends every tensor of a state dict", () =>
    Effect.gen(function* () {
      const { env, model } = yield* prepared
      const sent = yield* succeed(["send", "tensors", model], { env })
      assert.match(sent.stdout, /^sent 2 tensors, 7\.8 KiB in .*: Received 2 tensor\(s\)\n$/)
      const json = decodeTransfer((yield* succeed(["send", "tensors", model, "-o", "json"], { env })).stdout)
      assert.deepInclude(json.receipt, { success: true, message: "Received 2 tensor(s)" })
      assert.deepStrictEqual(json.sent, { tensors: 2, bytes: 40 * 50 * 4 + 32 })
    })
  )

  it.effect("draws what comes back onto standard output, or into a file where tensors go there", () =>
    Effect.gen(function* () {
      const { env } = yield* prepared
      const drawn = yield* succeed(["receive", "tensors", "--plot", "-"], { env })
      assert.match(drawn.stdout, /^<\?xml [\s\S]*<\/svg>\n$/)
      assert.match(drawn.stderr, /^received 1 tensor/m)
      const both = yield* kpu(["receive", "tensors", "--out", "-", "--plot", "-"], { env })
      assert.deepStrictEqual([both.code, both.stdout], [exitCodes.usage, ""])
    })
  )

  it.effect("sends no file without tensors", () =>
    Effect.gen(function* () {
      const { env, model, path } = yield* prepared
      const empty = join(path, "empty.pt")
      yield* Effect.provide(TorchFile.write(empty, {}), NodeFileSystem.layer)
      for (const args of [
        ["send", "tensors", model, empty],
        ["stream", "tensors", empty, "--out", `${path}/none.pt`]
      ]) {
        const refused = yield* kpu(args, { env })
        assert.strictEqual(refused.code, exitCodes.files)
        assert.strictEqual(refused.stderr, `error: there is no tensor in ${empty}\n`)
      }
      const mistyped = yield* kpu(["inspect", model, "--name", "layer.wieght"])
      assert.include(mistyped.stderr, 'did you mean "layer.weight"?')
    })
  )

  it.effect("streams tensors there and back, under their names, into any format", () =>
    Effect.gen(function* () {
      const { env, model, path } = yield* prepared
      for (const out of ["echo.pt", "echo.safetensors"]) {
        yield* succeed(["stream", "tensors", model, "--out", join(path, out)], { env })
        const found = new Map(yield* read(join(path, out)))
        assert.isTrue(Tensor.equals(found.get("layer.weight")!, weight))
        assert.isTrue(Tensor.equals(found.get("steps")!, steps))
      }
      yield* succeed(["stream", "tensors", model, "--out", `${path}/each/`, "--format", "npy"], { env })
      assert.sameMembers(readdirSync(join(path, "each")), ["layer.weight.npy", "steps.npy"])
      const [[, back]] = (yield* read(join(path, "each", "steps.npy"))) as [[string, Tensor]]
      assert.isTrue(Tensor.equals(back, steps))
      const npy = yield* kpu(["stream", "tensors", model, "--out", join(path, "both.npy")], { env })
      assert.strictEqual(npy.code, exitCodes.usage)
      assert.match(npy.stderr, /an \.npy file holds one tensor, and 2 are to come/)
    })
  )

  it.effect("goes through pipes: standard input to standard output, nothing else in between", () =>
    Effect.gen(function* () {
      const { env, model, path } = yield* prepared
      const piped = yield* succeed(["stream", "tensors", "-", "--out", "-", "--format", "safetensors"], {
        env,
        input: readFileSync(model)
      })
      writeFileSync(join(path, "piped"), piped.bytes)
      const found = new Map(yield* read(join(path, "piped")))
      assert.isTrue(Tensor.equals(found.get("layer.weight")!, weight))
      const inspected = yield* succeed(["inspect", "-", "-o", "json"], { input: piped.bytes })
      assert.deepStrictEqual(
        decodeSummaries(inspected.stdout).items.map(({ dtype, name, shape }) => [name, dtype, shape]),
        [
          ["steps", "int64", [2, 2]],
          ["layer.weight", "float32", [40, 50]]
        ]
      )
    })
  )

  it.effect("receives what the server makes: to look at, into a file, into a plot", () =>
    Effect.gen(function* () {
      const { env, path } = yield* prepared
      const shown = yield* succeed(["receive", "tensors", "--count", "2", "--param", "shape=20,30"], { env })
      assert.match(
        shown.stdout,
        /^tensors-0 {2}float32 \[20, 30\] {2}2\.3 KiB\n {2}min -?[\d.]+ {2}max [\d.]+ {2}mean \S+ {2}std \S+ {2}NaN 0\n {2}[ ▁-█]{20} {2}/
      )
      const file = join(path, "received.pt")
      const into = yield* succeed(["receive", "tensors", "-c", "3", "--out", file, "--plot", join(path, "h.svg")], {
        env
      })
      assert.include(into.stdout, `received 3 tensors`)
      assert.strictEqual((yield* read(file)).length, 3)
      assert.strictEqual(readFileSync(join(path, "h.svg"), "utf8").match(/class="title"/g)?.length, 3)
      const wrong = yield* kpu(["receive", "tensors", "--out", join(path, "x.bin")], { env })
      assert.match(wrong.stderr, /its ending is none of \.pt.*--format/)
      assert.strictEqual((yield* kpu(["receive", "tensors", "--count", "0"], { env })).code, exitCodes.usage)
    })
  )

  it.effect("inspects a tensor of a gibibyte in a small part of that memory", () =>
    Effect.gen(function* () {
      const { path } = yield* prepared
      const file = join(path, "large.npy")
      const header = "{'descr': '<f8', 'fortran_order': False, 'shape': (134217728,), }".padEnd(117) + "\n"
      writeFileSync(file, Buffer.concat([Buffer.from("\x93NUMPY\x01\x00\x76\x00", "latin1"), Buffer.from(header)]))
      // A hole: it takes no room on the disk.
      truncateSync(file, 128 + 2 ** 30)
      const tell = "process.on('exit',()=>process.stderr.write(String(process.resourceUsage().maxRSS)))"
      const { stderr, stdout } = yield* succeed(["inspect", file], {
        env: { NODE_OPTIONS: `--import=data:text/javascript,${tell}` }
      })
      assert.match(stdout, /float64 \[134217728\] {2}1\.0 GiB\n {2}min 0 {2}max 0/)
      assert.isBelow(Number(stderr), 400 * 1024)
    })
  )

  it.effect("inspects NaN and infinities, booleans, bfloat16 and complex elements", () =>
    Effect.gen(function* () {
      const { path } = yield* prepared
      const file = join(path, "a file of many kinds.pt")
      const tensors = {
        gaps: Tensor.fromArray([Number.NaN, 1, Number.POSITIVE_INFINITY]),
        flags: Tensor.zeros([3], { dtype: "bool" }),
        half: Tensor.zeros([2], { dtype: "bfloat16" }),
        complex: Tensor.zeros([2], { dtype: "complex64" })
      }
      yield* Effect.provide(TorchFile.write(file, tensors), NodeFileSystem.layer)
      const { stdout } = yield* succeed(["inspect", file])
      assert.include(stdout, "gaps  float32 [3]  12 B\n  min 1  max 1  mean 1  std 0  NaN 1  inf 1\n")
      for (const line of ["flags  bool [3]  3 B", "half  bfloat16 [2]  4 B", "complex  complex64 [2]  16 B"]) {
        assert.include(stdout, `${line}\n  min 0  max 0  mean 0  std 0  NaN 0\n`)
      }
    })
  )

  it.effect("reads the standard input's file and pipes of the shell, and says what a folder is", () =>
    Effect.gen(function* () {
      const { model, path } = yield* prepared
      const piped = yield* succeed(["inspect", "/dev/stdin", "-o", "name"], { input: readFileSync(model) })
      assert.strictEqual(piped.stdout, "layer.weight\nsteps\n")
      const shell = yield* exec("bash", [
        "-c",
        'f=$1; shift; "$@" inspect <(cat "$f") -o name',
        "bash",
        model,
        ...command
      ])
      assert.strictEqual(shell.stdout, "layer.weight\nsteps\n", shell.stderr)
      const folder = yield* kpu(["inspect", path])
      assert.strictEqual(folder.code, exitCodes.files)
      assert.match(folder.stderr, /^error: cannot read .*: it is a folder\n$/)
    })
  )

  it.effect("inspects files without a cluster, whole or their heads only", () =>
    Effect.gen(function* () {
      const { model, path } = yield* prepared
      const nothing = { HOME: path }
      const text = (yield* succeed(["inspect", model], { env: nothing })).stdout
      assert.match(text, /^layer\.weight {2}float32 \[40, 50\] {2}7\.8 KiB$/m)
      assert.match(text, /^ {2}min -2 {2}max 4 {2}mean 1\.5 {2}std 2\.29129 {2}NaN 0$/m)
      assert.match(text, /^2 tensors, 7\.8 KiB$/m)
      const head = (yield* succeed(["inspect", model, "--no-stats", "--name", "steps"], { env: nothing })).stdout
      assert.strictEqual(head, "steps  int64 [2, 2]  32 B\n")
      const json = decodeSummaries((yield* succeed(["inspect", model, "-o", "json"], { env: nothing })).stdout)
      assert.deepInclude(json.items[1], { name: "steps", min: -2, max: 4, nanCount: 0 })
      const none = yield* kpu(["inspect", model, "--name", "nope"], { env: nothing })
      assert.match(none.stderr, /there is no tensor "nope"/)
    })
  )

  it.effect("refuses a file that is none before it asks anything of the cluster", () =>
    Effect.gen(function* () {
      const { folder, model } = yield* prepared
      const nowhere = { HOME: folder.path }
      const cases: ReadonlyArray<readonly [string, number, RegExp]> = [
        [folder.write("absent-not", "").replace("-not", ""), exitCodes.files, /cannot read .*: there is no such file/],
        [folder.write("empty.pt", ""), exitCodes.files, /empty/],
        [folder.write("text.pt", "hello"), exitCodes.files, /text\.pt: the first bytes/],
        [folder.write("cut.pt", readFileSync(model).subarray(0, 900).toString("latin1")), exitCodes.files, /cut\.pt: /]
      ]
      for (const [file, code, expected] of cases) {
        const result = yield* kpu(["inspect", file], { env: nowhere })
        assert.strictEqual(result.code, code, result.stderr)
        assert.match(result.stderr, expected)
      }
    })
  )

  it.effect("leaves no file where a transfer fails", () =>
    Effect.gen(function* () {
      const { cluster, env, model, path } = yield* prepared
      const file = join(path, "never.pt")
      const failed = yield* kpu(
        ["stream", "tensors", model, "--out", file, "--gateway", "127.0.0.1:1", "--timeout", "2s"],
        { env }
      )
      assert.notStrictEqual(failed.code, 0)
      assert.match(failed.stderr, /127\.0\.0\.1:1/)
      assert.isFalse(existsSync(file))
      assert.isFalse(readdirSync(path).some((name) => name.endsWith(".part")))
      assert.notStrictEqual(cluster.resolve("default", "tensors"), undefined)
    })
  )
})
