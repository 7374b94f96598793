import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { commandOf, current, newestNode } from "./runtimes.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url))
const program = commandOf(newestNode)?.[0]

const suites: ReadonlyArray<readonly [name: string, args: ReadonlyArray<string>]> = [
  ["unit suite passes", ["--project", "unit"]],
  // The size of Node's buffer pool differs between the versions.
  ["memory suite passes", ["--project", "robustness", "--project", "attacks", "test/robustness/memory"]]
]

// One after the other: the second measures memory.
describe.sequential("newest Node", () => {
  for (const [what, args] of suites) {
    it.skipIf(newestNode === current || program === undefined)(`${what} when ${newestNode} runs it`, async () => {
      const child = spawn(program!, [vitest, "run", ...args, "--no-color"], { cwd: root })
      const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")])
      expect(output, errors).toMatch(/^[1-9]\d* passed, 0 failed/m)
      expect(code, errors).toBe(0)
    })
  }
})
