import { tmpdir } from "node:os"
import { join } from "node:path"

/**
 * @param {string} name
 * @param {string} suites the folder of the tests that must kill the mutants
 * @param {Array<string>} modules
 * @returns {import("@stryker-mutator/api/core").PartialStrykerOptions}
 */
export const mutation = (name, suites, modules) => ({
  testRunner: "vitest",
  vitest: { configFile: "test/mutation/vitest.config.ts", dir: suites, related: false },
  plugins: ["@stryker-mutator/vitest-runner"],
  mutate: modules.map((module) => `src/${module}.ts`),
  ignorePatterns: ["dist", "/test/bench", "/test/e2e", "/test/robustness", "/test/mutation/build"],
  coverageAnalysis: "perTest",
  concurrency: 2,
  timeoutMS: 20_000,
  dryRunTimeoutMinutes: 20,
  thresholds: { high: 95, low: 90, break: 85 },
  reporters: ["progress-append-only", "clear-text", "json"],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  jsonReporter: { fileName: `test/mutation/build/${name}.json` },
  // the runner would find the copies of the tests below test/
  tempDirName: join(tmpdir(), "effect-wsmux-mutation", name)
})
