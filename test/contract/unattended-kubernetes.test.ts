import { describeWith } from "../kit/peers.ts"
import { unattendedWorld } from "../kit/worlds.ts"
import { unattendedContract } from "./unattended.ts"

describeWith(["kubernetes"], "without an operator, on the real Kubernetes API", () => {
  unattendedContract(unattendedWorld({ deletion: "1 second" }))
})
