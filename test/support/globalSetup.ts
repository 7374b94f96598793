import type { TestProject } from "vitest/node"
import { buildPeer, type GoPeer, hasGo } from "../interop/build.js"

const banners = {
  "reference": "INTEROP: against the published Go package wsmux",
  "stand-in": "INTEROP: against our own Go stand-in, because the published Go package cannot be had here",
  "missing": "SKIPPED: every test against Go peers, because `go` is not installed here"
}

/** Builds the Go peer, and tells loudly what this machine cannot run; in CI nothing may be missing. */
export default function setup(project: TestProject): void {
  let peer: GoPeer | null = null
  if (hasGo()) peer = buildPeer()
  else if (process.env.CI !== undefined) throw new Error("Go is missing, and in CI the Go suites must run")
  project.provide("goPeer", peer)
  process.stderr.write(`\n*** ${banners[peer?.kind ?? "missing"]} ***\n\n`)
}
