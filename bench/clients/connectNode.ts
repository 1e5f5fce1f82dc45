/**
 * connect-node's gRPC transport as its documentation has it. The service comes from the descriptors that buf makes of
 * `proto/`, which is what its generated code holds too. The first argument is their file.
 */
import { readFileSync } from "node:fs"
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf"
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { createClient } from "@connectrpc/connect"
import { createGrpcTransport } from "@connectrpc/connect-node"
import { type Service, serveGenerated } from "./generated.ts"

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.argv[2]!)))
const service = registry.getService("kpu.torch.Service")!

await serveGenerated(
  // Without generated code the client has no types of its own.
  (address) => createClient(service, createGrpcTransport({ baseUrl: `http://${address}` })) as unknown as Service
)
