import { describe } from "@effect/vitest"
import { embeddedWorld } from "../kit/worlds.ts"
import { lifecycleContract } from "./lifecycle.ts"

describe("the lifecycle on the embedded cluster", () => {
  lifecycleContract(embeddedWorld)
})
