import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import packageJson from "../../../package.json" with { type: "json" }
import { text } from "../../support/bytes.js"
import * as Tcp from "./tcp.js"
import { connect, logged, run, serve } from "./wsmux.js"

const root = fileURLToPath(new URL("../../../", import.meta.url))

/** Tells of tests that this machine cannot run. In CI they must run. */
const skipped = (what: string, why: string): void => {
  if (process.env.CI !== undefined) throw new Error(`${why}, and in CI ${what} must run`)
  process.stderr.write(`\n*** SKIPPED: ${what}, because ${why} ***\n\n`)
}

const canInject = (): boolean => {
  try {
    createRequire(import.meta.url).resolve("postject")
    return true
  } catch {
    return false
  }
}

const isPackable = canInject()
if (!isPackable) skipped("every test of the single executable", "postject is not installed: npm install")

describe.runIf(isPackable)("the single executable", () => {
  let room = ""
  let executable = ""
  beforeAll(() => {
    room = mkdtempSync(`${tmpdir()}/wsmux-`)
    const { status, stderr } = spawnSync(process.execPath, [`${root}src/cli/package.mjs`, `${room}/package`])
    if (status !== 0) throw new Error(stderr.toString())
    executable = `${room}/package/wsmux`
    mkdirSync(`${room}/empty`)
    mkdirSync(`${room}/files`)
    writeFileSync(`${room}/files/a.txt`, "hello")
  })
  afterAll(() => rmSync(room, { recursive: true, force: true }))

  const here = () => ({ executable, cwd: `${room}/empty` })

  it.live("the single executable prints its version when folder and environment are empty", () =>
    Effect.gen(function*() {
      const result = yield* run(["--version"], here())
      expect(result).toEqual({ code: 0, stdout: `${packageJson.version}\n`, stderr: "" })
    }))

  it.live("the single executable runs its demo when folder and environment are empty", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(["demo", "--dir", `${room}/files`], here())
      expect(code).toBe(0)
      expect(stdout).toMatch(/mismatches +0/)
    }))

  for (const workers of ["1", "2"]) {
    it.scopedLive(`the single executable carries a connection when serve has --workers ${workers}`, () =>
      Effect.gen(function*() {
        const server = yield* serve(yield* Tcp.echo, ["--workers", workers], { ...here(), last: "SIGTERM" })
        const client = yield* connect(server.url, [], here())
        const near = yield* Tcp.connect(client.port)
        yield* near.write("hello")
        expect(text(yield* near.received(5))).toBe("hello")
        expect(logged(server, "WARN")).toEqual([])
      }))
  }
})
