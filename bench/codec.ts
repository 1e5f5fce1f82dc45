/**
 * How fast tensors become bytes and come back: the codec alone, without a network.
 *
 *     node --conditions=effect-kpu-source bench/codec.ts
 *
 * Prints the medians of several runs: ms of time, ms of processor time (garbage collection included), and MiB of elements
 * a second. On a busy machine the processor time says more.
 */
import { Tensor } from "../src/index.ts"
import { Assembler, type Payload } from "../src/torch/Assembler.ts"
import { chunkTensor, toMessage } from "../src/torch/Chunker.ts"
import { decodeTensor } from "../src/torch/Decoder.ts"
import { encodeTensor } from "../src/torch/Encoder.ts"
import { decodePayload } from "../src/torch/Payloads.ts"
import { pickle, tensorPickle, tensorRecords, wholePickle, zip } from "../test/kit/Archive.ts"

const mebibytes = 64
const runs = 9

const measure = (name: string, mib: number, run: () => unknown): void => {
  const wall: Array<number> = []
  const cpu: Array<number> = []
  for (let index = 0; index < runs + 2; index++) {
    const used = process.cpuUsage()
    const start = performance.now()
    run()
    const time = performance.now() - start
    const { system, user } = process.cpuUsage(used)
    if (index < 2) continue
    wall.push(time)
    cpu.push((user + system) / 1000)
  }
  const median = (times: Array<number>) => times.sort((a, b) => a - b)[runs >> 1]!
  const [ms, cpuMs] = [median(wall), median(cpu)]
  const rate = Math.round(mib / (ms / 1000)).toString()
  console.log(`${name.padEnd(54)} ${ms.toFixed(2).padStart(9)} ${cpuMs.toFixed(2).padStart(9)} ${rate.padStart(9)}`)
}

const side = Math.sqrt(mebibytes * 2 ** 18)
const tensor = Tensor.randn([side, side], { seed: 1 })
const file = Tensor.toTorch(tensor)
const small = Tensor.randn([10, 10], { seed: 1 })
const smallFile = Tensor.toTorch(small)
const messages = [...chunkTensor(tensor, { id: "a" })].map(toMessage)
const negate = Buffer.concat([pickle.emptyDict, pickle.text("neg"), pickle.true, pickle.setItem])
/** A file whose elements begin at a multiple of 64, as in PyTorch's own. */
const view = (fields: object) => {
  const pickled = wholePickle(tensorPickle({ numel: side * side, shape: [side, side], strides: [side, 1], ...fields }))
  const bytes = zip(tensorRecords(pickled, tensor.data))
  const shift = 64 - (Buffer.from(bytes.buffer).indexOf(tensor.data.subarray(0, 32)) % 64)
  const shifted = new Uint8Array(bytes.length + shift).subarray(shift)
  shifted.set(bytes)
  return shifted
}
const transposed = view({ strides: [1, side] })
const negated = view({ metadata: negate })

const assemble = (fragment?: number): Payload => {
  const assembler = new Assembler()
  for (const message of messages) {
    let payload: Payload | undefined
    if (fragment === undefined) payload = assembler.push(message)
    else {
      const slot = assembler.begin(
        { tensorId: message.tensorId, chunkNumber: message.chunkNumber },
        message.data.length
      )
      for (let at = 0; at < message.data.length; at += fragment) slot.write(message.data.subarray(at, at + fragment))
      payload = slot.end(message)
    }
    if (payload !== undefined) return payload
  }
  throw new Error("not whole")
}
const payload = assemble()

console.log(`Node ${process.version}, ${process.arch}, float32 of ${mebibytes} MiB unless said otherwise\n`)
console.log(`${"".padEnd(54)} ${"ms".padStart(9)} ${"CPU ms".padStart(9)} ${"MiB/s".padStart(9)}`)
measure("randn", mebibytes, () => Tensor.randn([side, side], { seed: 1 }))
measure("toTorch (one array: allocation, copy, CRC)", mebibytes, () => Tensor.toTorch(tensor))
measure("encode (header, trailer and no copy, without the CRC)", mebibytes, () => encodeTensor(tensor).trailer(0))
measure("chunks of 1 MiB as views (with the CRC)", mebibytes, () => {
  for (const _ of chunkTensor(tensor, { id: "a" })) {
    // Taken and dropped.
  }
})
measure("chunks of 1 MiB as messages (with the CRC)", mebibytes, () => {
  for (const chunk of chunkTensor(tensor, { id: "a" })) toMessage(chunk)
})
measure("assemble messages", mebibytes, () => assemble())
measure("assemble fragments of 16 KiB", mebibytes, () => assemble(16384))
measure("decode a payload (no CRC)", mebibytes, () => decodePayload(payload))
measure("decode a file (CRC)", mebibytes, () => decodeTensor(file))
measure("decode, transposed (no CRC)", mebibytes, () => decodeTensor(transposed, { verifyCrc: false }))
measure("decode, negated (no CRC)", mebibytes, () => decodeTensor(negated, { verifyCrc: false }))
measure("equals", mebibytes, () =>
  Tensor.equals(tensor, Tensor.make({ ...tensor, data: file.subarray(704, 704 + tensor.data.length) }))
)
measure("toTorch, 10×10, a thousand times", (1000 * 400) / 2 ** 20, () => {
  for (let index = 0; index < 1000; index++) Tensor.toTorch(small)
})
measure("decode, 10×10, a thousand times", (1000 * 400) / 2 ** 20, () => {
  for (let index = 0; index < 1000; index++) decodeTensor(smallFile)
})
