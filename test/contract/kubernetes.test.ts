import { describeWith } from "../kit/peers.ts"
import { kubernetesContract } from "./kubernetes.ts"
import * as World from "./World.ts"

describeWith(["kubernetes"], "the Kubernetes contract, on the real API", () => kubernetesContract(World.real))
