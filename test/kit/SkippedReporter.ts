/**
 * A Vitest reporter that names, at the end of a run, what was skipped and why: a green run of half the tests should not
 * look like a green run. The reason is what stands in brackets at the end of a skipped suite's name (`describeWith` puts
 * it there), or the note of `context.skip`.
 */
import type { Reporter, TestCase, TestModule } from "vitest/node"

const reasonOf = (test: TestCase): string => {
  const result = test.result()
  if (result.state === "skipped" && result.note) return result.note
  for (let task: TestCase | TestCase["parent"] | TestModule = test; task.type !== "module"; task = task.parent) {
    const bracketed = task.name.match(/\[([^\]]+)\]$/)
    if (bracketed !== null) return bracketed[1]!
  }
  return "no reason is given"
}

export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const byReason = new Map<string, { tests: number; files: Set<string> }>()
    for (const module of modules) {
      for (const test of module.children.allTests("skipped")) {
        const reason = reasonOf(test)
        const entry = byReason.get(reason) ?? { tests: 0, files: new Set() }
        entry.tests += 1
        entry.files.add(module.relativeModuleId)
        byReason.set(reason, entry)
      }
    }
    for (const [reason, { files, tests }] of byReason) {
      console.log(`Skipped ${tests} ${tests === 1 ? "test" : "tests"}: ${reason} (${[...files].join(", ")})`)
    }
  }
}
