/**
 * connect-node's gRPC transport as its documentation has it. The service comes from the descriptors that buf makes of
 * `proto/`, which is what its generated code holds too. The first argument is their file.
 */
import { readFileSync } from "node:fs"
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf"
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { createClient } from "@connectrpc/connect"
import { createGrpcTransport } from "@connectrpc/connect-node"
import { chunksOfAll, Files, Payload } from "./payload.ts"
import { type Client, type Job, serve } from "./protocol.ts"

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.argv[2]!)))
const service = registry.getService("kpu.torch.Service")!
type Message = Parameters<Files["add"]>[0]

/** The client without the types of generated code. */
interface Untyped {
  readonly receiveTensors: (
    chunks: AsyncIterable<object>
  ) => Promise<{ readonly receivedTensorIds: ReadonlyArray<string> }>
  readonly sendTensors: (request: object) => AsyncIterable<Message>
  readonly streamTensors: (chunks: AsyncIterable<object>) => AsyncIterable<Message>
}

const connect = ({ host, port }: Job): Untyped =>
  createClient(service, createGrpcTransport({ baseUrl: `http://${host}:${port}` })) as unknown as Untyped
const clients = new Map<number, Untyped>()
const payload = new Payload()

const client: Client = {
  prepare: ({ direction, elements }) => {
    if (direction === "receive") payload.clear()
    else payload.prepare(elements)
  },
  run: async (job) => {
    let connected = clients.get(job.port)
    if (connected === undefined) {
      connected = connect(job)
      clients.set(job.port, connected)
    }
    const { chunkSize, count, direction, elements } = job
    async function* chunks() {
      yield* chunksOfAll(payload.bytes, elements, chunkSize, count)
    }
    if (direction === "send") {
      const response = await connected.receiveTensors(chunks())
      return 4 * elements * response.receivedTensorIds.length
    }
    const files = new Files(elements)
    const answers =
      direction === "receive"
        ? connected.sendTensors({ count, parameters: { shape: String(elements) } })
        : connected.streamTensors(chunks())
    for await (const chunk of answers) files.add(chunk)
    return files.bytes
  }
}

await serve(client)
