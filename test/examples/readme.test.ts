import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

it("the README shows the test beside this one, which runs", () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
  expect(read("../../README.md")).toContain(`\`\`\`ts\n${read("./testing.test.ts")}\`\`\``)
})
