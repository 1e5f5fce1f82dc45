/** nice-grpc as its documentation has it, with the code that ts-proto generates. */
import { createChannel, createClient } from "nice-grpc"
import { ServiceDefinition } from "../../src/schema/generated/kpu/torch/service.ts"
import { chunksOfAll, Files, Payload } from "./payload.ts"
import { type Client, type Job, serve } from "./protocol.ts"

const connect = ({ host, port }: Job) => createClient(ServiceDefinition, createChannel(`${host}:${port}`))
const clients = new Map<number, ReturnType<typeof connect>>()
const payload = new Payload()

const client: Client = {
  prepare: ({ direction, elements }) => {
    if (direction === "receive") payload.clear()
    else payload.prepare(elements)
  },
  run: async (job) => {
    let nice = clients.get(job.port)
    if (nice === undefined) {
      nice = connect(job)
      clients.set(job.port, nice)
    }
    const { chunkSize, count, direction, elements } = job
    async function* chunks() {
      yield* chunksOfAll(payload.bytes, elements, chunkSize, count)
    }
    if (direction === "send") {
      const response = await nice.receiveTensors(chunks())
      return 4 * elements * response.receivedTensorIds.length
    }
    const files = new Files(elements)
    const answers =
      direction === "receive"
        ? nice.sendTensors({ count, parameters: { shape: String(elements) } })
        : nice.streamTensors(chunks())
    for await (const chunk of answers) files.add(chunk)
    return files.bytes
  }
}

await serve(client)
