export { DType } from "./schema/DType.ts"
export { Tensor } from "./Tensor.ts"
export { GrpcChannel } from "./GrpcChannel.ts"
