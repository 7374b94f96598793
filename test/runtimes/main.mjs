// Runs the suites of the runtimes. `--full` runs every pair of them, and the unit tests on the newest Node.

import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { commandOf, names } from "./runtimes.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url))
const args = process.argv.slice(2)
const isFull = args.includes("--full")

/** Runs Vitest by a runtime; false when a test failed. */
const run = (node, env, ...options) =>
  spawnSync(node, [vitest, "run", "--typecheck.enabled=false", ...options], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env }
  }).status === 0

const rest = args.filter((arg) => arg !== "--full")
const passed = [
  run(process.execPath, { WSMUX_RUNTIMES: isFull ? "full" : "some" }, "--project", "runtimes", ...rest)
]
const newest = commandOf(names.filter((name) => /^node\d+$/.test(name)).sort().at(-1))
if (isFull && newest !== undefined) passed.push(run(newest[0], {}, "--project", "unit"))
process.exitCode = passed.every((each) => each) ? 0 : 1
