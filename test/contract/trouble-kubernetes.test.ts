import { describeWith } from "../kit/peers.ts"
import { real, troubleContract } from "./trouble.ts"

describeWith(["kubernetes"], "Pods that cannot start, on the real Kubernetes API", () => {
  troubleContract(real)
})
