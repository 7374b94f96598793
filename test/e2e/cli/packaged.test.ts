import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import packageJson from "../../../package.json" with { type: "json" }
import { text } from "../../support/bytes.js"
import { findProgram } from "../../support/programs.js"
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

describe("the Dockerfile", () => {
  const lines = readFileSync(`${root}Dockerfile`, "utf8").split("\n").filter((line) => /^[A-Z]/.test(line))

  it("the Dockerfile copies only files that exist and that .dockerignore lets in", () => {
    const kept = readFileSync(`${root}.dockerignore`, "utf8").split("\n").filter((line) => line.startsWith("!"))
    const sources = lines.flatMap((line) => {
      const [, rest = ""] = /^COPY (?!--from)(.+) \S+$/.exec(line) ?? []
      return rest === "" ? [] : rest.split(" ")
    })
    expect(sources).toContain("src")
    expect(sources.filter((source) => !existsSync(root + source))).toEqual([])
    expect(sources.filter((source) => !kept.includes(`!${source}`))).toEqual([])
  })

  it("the Dockerfile ends in a stage without root and with the command as entry point", () => {
    const last = lines.slice(lines.lastIndexOf(lines.filter((line) => line.startsWith("FROM ")).at(-1) ?? ""))
    const known = /^(FROM|WORKDIR|COPY|RUN|ENV|USER|ENTRYPOINT|CMD) \S/
    expect(lines.filter((line) => !known.test(line))).toEqual([])
    expect(last).toContain("USER nonroot")
    expect(last.filter((line) => line.startsWith("RUN"))).toEqual([])
    const [, entry = "[]"] = /^ENTRYPOINT (.+)$/.exec(last.find((line) => line.startsWith("ENTRYPOINT ")) ?? "") ?? []
    expect(JSON.parse(entry)).toContain("/wsmux/dist/cli/bin.js")
  })

  const docker = findProgram("docker")
  const hasDocker = docker !== undefined && spawnSync(docker, ["info"], { timeout: 10_000 }).status === 0
  if (!hasDocker) {
    process.stderr.write("\n*** SKIPPED: the build of the Dockerfile, because no docker runs here ***\n\n")
  }

  it.runIf(hasDocker)("the Dockerfile makes an image that prints the version", () => {
    const image = `wsmux-test-${process.pid}`
    const call = (...args: ReadonlyArray<string>) => spawnSync(docker!, args, { cwd: root, encoding: "utf8" })
    try {
      expect(call("build", "--quiet", "--tag", image, ".")).toMatchObject({ status: 0 })
      expect(call("run", "--rm", image, "--version").stdout).toBe(`${packageJson.version}\n`)
    } finally {
      call("image", "rm", "--force", image)
    }
  }, 600_000)
})
