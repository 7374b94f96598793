// Runs the suites of the runtimes and of the proxies. `--full` runs every pair, and waits for default time-outs.

import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url))
const args = process.argv.slice(2)
const rest = args.filter((arg) => arg !== "--full")
const WSMUX_RUNTIMES = rest.length < args.length ? "full" : "some"

process.exitCode =
  spawnSync(process.execPath, [vitest, "run", "--project", "runtimes", "--project", "newest", ...rest], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, WSMUX_RUNTIMES }
  }).status ?? 1
