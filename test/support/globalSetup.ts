import type { TestProject } from "vitest/node"
import { buildPeer, type GoPeer, hasGo } from "../e2e/interop/build.js"
import { programs } from "./programs.js"

/** Builds the Go peer, and prints the suites that this machine cannot run. In CI a missing program is an error. */
export default function setup(project: TestProject): void {
  const peer = hasGo() ? buildPeer() : null
  if (peer === null && process.env.CI !== undefined) throw new Error("Go is missing, and in CI the Go suites must run")
  project.provide("goPeer", peer)
  process.stderr.write(`\n*** ${banner(peer)} ***\n\n`)
  for (const [name, path] of Object.entries(programs)) {
    if (path !== undefined) continue
    if (process.env.CI !== undefined) throw new Error(`${name} is missing, and in CI its tests must run`)
    process.stderr.write(`*** SKIPPED: every test with ${name}, because it is not installed here ***\n\n`)
  }
  if (process.env.CI === undefined && process.env.WSMUX_INSTALL === undefined) {
    process.stderr.write(
      "*** SKIPPED: the installations of the package by npm: `WSMUX_INSTALL=1 npm test` or CI runs them ***\n\n"
    )
  }
  if (project.vitest.projects.some(({ name }) => name === "runtimes")) return
  process.stderr.write(
    "*** SKIPPED: other runtimes, and proxies: `npm run test:runtimes` fetches and tests them ***\n\n"
  )
}

/** The line that tells which Go peer the suites run against, and why. */
export const banner = (peer: GoPeer | null): string => {
  switch (peer?.kind) {
    case "reference":
      return "INTEROP: against the published Go package wsmux"
    case "stand-in":
      return `INTEROP: against our own Go stand-in, NOT the published Go package wsmux (${peer.reason})`
    case undefined:
      return "SKIPPED: every test against Go peers, because `go` is not installed here"
  }
}
