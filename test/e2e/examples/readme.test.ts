import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

it.each(["testing", "firewall", "rpc", "shell", "upload"])(
  "the README shows the %s test beside this one, which runs",
  (name) => {
    const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
    expect(read("../../../README.md")).toContain(`\`\`\`ts\n${read(`./${name}.test.ts`)}\`\`\``)
  }
)
