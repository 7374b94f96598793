import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { type Browser, chromium } from "playwright-core"
import { programs } from "../../support/programs.js"
import { buildPage, buildServer, bundleOf } from "./build.js"
import { content, settings } from "./content.js"
import type { Page } from "./page.js"

declare const window: { readonly page: Page }

const digest = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex")

interface Server {
  readonly child: ChildProcess
  readonly url: string
  readonly output: () => string
}

/** Starts a server for one test: one of the tests kills its server. */
const startServer = async (script: string, page: string): Promise<Server> => {
  const child = spawn(process.execPath, [script, page], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  child.stdout.on("data", (data) => output += data)
  while (!output.includes("Listening on")) await once(child.stdout, "data")
  return { child, url: /http:\/\/127\.0\.0\.1:\d+/.exec(output)![0], output: () => output }
}

describe.skipIf(programs.Chromium === undefined)("a page in a browser", () => {
  let browser: Browser
  let scripts: readonly [server: string, page: string]
  beforeAll(async () => {
    scripts = [await buildServer(), await buildPage()]
    browser = await chromium.launch({
      executablePath: programs.Chromium!,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    })
  }, 30_000)
  afterAll(() => browser?.close())

  /** Loads the page from a new server, and runs some work in the page. */
  const inPage = async <A>(
    work: (page: { evaluate: <B>(f: () => Promise<B>) => Promise<B> }, output: () => string) => Promise<A>
  ): Promise<A> => {
    const { child, output, url } = await startServer(...scripts)
    const page = await browser.newPage()
    const complaints: Array<string> = []
    page.on("pageerror", (error) => complaints.push(String(error)))
    try {
      await page.goto(url)
      const result = await work(page, output)
      expect(complaints).toEqual([])
      return result
    } finally {
      await page.close()
      if (child.kill("SIGKILL")) await once(child, "exit")
    }
  }

  it("page moves 32 MiB each way when it opens 50 streams", () =>
    inPage(async (page) => {
      const size = Math.ceil(32 * 1024 * 1024 / 50)
      const results = await page.evaluate(() => window.page.transfer(50, Math.ceil(32 * 1024 * 1024 / 50)))
      expect(results).toHaveLength(50)
      for (const [i, [sent, received]] of results.entries()) {
        expect([sent, received]).toEqual([digest(content(size, i)), digest(content(size, i))])
      }
      const answers = Array.from({ length: 50 }, (_, i) => digest(content(size, 2 * i + 1)))
      expect(results.map(([, , answer]) => answer).sort()).toEqual(answers.sort())
    }))

  it("page accepts 20 streams when the server opens them", () =>
    inPage(async (page, output) => {
      expect(await page.evaluate(() => window.page.accept(20))).toBe(20)
      expect(output().match(/^(echoed|DIFFERENT)$/gm)).toEqual(Array.from({ length: 20 }, () => "echoed"))
    }))

  it("page delays no other stream when it reads one stream slowly", () =>
    inPage(async (page) => {
      const result = await page.evaluate(() => window.page.readSlowly())
      expect(result.digest).toBe(digest(content(2_000_000, 7)))
      expect(result.echoes).toBeGreaterThan(20)
    }))

  it("page lets windows grow, and ends with KeepAliveExpired when the server is frozen", () =>
    inPage(async (page) => {
      const { closed, features, window: grown } = await page.evaluate(() => window.page.freeze())
      expect(features).toContain("ping")
      expect(grown).toBeGreaterThan(settings.streamBufferSize)
      expect(closed).toBe("KeepAliveExpired")
    }))

  it("page gets typed errors when the server is killed", () =>
    inPage(async (page) => {
      const errors = await page.evaluate(() => window.page.lose())
      expect(errors).toMatchObject({ closed: "TransportFailure" })
      expect(errors.read).toMatch(/^BrokenPipe: .*cannot read stream 1: the connection was lost \(code 1006\)$/)
      expect(errors.write).toMatch(/^BrokenPipe: .*cannot write stream 1: the connection was lost \(code 1006\)$/)
      expect(errors.open).toMatch(/^TransportFailure: the connection was lost \(code 1006\)$/)
      expect(errors.again).toMatch(
        /^ConnectFailure: cannot connect to ws:\/\/127\.0\.0\.1:\d+\/kill: the socket failed$/
      )
    }))
})

describe("the bundle for browsers", () => {
  it("bundle for browsers holds no file of src/internal/transport/node", async () => {
    const { inputs } = await bundleOf(false)
    const ours = inputs.filter((file) => file.includes("internal/transport/"))
    expect(ours).toContain("src/internal/transport/standardTransport.ts")
    expect(ours.filter((file) => file.includes("/node/"))).toEqual([])
  })

  it("bundle for browsers has the size that the README names", async () => {
    const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8")
    const [, alone, whole] = /(\d+) KB without Effect, (\d+) KB with it/.exec(readme)!
    const sizes = [(await bundleOf(false)).size, (await bundleOf(true)).size]
    console.log(`bundle, minified and gzipped: ${sizes[0]} bytes without Effect, ${sizes[1]} with it`)
    expect(sizes[0]! / 1000 / Number(alone)).toBeCloseTo(1, 1)
    expect(sizes[1]! / 1000 / Number(whole)).toBeCloseTo(1, 1)
  })
})
