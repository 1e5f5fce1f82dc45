import { describeWith } from "../kit/peers.ts"
import { kubernetesWorld } from "../kit/worlds.ts"
import { lifecycleContract } from "./lifecycle.ts"

describeWith(["kubernetes", "pytorch"], "the lifecycle on the real Kubernetes API with PyTorch", () => {
  lifecycleContract(kubernetesWorld)
})
