import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify, stripVTControlCharacters } from "node:util"

const root = fileURLToPath(new URL("../../", import.meta.url))
const tsc = join(root, "node_modules/typescript/bin/tsc")

/** Guards against a hang alone: a busy machine takes minutes to install packages. */
const patience = 600_000

const run = async (cwd: string, file: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await promisify(execFile)(file, args, { cwd, timeout: patience, maxBuffer: 64 * 1024 * 1024 })).stdout

/** The output of a command that fails, or an empty text. The compiler reports on its standard output. */
const complaints = (command: Promise<string>): Promise<string> =>
  command.then(() => "", (error: { readonly stdout: string; readonly stderr: string }) => error.stdout + error.stderr)

const json = (...path: ReadonlyArray<string>) => JSON.parse(readFileSync(join(...path), "utf8"))

const echo = `
import { Session as RootSession, SessionConfig } from "effect-wsmux"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import type { OpenError } from "effect-wsmux/WsmuxError"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

export const open = (session: Session.Session): Effect.Effect<MuxStream, OpenError, Scope.Scope> => session.open()

// @ts-expect-error the types of the package are found: without them the compiler would allow everything
export const wrong = Session.makeClient(1)
// @ts-expect-error the types of its dependencies are found
export const alsoWrong = NodeTransport.fromWebSocket(1, 2)

const program = Effect.gen(function*() {
  const pair = yield* MemoryTransport.makePair()
  const client = yield* Effect.provideService(RootSession.makeClient(), Transport, pair.client)
  const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
  yield* Effect.fork(server.run((stream) => Stream.run(stream.readable, stream.writable)))
  const stream = yield* open(client)
  yield* Stream.make("over ", "there").pipe(Stream.encodeText, Stream.run(stream.writable))
  const answer = yield* stream.readable.pipe(Stream.decodeText(), Stream.mkString)
  const found = [SessionConfig.layer, NodeTransport.layer, NodeTransportServer.layer].map((layer) => typeof layer)
  console.log(JSON.stringify([answer, ...found]))
})

void Effect.runPromise(Effect.scoped(program))
`

/** A program that runs in browsers, too. Node.js 20 has no WebSocket, so the program dials none. */
const portable = `
import { Session } from "effect-wsmux"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import { Transport } from "effect-wsmux/Transport"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

const program = Effect.gen(function*() {
  const pair = yield* MemoryTransport.makePair()
  const client = yield* Effect.provideService(Session.makeClient(), Transport, pair.client)
  const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
  yield* Effect.fork(server.run((stream) => Stream.run(stream.readable, stream.writable)))
  const stream = yield* client.open()
  yield* Stream.make("over ", "there").pipe(Stream.encodeText, Stream.run(stream.writable))
  console.log(yield* stream.readable.pipe(Stream.decodeText(), Stream.mkString), typeof WebSocketTransport.layer)
})

void Effect.runPromise(Effect.scoped(program))
`

/** Node's answer to the import of each, in a process of its own where no alias of the tests is known. */
const imports = (names: ReadonlyArray<string>) =>
  `Promise.all(${JSON.stringify(names)}.map((name) => import(name).then(() => [name, "found"], (e) => [name, e.code])))
    .then((found) => console.log(JSON.stringify(found)))`

/** A package of this repository with the version that is installed here. */
const installed = (name: string): string => `${name}@${json(root, "node_modules", name, "package.json").version}`

/** Four installations by npm take minutes where its cache is empty. So a desk asks for them. */
const installs = process.env.CI !== undefined || process.env.WSMUX_INSTALL !== undefined

const quick = ["--prefer-offline", "--no-audit", "--no-fund"]

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** The installed packages of a project that none of the `others` brings. */
const broughtBy = (project: string, others: ReadonlyArray<string>): ReadonlyArray<string> => {
  const locked: Readonly<Record<string, LockedPackage>> = json(project, "node_modules/.package-lock.json").packages
  const names = Object.keys(locked).map((path) =>
    path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)
  )
  const known = new Set(others)
  for (const name of known) {
    const { dependencies, optionalDependencies } = locked[`node_modules/${name}`] ?? {}
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) known.add(dependency)
  }
  return names.filter((name) => !known.has(name)).sort()
}

