import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { commandOf, current, newestNode } from "./runtimes.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url))
const program = commandOf(newestNode)?.[0]

it.skipIf(newestNode === current || program === undefined)(`unit suite passes when ${newestNode} runs it`, async () => {
  const child = spawn(program!, [vitest, "run", "--project", "unit", "--no-color"], { cwd: root })
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")])
  expect(output, errors).toMatch(/^[1-9]\d* passed, 0 failed/m)
  expect(code, errors).toBe(0)
})
