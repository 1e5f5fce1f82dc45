import { defineConfig } from "vitest/config"

const conditions = ["effect-kpu-source"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    reporters: ["default", "./test/kit/SkippedReporter.ts"],
    silent: "passed-only"
  }
})
