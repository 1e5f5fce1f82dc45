/**
 * `@grpc/grpc-js` as its documentation has it (`plain`), with the code that ts-proto generates; and tuned by hand
 * (`tuned`): a window of 16 MiB, no retry buffer, messages encoded into one allocation and decoded without a copy.
 */
import { once } from "node:events"
import { credentials, Client as GrpcClient } from "@grpc/grpc-js"
import { TensorChunk, TensorRequest, TensorResponse } from "../../src/schema/generated/kpu/torch/service.ts"
import { chunksOfAll, Files, Payload } from "./payload.ts"
import { type Client, type Job, serve } from "./protocol.ts"
import { decodeChunk, encodeChunk } from "./wire.ts"

const tuned = process.argv[2] === "tuned"

const encode = tuned ? encodeChunk : (chunk: TensorChunk) => Buffer.from(TensorChunk.encode(chunk).finish())
const decode = tuned ? decodeChunk : TensorChunk.decode
const encodeRequest = (request: TensorRequest) => Buffer.from(TensorRequest.encode(request).finish())

const clients = new Map<number, GrpcClient>()
const payload = new Payload()

const connect = ({ host, port }: Job): GrpcClient => {
  let client = clients.get(port)
  if (client === undefined) {
    client = new GrpcClient(
      `${host}:${port}`,
      credentials.createInsecure(),
      tuned ? { "grpc-node.flow_control_window": 16 * 2 ** 20, "grpc.enable_retries": 0 } : {}
    )
    clients.set(port, client)
  }
  return client
}

const client: Client = {
  prepare: ({ direction, elements }) => {
    if (direction === "receive") payload.clear()
    else payload.prepare(elements)
  },
  run: async (job) => {
    const grpc = connect(job)
    const { chunkSize, count, direction, elements } = job

    const write = async (
      call: { write(chunk: TensorChunk): boolean; end(): void } & NodeJS.EventEmitter,
      n: number
    ) => {
      for (const chunk of chunksOfAll(payload.bytes, elements, chunkSize, n)) {
        if (!call.write(chunk)) await once(call, "drain")
      }
      call.end()
    }
    const send = () =>
      new Promise<number>((resolve, reject) => {
        const call = grpc.makeClientStreamRequest(
          "/kpu.torch.Service/ReceiveTensors",
          encode,
          TensorResponse.decode,
          (error, response) => (error ? reject(error) : resolve(4 * elements * response!.receivedTensorIds.length))
        )
        void write(call, count)
      })
    const receive = async () => {
      const files = new Files(elements)
      const call = grpc.makeServerStreamRequest("/kpu.torch.Service/SendTensors", encodeRequest, decode, {
        count,
        parameters: { shape: String(elements) }
      })
      for await (const chunk of call as AsyncIterable<TensorChunk>) files.add(chunk)
      return files.bytes
    }
    const bidirectional = async (n: number) => {
      const files = new Files(elements)
      const call = grpc.makeBidiStreamRequest("/kpu.torch.Service/StreamTensors", encode, decode)
      const written = write(call, n)
      for await (const chunk of call as AsyncIterable<TensorChunk>) files.add(chunk)
      await written
      return files.bytes
    }
    switch (direction) {
      case "send":
        return send()
      case "receive":
        return receive()
      case "bidirectional":
        return bidirectional(count)
      case "roundtrip": {
        const samples: Array<number> = []
        let bytes = 0
        for (let call = 0; call < count; call++) {
          const begun = performance.now()
          bytes += await bidirectional(1)
          samples.push(1000 * (performance.now() - begun))
        }
        return { bytes, samples }
      }
      default:
        throw new Error(`no ${direction} here`)
    }
  }
}

await serve(client)
