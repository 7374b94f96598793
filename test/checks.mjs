// Runs the checks that precede the suites beside each other: the build, the types, lint and the import rules.

import { spawn } from "node:child_process"

/** The types are checked once, by `check`. Hence the build only writes. */
const checks = ["build:unchecked", "check", "lint", "cycles"]

/** Runs a script of `package.json`. Answers with its output when it fails. */
const run = (script) =>
  new Promise((resolve, reject) => {
    const child = spawn("npm", ["run", "--silent", script], { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output += text)
    child.on("error", reject)
    child.on("close", (code) => resolve(code === 0 ? undefined : `npm run ${script}: exit code ${code}\n${output}`))
  })

const failures = (await Promise.all(checks.map(run))).filter((failure) => failure !== undefined)
for (const failure of failures) console.error(failure)
process.exitCode = failures.length === 0 ? 0 : 1
