import { execFileSync } from "node:child_process"

/** Tells loudly what this machine cannot run; in CI nothing may be missing. */
export default function setup(): void {
  let version: string | undefined
  try {
    version = execFileSync("go", ["version"], { encoding: "utf8" }).trim()
  } catch {
    version = undefined
  }
  if (version === undefined) {
    if (process.env.CI !== undefined) throw new Error("Go is missing, and in CI the Go suites must run")
    process.stderr.write("\n*** SKIPPED: every test against Go peers, because `go` is not installed here ***\n\n")
  }
}
