import type { Reporter, TestCase, TestModule } from "vitest/node"

/** Ends a run with one line that scripts can read: `123 passed, 0 failed`. A line before names the skipped suites. */
export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>): void {
    let passed = 0
    let failed = errors.length
    let skipped = 0
    const suites = new Set<string>()
    for (const module of modules) {
      if (module.state() === "failed" && [...module.children.allTests("failed")].length === 0) failed++
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed") passed++
        else if (state === "failed") failed++
        else {
          skipped++
          suites.add(suiteOf(test))
        }
      }
    }
    const names = skipped > 0 ? `SKIPPED: ${[...suites].join("; ")}\n` : ""
    // the default reporter prints its own summary in this hook, too
    process.on("exit", () => {
      process.stdout.write(`${names}${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`)
    })
  }
}

/** The outermost suite of a test, or the test without a suite. */
const suiteOf = (test: TestCase): string => test.fullName.split(" > ")[0]!
