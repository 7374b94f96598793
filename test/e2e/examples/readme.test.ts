import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

for (const name of ["testing.test.ts", "labels.ts"]) {
  it(`README shows the program of ${name}, which runs as a test`, () => {
    const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
    expect(read("../../../README.md")).toContain(`\`\`\`ts\n${read(`./${name}`)}\`\`\``)
  })
}
