import { afterAll, beforeAll, describe, expect, it, vi } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { chromium } from "playwright-core"
import { programs } from "../../support/programs.js"
import type { Browser, Tab } from "./browser.js"
import { buildPage, buildServer, bundleOf } from "./build.js"
import { content, settings } from "./content.js"
import { launchFirefox } from "./firefox.js"
import type { Page } from "./page.js"
import { launchWebKit } from "./webkit.js"

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

const launchChromium = async (executablePath: string): Promise<Browser> => {
  const chrome = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
  })
  return {
    open: async () => {
      const page = await chrome.newPage()
      const complaints: Array<string> = []
      page.on("pageerror", (error) => complaints.push(String(error)))
      return {
        goto: (url) => page.goto(url),
        evaluate: (work) => page.evaluate(work),
        complaints,
        close: () => page.close()
      }
    },
    close: () => chrome.close()
  }
}

const { Chromium, Firefox, MiniBrowser, WebKitWebDriver, Xvfb } = programs

/** How each browser is started; undefined where it is missing. */
const browsers: ReadonlyArray<readonly [name: string, launch: (() => Promise<Browser>) | undefined]> = [
  ["Chromium", Chromium === undefined ? undefined : () => launchChromium(Chromium)],
  ["Firefox", Firefox === undefined ? undefined : () => launchFirefox(Firefox)],
  [
    "WebKit",
    MiniBrowser && WebKitWebDriver && Xvfb
      ? () => launchWebKit({ browser: MiniBrowser, driver: WebKitWebDriver, display: Xvfb })
      : undefined
  ]
]

/** Whether pages lose their WebSockets for a minute instead of 10 s. */
const isLong = process.env.WSMUX_BROWSER_MINUTE !== undefined

// The tests of WebKit wait for each other, and the time of each runs meanwhile.
describe.each(browsers)("a page in %s", { timeout: 300_000 }, (_name, launch) => {
  if (launch === undefined) return it.skip("page runs when the browser is installed", () => {})
  let browser: Browser
  let scripts: readonly [server: string, page: string]
  beforeAll(async () => {
    scripts = [await buildServer(), await buildPage()]
    browser = await launch()
  }, 60_000)
  afterAll(() => browser?.close())

  /** Loads the page from a new server, and runs some work in the page. */
  const inPage = async <A>(
    work: (page: Tab, output: () => string) => Promise<A>
  ): Promise<A> => {
    const { child, output, url } = await startServer(...scripts)
    const page = await browser.open()
    try {
      await page.goto(url)
      const result = await work(page, output)
      expect(page.complaints).toEqual([])
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
      const echoes = () => output().match(/^(echoed|DIFFERENT)$/gm) ?? []
      // the lines of the server come by a pipe, later than the last byte of the page
      await vi.waitFor(() => expect(echoes()).toHaveLength(20), { timeout: 30_000 })
      expect(echoes()).toEqual(Array.from({ length: 20 }, () => "echoed"))
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

  it("page keeps fewer bytes in flight when its peer speaks the dialect", () =>
    inPage(async (page) => {
      const [limited, unlimited] = await Promise.all([
        page.evaluate(() => window.page.stroke("auto")),
        page.evaluate(() => window.page.stroke("off"))
      ])
      console.log(`key stroke beside an upload: ${Math.round(limited)} ms, plain ${Math.round(unlimited)} ms`)
      expect(limited).toBeLessThan(unlimited / 2)
    }))

  it("page loses no byte and no stream when its WebSocket is reset again and again", () =>
    inPage(async (page) => {
      // a page gets no arguments
      const survive = isLong ? () => window.page.survive(60) : () => window.page.survive(10)
      const { bytes, echoes, faults, resumed } = await page.evaluate(survive)
      console.log(`${resumed} times resumed, ${echoes} echoes, ${bytes} bytes`)
      expect(faults).toEqual([])
      expect(resumed).toBeGreaterThan(isLong ? 20 : 3)
      expect(echoes).toBeGreaterThan(50)
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

  // Bundlers replace `import.meta.url` by a path of the machine that builds.
  it("bundle for browsers holds no import.meta of src", async () => {
    const { inputs } = await bundleOf(false)
    const ours = inputs.filter((file) => file.startsWith("src/"))
    expect(ours.length).toBeGreaterThan(50)
    const root = new URL("../../../", import.meta.url)
    expect(ours.filter((file) => readFileSync(new URL(file, root), "utf8").includes("import.meta"))).toEqual([])
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
