/**
 * The same programs without Effect: promises, async iterables and `AbortSignal`. Each function is one of the Python
 * client's examples.
 */
import { InvalidInput, SendRejected } from "effect-kpu"
import { Compute, Tensor } from "effect-kpu/promise"

const image = "localhost:5001/kpu-torch-server:latest"

/** A Compute for as long as a block: the end of the block deletes it. */
export const scopedUse = async () => {
  await using compute = await Compute.create({ name: "scoped-use", image })
  const receipt = await compute.sendTensors([Tensor.randn([100, 100]), Tensor.randn([50, 50])])
  console.log(receipt.message)
  let received = 0
  for await (const tensor of compute.receiveTensors({ count: 2, parameters: { shape: "20,20" } })) {
    console.log(`Tensor ${received++}:`, tensor.shape)
  }
  const echoed = await compute.streamTensors([Tensor.randn([10, 10]), Tensor.randn([20, 20])]).toArray()
  return { sent: receipt.receivedTensorIds.length, received, echoed: echoed.length }
}

/** A Compute that stays until it is deleted: applied, waited for, used, deleted. */
export const manualLifecycle = async () => {
  await using compute = await Compute.apply({
    name: "manual-lifecycle",
    image,
    env: { LOG_LEVEL: "DEBUG", CHUNK_SIZE: "2097152" },
    labels: { team: "ml", env: "prod" }
  })
  await compute.ready({ timeout: "10 minutes" })
  for (const { status, type } of compute.resource.status?.conditions ?? []) console.log(`${type}=${status}`)
  const receipt = await compute.sendTensors(Tensor.zeros([3, 3]))
  await compute.delete({ gracePeriod: "60 seconds" })
  return receipt.message
}

/** Scaled to zero and back. */
export const suspendAndResume = async () => {
  await using compute = await Compute.create({ name: "suspend-and-resume", image })
  await compute.suspend()
  const suspended = await compute.isReady()
  await compute.resume()
  return [suspended, await compute.isReady()]
}

/** From outside the cluster, while `kubectl port-forward svc/external-access 50051:50051` runs. */
export const externalAccess = async (host = "localhost", port = 50051) => {
  await using compute = await Compute.apply({ name: "external-access", image, host, port })
  await compute.ready()
  return (await compute.sendTensors(Tensor.randn([10, 10]))).message
}

/** What to tell a person: errors are classes, and each says what it is about and what to do. */
export const errorHandling = async (name: string) => {
  try {
    await using compute = await Compute.create({ name, image, signal: AbortSignal.timeout(120_000) })
    return (await compute.sendTensors(Tensor.randn([16, 16]))).message
  } catch (error) {
    if (error instanceof InvalidInput) return `wrong ${error.field}: ${error.problem}`
    if (error instanceof SendRejected) return `the server kept ${error.receipt.receivedTensorIds.length}`
    throw error
  }
}

if (import.meta.main) console.log(await scopedUse())
