import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = fileURLToPath(new URL("./src/", import.meta.url))

/** A project holds the suites below one folder of `test`. */
const project = (name: string, globalSetup: ReadonlyArray<string> = []) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], globalSetup: [...globalSetup] }
})

/** Suites that start peers and servers learn from this set-up which of these the machine has. */
const programs = ["test/support/globalSetup.ts"]

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-wsmux$/, replacement: `${source}index.ts` },
      { find: /^effect-wsmux\/(.*)$/, replacement: `${source}$1.ts` }
    ]
  },
  test: {
    reporters: ["default", "./test/support/plainReporter.ts"],
    sequence: { concurrent: true },
    // Real processes and sockets share few cores with everything else that runs: only what hangs shall fail by time.
    testTimeout: 120_000,
    projects: [
      project("unit"),
      project("sockets"),
      project("e2e", programs),
      project("robustness"),
      project("package"),
      {
        extends: true,
        test: {
          name: "types",
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ["test/types/**/*.test-d.ts"],
            tsconfig: "test/tsconfig.json"
          }
        }
      }
    ]
  }
})
