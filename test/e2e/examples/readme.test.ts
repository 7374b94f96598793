import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

it("README shows the program of testing.test.ts, which runs as a test", () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
  expect(read("../../../README.md")).toContain(`\`\`\`ts\n${read("./testing.test.ts")}\`\`\``)
})
