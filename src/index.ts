/**
 * The KPU Compute client on Effect: Computes, tensors, files, layers and errors.
 *
 * @module effect-kpu
 */
export * as Compute from "./Compute.ts"
export { ComputeApi } from "./ComputeApi.ts"
export { ComputeWatch } from "./ComputeWatch.ts"
export { Endpoint } from "./Endpoint.ts"
export * as ByteSource from "./formats/ByteSource.ts"
export * as Npy from "./formats/Npy.ts"
export * as Safetensors from "./formats/Safetensors.ts"
export { GrpcChannel } from "./GrpcChannel.ts"
export { Kpu } from "./Kpu.ts"
export { KubeConfig } from "./KubeConfig.ts"
export { LocalCluster } from "./LocalCluster.ts"
export { Namespace } from "./Namespace.ts"
export { Condition } from "./schema/Condition.ts"
export { DType } from "./schema/DType.ts"
export * from "./schema/KpuError.ts"
export { KubernetesError, type KubernetesErrorReason } from "./schema/KubernetesError.ts"
export { SendReceipt } from "./schema/SendReceipt.ts"
export { Tensor } from "./Tensor.ts"
export { TensorClient } from "./TensorClient.ts"
export * as TorchFile from "./TorchFile.ts"