// One at a time: compilers and installers would take the cores from each other.
describe.sequential("the package", { timeout: patience }, () => {
  let directory: string
  let tarball: string
  let packed: ReadonlyArray<string>

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "effect-wsmux-"))
    if (!existsSync(join(root, "dist"))) throw new Error("dist is missing: run `npm run build` first")
    // The script before packing would build anew, and take dist away from the tests beside this one.
    const answer = await run(root, "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", directory)
    const [{ filename, files }] = JSON.parse(answer) as [{ filename: string; files: Array<{ path: string }> }]
    tarball = join(directory, filename)
    packed = files.map(({ path }) => path)
  }, patience)

  afterAll(() => rm(directory, { recursive: true, force: true }))

  /** Adds the package, or packages of this repository, to a project. */
  const install = (project: string, ...packages: ReadonlyArray<string>) =>
    run(project, "npm", "install", ...quick, ...packages)

  /** The faults of a program and of all types that it imports. The compiler also writes the program to `built`. */
  const faultsOf = (project: string, program: string, module: string, resolution: string, ...options: Array<string>) =>
    complaints(run(
      project,
      process.execPath,
      tsc,
      ...["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--target", "es2022"],
      ...["--module", module, "--moduleResolution", resolution, "--outDir", "built"],
      ...options,
      `${program}.ts`
    ))

  it("holds the library, its sources, the bundled command and its papers", () => {
    expect([...new Set(packed.map((path) => path.split("/")[0]))].sort()).toEqual(
      ["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json", "src"]
    )
    const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.startsWith("cli/"))
      .map((path) => path.slice(0, -".ts".length))
    const expected = sources.flatMap((path) => [`src/${path}.ts`, `dist/${path}.js`, `dist/${path}.d.ts`])
    expect(packed.filter((path) => /^(src|dist)\/.*\.(js|ts)$/.test(path)).sort()).toEqual(
      [...expected, "dist/cli/bin.js", "dist/cli/run.js"].sort()
    )
    expect(packed.filter((path) => path.includes("/cli/")).sort()).toEqual([
      "dist/cli/THIRD-PARTY-LICENSES.txt",
      "dist/cli/bin.js",
      "dist/cli/rare/https-proxy-agent.cjs",
      "dist/cli/rare/ioredis.cjs",
      "dist/cli/rare/socks-proxy-agent.cjs",
      "dist/cli/rare/yaml.cjs",
      "dist/cli/run.js",
      "src/cli/PROXIES.md",
      "src/cli/README.md"
    ])
  })

  it("holds each page that README.md links to, but for the tests and findings of the repository", () => {
    const text = readFileSync(join(root, "README.md"), "utf8")
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path!)
    expect(links.length).toBeGreaterThan(20)
    expect(links.filter((path) => !packed.includes(path) && !/^(test|findings)\//.test(path))).toEqual([])
    expect(text).toMatch(/What lies in `test` and `findings` is in\s+the\s+repository/)
  })

  describe.runIf(installs).sequential("the package in a project", () => {
    const peers = Object.keys(json(root, "package.json").peerDependencies)
    const required = peers.filter((peer) => peer !== "@effect/platform-node")
    let project: string
    beforeAll(async () => {
      project = await mkdtemp(join(directory, "project-"))
      await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
      await writeFile(join(project, "portable.ts"), portable)
      await writeFile(join(project, "echo.ts"), echo)
      await install(project, tarball, ...required.map(installed))
    }, patience)

    it("the package has types that resolve when its optional peer is missing", async () => {
      expect(await faultsOf(project, "portable", "esnext", "bundler", "--lib", "es2022,dom")).toBe("")
    })

    it("the package runs a portable program when its optional peer is missing", async () => {
      expect(await run(project, process.execPath, "built/portable.js")).toBe("over there function\n")
    })

    it("the package brings no package of the command line", () => {
      // bufferutil brings node-gyp-build, and @types/ws brings the types of Node.js.
      expect(broughtBy(project, required)).toEqual([
        "@types/node",
        "@types/ws",
        "bufferutil",
        "effect-wsmux",
        "node-gyp-build",
        "undici-types",
        "ws"
      ])
    })

    describe.sequential("the package in a project with all peers", () => {
      beforeAll(() => install(project, ...peers.map(installed)), patience)

      for (const [module, resolution] of [["esnext", "bundler"], ["nodenext", "nodenext"]] as const) {
        it(`the package has types that resolve by ${resolution}, with those of its dependencies`, async () => {
          expect(await faultsOf(project, "echo", module, resolution)).toBe("")
        })
      }

      it("the package runs a program of Node.js", async () => {
        const answer = await run(project, process.execPath, "built/echo.js")
        expect(JSON.parse(answer)).toEqual(["over there", "function", "function", "function"])
      })

      it("the package lets its public modules be imported, and no others", async () => {
        const modules = readdirSync(join(root, "src")).filter((file) => file.endsWith(".ts") && file !== "index.ts")
        const hidden = ["internal/wire/frame", "internal/transport/memory", "cli/main", "cli/bin"]
        const expected = [
          ["effect-wsmux", "found"],
          ...modules.map((file) => [`effect-wsmux/${file.slice(0, -".ts".length)}`, "found"]),
          ...hidden.map((path) => [`effect-wsmux/${path}`, "ERR_PACKAGE_PATH_NOT_EXPORTED"]),
          ["effect-wsmux/src/Session.ts", "ERR_MODULE_NOT_FOUND"]
        ]
        const names = expected.map(([name]) => name!)
        const answer = await run(project, process.execPath, "--input-type=module", "--eval", imports(names))
        expect(JSON.parse(answer)).toEqual(expected)
      })
    })
  })

  describe.runIf(installs).sequential("the package with the lowest versions of its peers", () => {
    let project: string
    beforeAll(async () => {
      project = await mkdtemp(join(directory, "lowest-"))
      await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
      await writeFile(join(project, "echo.ts"), echo)
      const ranges = Object.entries<string>(json(root, "package.json").peerDependencies)
      await install(project, tarball, ...ranges.map(([name, range]) => `${name}@${range.replace("^", "")}`))
    }, patience)

    it("the package has types that resolve with the lowest versions of its peers", async () => {
      expect(await faultsOf(project, "echo", "nodenext", "nodenext")).toBe("")
    })

    it("the package runs a program of Node.js with the lowest versions of its peers", async () => {
      const answer = await run(project, process.execPath, "built/echo.js")
      expect(JSON.parse(answer)).toEqual(["over there", "function", "function", "function"])
    })
  })

  describe.runIf(installs).sequential("the package in a project with Effect 4", () => {
    let project: string
    beforeAll(async () => {
      project = await mkdtemp(join(directory, "four-"))
      await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
      await install(project, "effect@4.1.0")
    }, patience)

    it("npm names the range of Effect 3 when a project with Effect 4 installs the package", async () => {
      const answer = await complaints(install(project, tarball))
      expect(answer).toContain("ERESOLVE")
      expect(answer).toContain("Found: effect@4.1.0")
      expect(answer).toContain(`peer effect@"${json(root, "package.json").peerDependencies.effect}"`)
      expect(answer).toContain("from effect-wsmux@")
    })

    it("src/README.md lists every module of Effect that the package imports and Effect 4 lacks", async () => {
      const page = readFileSync(join(root, "src/README.md"), "utf8")
      const rows = [...page.slice(page.indexOf("## Effect 4")).matchAll(/^\| `(\w+)` \| .* \| (?:`(\w+)`)?.* \|$/gm)]
      const listed = rows.map(([, name]) => name!)
      const successors = rows.flatMap(([, , name]) => name === undefined ? [] : [`effect/${name}`])
      const names = new Set(
        packed.filter((path) => /^src\/.*\.ts$/.test(path)).flatMap((path) =>
          [...readFileSync(join(root, path), "utf8").matchAll(/"(effect\/\w+)"/g)].map(([, name]) => name!)
        )
      )
      const answer = await run(
        project,
        process.execPath,
        "--input-type=module",
        "--eval",
        imports([...names, ...successors])
      )
      const found: ReadonlyArray<readonly [string, string]> = JSON.parse(answer)
      const missing = found.filter(([, result]) => result !== "found").map(([name]) => name.slice("effect/".length))
      expect(successors.length).toBeGreaterThan(0)
      expect(missing.sort()).toEqual(listed.sort())
    })
  })

  it.runIf(installs)(
    "the package brings the command wsmux when it is installed globally, without its peers",
    async () => {
      const prefix = join(directory, "global")
      // The command is bundled. npm leaves out the peers by this option alone.
      await run(directory, "npm", "install", "--global", "--legacy-peer-deps", "--prefix", prefix, ...quick, tarball)
      const wsmux = join(prefix, "bin/wsmux")
      expect((await run(directory, wsmux, "--version")).trim()).toBe(json(root, "package.json").version)
      const help = stripVTControlCharacters(await run(directory, wsmux, "--help"))
      expect(help).toMatch(/\bserve\b/)
      expect(help).toMatch(/\bconnect\b/)
      // a use of a package that is a file of its own
      const file = join(directory, "serve.yaml")
      await writeFile(file, "listen: 127.0.0.1:0\ntarget: [\n")
      expect(await complaints(run(directory, wsmux, "config", "check", file))).toContain("serve.yaml:")
    }
  )
})
