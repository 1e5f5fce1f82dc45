import { describe } from "@effect/vitest"
import { embedded, troubleContract } from "./trouble.ts"

describe("Pods that cannot start, on the embedded cluster", () => {
  troubleContract(embedded)
})
