// Ends a CI run: reads what Vitest's JSON reporter wrote and prints `N passed, N failed` alone on the last line. In CI
// everything is prepared, so a test that was skipped counts as failed, and so does a file that could not be loaded.
import { readFileSync } from "node:fs"

const report = (() => {
  try {
    return JSON.parse(readFileSync(process.argv[2], "utf8"))
  } catch (error) {
    console.log(`There is no report of the tests: ${error.message}`)
    return { numPassedTests: 0, testResults: [{ name: "the run", status: "failed", assertionResults: [] }] }
  }
})()

let failed = 0
for (const file of report.testResults) {
  const name = file.name.replace(`${process.cwd()}/`, "")
  const others = file.assertionResults.filter(({ status }) => status !== "passed")
  for (const { fullName, status } of others) console.log(`${status}: ${name}: ${fullName}`)
  failed += others.length
  if (file.status !== "passed" && others.length === 0) {
    console.log(`failed: ${name} as a whole`)
    failed += 1
  }
}
console.log(`${report.numPassedTests} passed, ${failed} failed`)
process.exitCode = failed === 0 && report.numPassedTests > 0 ? 0 : 1
