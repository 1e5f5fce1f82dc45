import { describe } from "@effect/vitest"
import { describeWith } from "../kit/peers.ts"
import { kubernetesContract } from "./kubernetes.ts"
import * as World from "./World.ts"

describe("the Kubernetes contract, on the embedded cluster", () => kubernetesContract(World.embedded))

describeWith(["kubernetes"], "the Kubernetes contract, on the real API", () => kubernetesContract(World.real))
