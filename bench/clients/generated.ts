/**
 * A client over the methods that gRPC libraries of promises and async iterables make of a service: the job is the same
 * for all of them.
 */
import { chunksOfAll, Files, Payload } from "./payload.ts"
import { type Job, serve } from "./protocol.ts"

/** What such a library makes of `kpu.torch.Service`. */
export interface Service {
  readonly receiveTensors: (
    chunks: ReturnType<typeof outgoing>
  ) => Promise<{ readonly receivedTensorIds: ReadonlyArray<string> }>
  readonly sendTensors: (request: {
    readonly count: number
    readonly parameters: Record<string, string>
  }) => AsyncIterable<Incoming>
  readonly streamTensors: (chunks: ReturnType<typeof outgoing>) => AsyncIterable<Incoming>
}

type Incoming = Parameters<Files["add"]>[0]

const payload = new Payload()

async function* outgoing({ chunkSize, count, elements }: Job) {
  yield* chunksOfAll(payload.bytes, elements, chunkSize, count)
}

/** Serves jobs with one client for each server. */
export const serveGenerated = (connect: (address: string) => Service): Promise<void> => {
  const services = new Map<string, Service>()
  return serve({
    prepare: ({ direction, elements }) => {
      if (direction === "receive") payload.clear()
      else payload.prepare(elements)
    },
    run: async (job) => {
      const { count, direction, elements, host, port } = job
      const address = `${host}:${port}`
      const service = services.get(address) ?? connect(address)
      services.set(address, service)
      if (direction === "send") {
        const response = await service.receiveTensors(outgoing(job))
        return 4 * elements * response.receivedTensorIds.length
      }
      const files = new Files(elements)
      const answers =
        direction === "receive"
          ? service.sendTensors({ count, parameters: { shape: String(elements) } })
          : service.streamTensors(outgoing(job))
      for await (const chunk of answers) files.add(chunk)
      return files.bytes
    }
  })
}
