import { afterAll, describe, expect, it } from "@effect/vitest"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { banner } from "../../support/globalSetup.js"
import { buildPeer } from "./build.js"

/** A program named "go" in place of Go and the module proxy. It writes the name of what it builds. */
const fakeGo = `#!${process.execPath}
const { appendFileSync, writeFileSync } = require("node:fs")
const args = process.argv.slice(2)
appendFileSync(process.env.CALLS, JSON.stringify({ args, vcs: process.env.GOVCS }) + String.fromCharCode(10))
const isReference = args.includes("-tags=reference")
if (isReference && process.env.REFUSES) {
  console.error("reading a module: 403 Forbidden")
  process.exit(1)
}
writeFileSync(args[args.indexOf("-o") + 1], isReference ? "reference" : "stand-in")
`
const folder = mkdtempSync(join(tmpdir(), "wsmux-go-"))
const bin = join(folder, "bin")
mkdirSync(bin)
writeFileSync(join(bin, "go"), fakeGo)
chmodSync(join(bin, "go"), 0o755)
afterAll(() => rmSync(folder, { recursive: true }))

/** Builds with the fake program, in a folder of the test's own. */
const buildIn = (name: string, env: NodeJS.ProcessEnv) => {
  const calls = join(folder, `${name}.calls`)
  const peer = buildPeer({ PATH: bin, CALLS: calls, ...env }, join(folder, name))
  const lines = readFileSync(calls, "utf8").trim().split("\n")
  return { peer, built: readFileSync(peer.path, "utf8"), calls: lines.map((line) => JSON.parse(line) as unknown) }
}

describe("buildPeer", () => {
  it("buildPeer uses the published package when a module proxy serves it", () => {
    const { built, calls, peer } = buildIn("served", {})
    expect([peer.kind, built, peer.reason]).toEqual(["reference", "reference", undefined])
    const flags = ["build", "-mod=mod", "-tags=reference", expect.stringMatching(/^-modfile=.*reference\.mod$/)]
    expect(calls).toEqual([{ args: [...flags, "-o", expect.any(String), "."], vcs: "*:off" }])
    expect(banner(peer)).toBe("INTEROP: against the published Go package wsmux")
  })

  it("buildPeer uses the stand-in and tells why when the module proxy refuses", () => {
    const { built, calls, peer } = buildIn("refused", { REFUSES: "1" })
    expect([peer.kind, built, calls.length]).toEqual(["stand-in", "stand-in", 2])
    expect(banner(peer)).toBe(
      "INTEROP: against our own Go stand-in, NOT the published Go package wsmux " +
        "(go build of the reference: reading a module: 403 Forbidden)"
    )
  })

  it("buildPeer fails when the module proxy refuses and WSMUX_GO_REFERENCE is 1", () => {
    expect(() => buildIn("demanded", { REFUSES: "1", WSMUX_GO_REFERENCE: "1" })).toThrow("403 Forbidden")
  })

  it("buildPeer asks no module proxy when WSMUX_GO_REFERENCE is 0", () => {
    const { calls, peer } = buildIn("unwanted", { WSMUX_GO_REFERENCE: "0" })
    expect(peer).toMatchObject({ kind: "stand-in", reason: "WSMUX_GO_REFERENCE=0" })
    expect(calls).toEqual([{ args: ["build", "-o", expect.any(String), "."] }])
  })

  it("banner tells that the suites are skipped when Go is missing", () => {
    expect(banner(null)).toBe("SKIPPED: every test against Go peers, because `go` is not installed here")
  })
})
