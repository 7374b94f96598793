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

const run = async (cwd: string, file: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await promisify(execFile)(file, args, { cwd, timeout: 200_000, maxBuffer: 64 * 1024 * 1024 })).stdout

/** What a failed command had to say, or nothing: tsc complains on its standard output. */
const complaints = (command: Promise<string>): Promise<string> =>
  command.then(() => "", (error: { readonly stdout: string; readonly stderr: string }) => error.stdout + error.stderr)

const echo = `
import { Frame, Session as RootSession } from "effect-wsmux"
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

// @ts-expect-error the types are those of the package: were they not found, everything would be allowed
export const wrong = Session.makeClient(1)
// @ts-expect-error and so are the types that the package takes from others
export const alsoWrong = NodeTransport.fromWebSocket(1, 2)

const program = Effect.gen(function*() {
  const pair = yield* MemoryTransport.makePair()
  const client = yield* Effect.provideService(RootSession.makeClient(), Transport, pair.client)
  const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
  yield* Effect.fork(server.run((stream) => Stream.run(stream.readable, stream.writable)))
  const stream = yield* open(client)
  yield* Stream.make("over ", "there").pipe(Stream.encodeText, Stream.run(stream.writable))
  const answer = yield* stream.readable.pipe(Stream.decodeText(), Stream.mkString)
  const types = [typeof Frame.decode, typeof NodeTransport.layer, typeof NodeTransportServer.layer]
  console.log(JSON.stringify([answer, ...types]))
})

void Effect.runPromise(Effect.scoped(program))
`

/** Node's answer to the import of each, in a process of its own where no alias of the tests is known. */
const imports = (names: ReadonlyArray<string>) =>
  `Promise.all(${JSON.stringify(names)}.map((name) => import(name).then(() => [name, "found"], (e) => [name, e.code])))
    .then((found) => console.log(JSON.stringify(found)))`

describe("the package, installed into an empty project", { timeout: 120_000 }, () => {
  let directory: string
  let project: string
  let packed: ReadonlyArray<string>

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "effect-wsmux-"))
    if (!existsSync(join(root, "dist"))) throw new Error("dist is missing: run `npm run build` first")
    // The script before packing would build anew, and take dist away from the tests beside this one.
    const answer = await run(root, "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", directory)
    const [tarball] = JSON.parse(answer) as [{ filename: string; files: Array<{ path: string }> }]
    packed = tarball.files.map(({ path }) => path)
    project = await mkdtemp(join(directory, "project-"))
    await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
    await writeFile(join(project, "echo.ts"), echo)
    const { peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const peers = Object.keys(peerDependencies).map((name) => {
      const { version } = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"))
      return `${name}@${version}`
    })
    const quick = ["--prefer-offline", "--no-audit", "--no-fund"]
    await run(project, "npm", "install", ...quick, join(directory, tarball.filename), ...peers)
  }, 240_000)

  afterAll(() => rm(directory, { recursive: true, force: true }))

  it("holds what is built, its sources and its papers, and nothing else", () => {
    expect([...new Set(packed.map((path) => path.split("/")[0]))].sort()).toEqual(
      ["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json", "src"]
    )
    const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => path.slice(0, -".ts".length))
    const expected = sources.flatMap((path) => [`src/${path}.ts`, `dist/${path}.js`, `dist/${path}.d.ts`])
    expect(packed.filter((path) => /^(src|dist)\/.*\.(js|ts)$/.test(path)).sort()).toEqual(expected.sort())
  })

  for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]] as const) {
    it(`has types that resolve by ${resolution}, down to those of its dependencies`, async () => {
      const strict = ["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--target", "es2022"]
      const options = [...strict, "--module", module, "--moduleResolution", resolution, "--noEmit"]
      expect(await complaints(run(project, process.execPath, tsc, ...options, "echo.ts"))).toBe("")
    })
  }

  it("runs", async () => {
    const options = ["--module", "nodenext", "--target", "es2022", "--noCheck", "--outDir", "built"]
    await run(project, process.execPath, tsc, ...options, "echo.ts")
    const answer = ["over there", "function", "function", "function"]
    expect(JSON.parse(await run(project, process.execPath, "built/echo.js"))).toEqual(answer)
  })

  it("lets its public modules be imported, and nothing else", async () => {
    const modules = readdirSync(join(root, "src")).filter((file) => file.endsWith(".ts") && file !== "index.ts")
    const hidden = ["internal/outbox", "internal/transport/memory", "cli/main", "cli/bin"]
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

  it("brings the command wsmux, which tells what it can do", async () => {
    const help = stripVTControlCharacters(await run(project, join(project, "node_modules/.bin/wsmux"), "--help"))
    expect(help).toMatch(/\bserve\b/)
    expect(help).toMatch(/\bconnect\b/)
  })
})
