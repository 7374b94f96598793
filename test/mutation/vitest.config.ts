import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const source = fileURLToPath(new URL("../../src/", import.meta.url))

/** Suites without a session run first and slow suites last, since the first failure ends the run of a mutant. */
class FastFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const rank = ({ moduleId }: TestSpecification) => {
      if (/(recvHalf|sendScheduler|sendHalf|streamProtocol)\.test\.ts$/.test(moduleId)) return 0
      return /(errors|windowTuning|flowControl|writes)\.test\.ts$/.test(moduleId) ? 2 : 1
    }
    return [...files].sort((a, b) => rank(a) - rank(b))
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
    include: ["**/*.test.ts"], // below the folder that Stryker names
    // suites of seconds would take hours for all mutants
    exclude: ["**/{keepAlive,simultaneousClose,reconnecting,workPerFrame}.test.ts"],
    isolate: false,
    sequence: { sequencer: FastFirst },
    testTimeout: 30_000
  }
})
