import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile, spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import packageJson from "../../../package.json" with { type: "json" }
import { text } from "../../support/bytes.js"
import { findProgram } from "../../support/programs.js"
import * as Tcp from "./tcp.js"
import { connect, run, serve } from "./wsmux.js"

const root = fileURLToPath(new URL("../../../", import.meta.url))

const shell = promisify(execFile)

const lines = readFileSync(`${root}Dockerfile`, "utf8").split("\n").filter((line) => /^[A-Z]/.test(line))

/** What the steps of the Dockerfile make: a folder in the place of the last image, and how a container starts. */
interface Image {
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  readonly entrypoint: ReadonlyArray<string>
  readonly cmd: ReadonlyArray<string>
}

/** Takes the steps of the Dockerfile in folders below `room`, one for each stage. */
const build = async (room: string): Promise<Image> => {
  const stages = new Map<string, string>()
  let folder = ""
  let workdir = "/"
  let env: Record<string, string> = {}
  let [entrypoint, cmd]: [ReadonlyArray<string>, ReadonlyArray<string>] = [[], []]
  const copy = (from: string, sources: ReadonlyArray<string>, to: string) => {
    for (const source of sources) {
      const target = join(folder, resolve(workdir, to))
      const isFolder = statSync(join(from, source)).isDirectory()
      cpSync(join(from, source), isFolder || !to.endsWith("/") ? target : join(target, basename(source)), {
        recursive: true
      })
    }
  }
  for (const line of lines) {
    const [, step = "", rest = ""] = /^(\w+) (.*)$/.exec(line) ?? []
    const words = rest.split(" ")
    switch (step) {
      case "FROM":
        folder = join(room, String(stages.size))
        stages.set(words[2] ?? "", folder)
        workdir = "/"
        env = {}
        break
      case "WORKDIR":
        workdir = resolve(workdir, rest)
        mkdirSync(join(folder, workdir), { recursive: true })
        break
      case "COPY": {
        const stage = /^--from=(.+)$/.exec(words[0]!)?.[1]
        const sources = words.slice(stage === undefined ? 0 : 1, -1)
        copy(stage === undefined ? root : stages.get(stage)!, sources, words.at(-1)!)
        break
      }
      case "RUN": {
        const cwd = join(folder, workdir)
        if (rest.startsWith("npm ci ") && process.env.CI === undefined) {
          symlinkSync(join(root, "node_modules"), join(cwd, "node_modules"))
          break
        }
        await shell("sh", ["-c", rest], { cwd }) // its failure tells the command and its output
        break
      }
      case "ENV": {
        const [name = "", value = ""] = rest.split("=")
        env[name] = value
        break
      }
      case "ENTRYPOINT":
        entrypoint = JSON.parse(rest) as ReadonlyArray<string>
        break
      case "CMD":
        cmd = JSON.parse(rest) as ReadonlyArray<string>
    }
  }
  return { folder, env, entrypoint, cmd }
}

// The steps are those of the Dockerfile, without docker. This shows that the files it copies are enough to build the
// command, and that those of the last stage are enough to run it. It does not show the base images: their Node and
// npm, the user `nonroot`, and that no shell is needed. The last test of this file shows those where docker runs.
// `npm ci` takes a minute, so a desk links the packages of this folder in its place, and CI runs it.
describe("the steps of the Dockerfile", () => {
  let room = ""
  let executable = ""
  let image: Image
  beforeAll(async () => {
    room = mkdtempSync(`${tmpdir()}/wsmux-`)
    image = await build(room)
    const [node, script] = image.entrypoint
    if (node !== "/nodejs/bin/node" || script === undefined) throw new Error(`${node} is not the image's Node`)
    executable = join(room, "entrypoint")
    const start = `exec '${process.execPath}' '${join(image.folder, script)}' "$@"`
    writeFileSync(executable, `#!/bin/sh\n${start}\n`, { mode: 0o755 })
  }, 600_000)
  afterAll(() => rmSync(room, { recursive: true, force: true }))

  const here = () => ({ executable, cwd: join(image.folder, "wsmux"), env: image.env })

  it.live("the steps of the Dockerfile make a command that prints its help when it has no arguments", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(image.cmd, here())
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toMatch(/^\$ wsmux <command>\n/)
      expect(yield* run(["--version"], here())).toMatchObject({ code: 0, stdout: `${packageJson.version}\n` })
    }))

  it.scopedLive("the steps of the Dockerfile make a command that carries a connection", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, [], { ...here(), last: "SIGTERM" })
      const client = yield* connect(server.url, [], here())
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      expect(text(yield* near.received(5))).toBe("hello")
    }))
})

describe("the Dockerfile", () => {
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
