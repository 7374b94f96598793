import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"

/**
 * The minor versions of `ws` with which the suites have run on the fast path. `wsInternals.ts` uses private parts of
 * `ws`, so another version needs a run of `test/sockets` and of `npm run bench` before it is added here.
 */
const tested = ["8.23"]

const json = (path: string | URL) => JSON.parse(readFileSync(path, "utf8"))
const minorOf = (version: string) => version.split(".").slice(0, 2).join(".")

describe("ws", () => {
  it("ws is installed in a version that the fast path of NodeTransport was tested with", () => {
    const { version } = json(createRequire(import.meta.url).resolve("ws/package.json"))
    const advice = `ws ${version} is untested: see test/package/ws.test.ts`
    expect(tested.includes(minorOf(version)), advice).toBe(true)
  })

  it("package.json admits the tested versions of ws and no other", () => {
    const { dependencies } = json(new URL("../../package.json", import.meta.url))
    expect(tested.map((minor) => `~${minor}.0`).join(" || ")).toBe(dependencies.ws)
  })
})
