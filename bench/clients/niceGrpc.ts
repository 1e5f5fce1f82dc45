/** nice-grpc as its documentation has it, with the code that ts-proto generates. */
import { createChannel, createClient } from "nice-grpc"
import { ServiceDefinition } from "../../src/schema/generated/kpu/torch/service.ts"
import { serveGenerated } from "./generated.ts"

await serveGenerated((address) => createClient(ServiceDefinition, createChannel(address)))
