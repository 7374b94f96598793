import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = fileURLToPath(new URL("../../src/", import.meta.url))

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
    testTimeout: 30_000
  }
})
