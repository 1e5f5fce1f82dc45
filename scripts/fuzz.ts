/**
 * The long form of the fuzz tests: mutates files of tensors (PyTorch's own where `npm run peers` has prepared it) and chunk
 * streams for some minutes, and reports what was met, the work that it made, and the memory and time that it took.
 *
 *     npm run fuzz -- --minutes 5
 *     npm run fuzz -- --seed 123 --runs 1      one mutation again
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { dtypes } from "../src/schema/DType.ts"
import { randn } from "../src/schema/TensorRandom.ts"
import { encodeWhole } from "../src/torch/Encoder.ts"
import {
  bounds,
  corpusOf,
  fuzzFile,
  fuzzStream,
  makeTally,
  ownSamples,
  Random,
  type Sample,
  sampleOf,
  type Tally
} from "../test/torch/fuzzing.ts"

const root = resolve(import.meta.dirname, "..")

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string" },
    runs: { type: "string" }
  }
})

/** Files that PyTorch itself writes, in every dtype and layout. */
const torchSamples = (): ReadonlyArray<Sample> => {
  const peers = resolve(process.env["EFFECT_KPU_PEERS"] || join(root, ".peers"))
  const notes = join(peers, "peers.json")
  if (!existsSync(notes)) return []
  const found = JSON.parse(readFileSync(notes, "utf8")) as {
    readonly [name: string]: { readonly path: string } | undefined
  }
  const folder = mkdtempSync(join(tmpdir(), "effect-kpu-fuzz-"))
  try {
    const layouts = ["contiguous", "transposed", "slice", "expanded"]
    const cases = [
      ...dtypes.flatMap((dtype) =>
        layouts.map((layout) => ({ name: `${dtype}-${layout}`, dtype, shape: [4, 3], layout }))
      ),
      ...["complex64", "complex128"].map((dtype) => ({ name: `${dtype}-conj`, dtype, shape: [4, 3], layout: "conj" })),
      ...["float32", "float64"].map((dtype) => ({ name: `${dtype}-neg`, dtype, shape: [4, 3], layout: "neg" })),
      { name: "parameter", dtype: "float32", shape: [4, 3], layout: "parameter" }
    ]
    const question = (op: object) => `${JSON.stringify({ folder, ...op })}\n`
    const kinds = [
      "list",
      "dict",
      "nested",
      "state_dict",
      "shared",
      "sparse",
      "quantized",
      "object",
      "attributes",
      "legacy"
    ]
    const samples: Array<Sample> = []
    for (const name of ["pytorch", "pytorch113"]) {
      const python = found[name]?.path
      if (python === undefined) continue
      const { status } = spawnSync(python, [join(root, "test/peers/python/torch_tool.py")], {
        input: question({ op: "make", cases }) + question({ op: "make_special", kinds }),
        stdio: ["pipe", "ignore", "ignore"]
      })
      if (status !== 0) throw new Error(`${python} could not make files: exit ${status}`)
      for (const file of readdirSync(folder)) {
        if (file.endsWith(".pt")) samples.push(sampleOf(new Uint8Array(readFileSync(join(folder, file)))))
        rmSync(join(folder, file))
      }
    }
    return samples
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const report = (name: string, tally: Tally, seconds: number): void => {
  console.log(`\n${name}: ${tally.runs} mutations, ${tally.refused} refusals, ${tally.accepted} accepted`)
  console.log(`  ${Math.round(tally.runs / seconds)} mutations a second`)
  if (tally.bytesPerByte > 0) {
    for (const what of ["opcodesPerByte", "recordsPerByte", "bytesPerByte"] as const) {
      console.log(`  ${what}: at most ${tally[what].toFixed(2)} (bound ${bounds[what]})`)
    }
    console.log(`  allocated for one tensor: at most ${tally.allocated} bytes`)
  }
  console.log(`  ${tally.problems.size} kinds of refusals; the most frequent:`)
  for (const [problem, count] of [...tally.problems].sort((a, b) => b[1] - a[1]).slice(0, 12)) {
    console.log(`    ${String(count).padStart(8)}  ${problem}`)
  }
}

const own = ownSamples()
const real = torchSamples()
const samples = [...own, ...real, sampleOf(encodeWhole(randn([40], { seed: 1 })))]
const corpus = corpusOf(samples)
console.log(`${real.length} files of PyTorch and ${samples.length - real.length} of our own`)

/** What the collector leaves lying between two runs of its own is well below this. */
const maxGrowth = 512 * 2 ** 20

const files = makeTally()
const streams = makeTally()
const first = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed)
const runs = values.runs === undefined ? Infinity : Number(values.runs)
const until = performance.now() + Number(values.minutes) * 60_000
const spent = { files: 0, streams: 0, longest: 0, longestSeed: 0 }
const rssBefore = process.memoryUsage().rss
let rssPeak = rssBefore
let seed = first
for (; seed - first < runs && performance.now() < until; seed++) {
  try {
    const start = performance.now()
    fuzzFile(new Random(seed), samples, corpus, files)
    const between = performance.now()
    fuzzStream(new Random(seed), streams)
    const end = performance.now()
    spent.files += between - start
    spent.streams += end - between
    if (between - start > spent.longest) {
      spent.longest = between - start
      spent.longestSeed = seed
    }
  } catch (error) {
    console.error(`seed ${seed} (npm run fuzz -- --seed ${seed} --runs 1):`)
    throw error
  }
  if (seed % 1000 === 0) rssPeak = Math.max(rssPeak, process.memoryUsage().rss)
}
console.log(`seeds ${first} to ${seed - 1}`)
report("files", files, spent.files / 1000)
report("chunk streams", streams, spent.streams / 1000)
console.log(`\nlongest reading: ${spent.longest.toFixed(1)} ms (seed ${spent.longestSeed})`)
console.log(
  `resident memory: ${Math.round(rssBefore / 2 ** 20)} MiB at the start, at most ${Math.round(rssPeak / 2 ** 20)} MiB`
)
if (rssPeak - rssBefore > maxGrowth) {
  console.error(`that is more than ${maxGrowth / 2 ** 20} MiB above the start`)
  process.exitCode = 1
}
