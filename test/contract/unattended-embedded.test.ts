import { describe } from "@effect/vitest"
import { LocalCluster } from "../../src/LocalCluster.ts"
import { unattendedContract } from "./unattended.ts"

describe("without an operator, on the embedded cluster", () => {
  unattendedContract(LocalCluster.layerWith({ controller: false, timeouts: { deletion: "1 second" } }))
})
