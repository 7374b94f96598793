import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const source = fileURLToPath(new URL("../../src/", import.meta.url))

/** The slow suites come last, as the first failure ends the run of a mutant. */
class FastFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const isSlow = ({ moduleId }: TestSpecification) => /(errors|windowTuning|windows|writes)\.test\.ts$/.test(moduleId)
    return [...files].sort((a, b) => Number(isSlow(a)) - Number(isSlow(b)))
  }
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-wsmux$/, replacement: `${source}index.ts` },
      { find: /^effect-wsmux\/(.*)$/, replacement: `${source}$1.ts` }
    ]
  },
  test: {
    include: ["**/*.test.ts"], // of the folder that Stryker names
    // What takes seconds would take hours for all mutants.
    exclude: ["**/{keepAlive,lifeAndDeath,reconnecting,workPerFrame}.test.ts"],
    isolate: false,
    sequence: { sequencer: FastFirst },
    testTimeout: 30_000
  }
})
