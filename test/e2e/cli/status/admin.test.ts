import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Status from "effect-wsmux/cli/status/status"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Browser, chromium } from "playwright-core"
import { programs } from "../../../support/programs.js"
import { secret as relaySecret, serveAgent, tokenOf } from "../../../support/relay.js"
import { patience, within } from "../../../support/within.js"
import { startRelays } from "../relays.js"
import * as Tcp from "../tcp.js"
import { connect, run, serve, start, type Wsmux } from "../wsmux.js"

const secret = "correct-horse-battery-staple"
const withPage = ["--admin", "127.0.0.1:0"]

/** The address of the status page, as the log tells. */
const pageOf = (wsmux: Wsmux) => Effect.map(wsmux.awaitLine(/status page: (http:\/\/\S+)\//), ([, url]) => url!)

const get = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url)
    return { status: response.status, text: await response.text(), headers: response.headers }
  })

const decode = Schema.decodeUnknownSync(Schema.parseJson(Status.Status), { onExcessProperty: "error" })

/** Asks every 20 ms until an answer passes. */
const until = <A>(ask: Effect.Effect<A>, passes: (answer: A) => boolean, awaited: string): Effect.Effect<A> =>
  ask.pipe(
    Effect.repeat(Schedule.addDelay(Schedule.recurUntil(passes), () => 20)),
    Effect.timeoutFail({ duration: "15 seconds", onTimeout: () => new Error(`not within 15 s: ${awaited}`) }),
    Effect.orDie
  )

const statusOf = (page: string) => Effect.map(get(`${page}/status.json`), ({ text }) => decode(text))

const untilStatus = (page: string, passes: (status: Status.Status) => boolean, awaited: string) =>
  until(statusOf(page), passes, awaited)

const folder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("wsmux --admin", () => {
  it.scopedLive("wsmux serve tells its sessions, users, forwards and streams when it has --admin", () =>
    Effect.gen(function*() {
      const rules = join(yield* folder, "rules.yaml")
      const echo = yield* Tcp.echo
      const digest = createHash("sha256").update(secret).digest("hex")
      writeFileSync(rules, `users: {ada: {tokens: ["${digest}"]}}`)
      const server = yield* serve(echo, ["--rules", rules, ...withPage])
      const page = yield* pageOf(server)
      const client = yield* connect(server.url, ["--keep-alive", "1s", "--token", secret, ...withPage])
      const clientPage = yield* pageOf(client)
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      yield* near.received(5)
      const status = yield* untilStatus(
        page,
        ({ streams, total }) => total.bytesOut >= 5 && streams.length === 1,
        "an echo"
      )
      expect(status).toMatchObject({
        command: "serve",
        ready: true,
        readiness: "listening",
        address: server.url,
        sessions: [{ number: 1, user: "ada", dialect: "native", state: "up", streams: 1, bytesIn: 5, bytesOut: 5 }],
        forwards: [{ option: "--target", target: `127.0.0.1:${echo}` }],
        streams: [{ session: 1, state: "Open", to: `127.0.0.1:${echo}`, bytesIn: 5, bytesOut: 5 }],
        lastEnd: null
      })
      expect(status.streams[0]!.from).toBe(status.sessions[0]!.peer)
      const told = yield* untilStatus(clientPage, ({ sessions }) => sessions[0]?.roundTripMillis !== null, "a ping")
      expect(told).toMatchObject({
        command: "connect",
        address: server.url,
        forwards: [{ option: "--listen", listen: `127.0.0.1:${client.port}` }],
        streams: [{ from: expect.stringMatching(/^127\.0\.0\.1:/), to: "--target", bytesIn: 5, bytesOut: 5 }]
      })
      yield* client.signal("SIGTERM")
      const { lastEnd, sessions } = yield* untilStatus(page, ({ lastEnd }) => lastEnd !== null, "the end")
      expect([sessions, lastEnd?.reason]).toEqual([[], expect.stringContaining("closed")])
    }))

  it.scopedLive("wsmux answers 503 at /healthz while no session is up, and while a server drains", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, withPage)
      const page = yield* pageOf(server)
      expect(yield* get(`${page}/healthz`)).toMatchObject({ status: 200, text: "listening\n" })
      const client = yield* connect(server.url, ["--reconnect", ...withPage])
      const clientPage = yield* pageOf(client)
      expect(yield* get(`${clientPage}/healthz`)).toMatchObject({ status: 200, text: "connected\n" })
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      yield* near.received(5)
      yield* server.signal("SIGTERM") // the connection goes on for the grace
      yield* server.awaitLine(/taking no more clients/)
      expect(yield* get(`${page}/healthz`)).toMatchObject({ status: 503, text: expect.stringMatching(/^draining: /) })
      yield* server.signal("SIGKILL")
      yield* server.exit
      const { text } = yield* until(get(`${clientPage}/healthz`), ({ status }) => status === 503, "the loss")
      expect(text).toMatch(/lost|cannot connect/)
    }))

  it.scopedLive("wsmux writes metrics for Prometheus, and refuses a foreign host and other methods", () =>
    Effect.gen(function*() {
      const page = yield* pageOf(yield* serve(1, withPage))
      const { headers, text } = yield* get(`${page}/metrics`)
      expect(headers.get("content-type")).toBe("text/plain; version=0.0.4")
      expect(text).toBe("") // no session has begun
      expect(yield* Effect.promise(() => fetch(`${page}/metrics`, { method: "POST" }))).toMatchObject({ status: 405 })
      expect(yield* Effect.promise(() => fetch(`${page}/status.json`, { method: "HEAD" }))).toMatchObject({
        status: 200
      })
      expect((yield* get(page.replace("127.0.0.1", "localhost"))).status).toBe(200)
    }))

  it.scopedLive("wsmux serve --workers gathers the sessions and metrics of its workers", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, [...withPage, "--workers", "2"], { last: "SIGTERM" })
      const page = yield* pageOf(server)
      const clients = yield* Effect.all([connect(server.url), connect(server.url)])
      for (const { port } of clients) {
        const near = yield* Tcp.connect(port)
        yield* near.write("hello")
        yield* near.received(5)
      }
      const { sessions, streams, total } = yield* untilStatus(page, ({ total }) => total.bytesOut === 10, "two echoes")
      expect(sessions.map(({ worker }) => worker).sort()).toEqual([1, 2])
      expect(streams.map(({ worker }) => worker).sort()).toEqual([1, 2])
      expect(total).toMatchObject({ sessions: 2, streams: 2, bytesIn: 10 })
      const { text } = yield* get(`${page}/metrics`)
      expect(text).toContain("wsmux_sessions{role=\"server\"} 2\n")
      expect(yield* get(`${page}/healthz`)).toMatchObject({ status: 200 })
    }))

  it.scopedLive("wsmux shows no secret at any page when URL, header and token are secret", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, ["--token", secret, ...withPage])
      const url = `${server.url.replace("://", `://user:${secret}@`)}/?token=${secret}`
      const client = yield* connect(url, [
        "--token",
        secret,
        "--header",
        `x-key: ${secret}`,
        ...withPage,
        "--reconnect"
      ])
      const pages = [yield* pageOf(server), yield* pageOf(client)]
      const all = Effect.forEach(
        pages,
        (page) => Effect.forEach(["/", "/healthz", "/metrics", "/status.json"], (path) => get(`${page}${path}`))
      )
      expect(JSON.stringify(yield* all)).not.toContain(secret)
      yield* server.signal("SIGKILL")
      yield* server.exit
      pages.shift()
      yield* until(get(`${pages[0]}/healthz`), ({ status }) => status === 503, "the loss")
      expect(JSON.stringify(yield* all)).not.toContain(secret)
    }))

  it.scopedLive("wsmux exits with 1 when the port of --admin is in use", () =>
    Effect.gen(function*() {
      const { port } = yield* Tcp.listen
      const args = ["serve", "--listen", "127.0.0.1:0", "--target", "127.0.0.1:1", "--admin", `127.0.0.1:${port}`]
      const complaint = `wsmux: cannot listen on 127.0.0.1:${port}: address already in use (EADDRINUSE)\n`
      expect(yield* run(args)).toEqual({ code: 1, stdout: "", stderr: complaint })
    }))
})

describe("the status page in Chromium", () => {
  if (programs.Chromium === undefined) return it.skip("status page runs when Chromium is installed", () => {})
  let browser: Browser
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: programs.Chromium!,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    })
  }, 60_000)
  afterAll(() => browser?.close())

  /** Opens a page. Its complaints are errors of the script, violations of the policy, and requests elsewhere. */
  const open = (url: string, colorScheme: "light" | "dark" = "light") =>
    Effect.gen(function*() {
      const complaints: Array<string> = []
      const page = yield* Effect.acquireRelease(
        Effect.promise(() => browser.newPage({ colorScheme })),
        (page) => Effect.promise(() => page.close())
      )
      page.on("pageerror", (error) => complaints.push(String(error)))
      page.on("console", (message) => {
        if (message.type() === "error" && !/ERR_CONNECTION_(REFUSED|RESET)/.test(message.text())) {
          complaints.push(message.text())
        }
      })
      page.on("request", (request) => {
        if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(request.url())
      })
      yield* Effect.promise(() => page.goto(`${url}/`))
      const shows = (selector: string, text: RegExp) =>
        Effect.promise(() => page.locator(selector, { hasText: text }).first().waitFor({ timeout: 15_000 }))
      return { page, complaints, shows }
    })

  it.scopedLive("status page shows the command live, and tells when the command has ended", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, withPage)
      const { complaints, shows } = yield* open(yield* pageOf(server))
      yield* shows("#readiness.good", /^listening$/)
      yield* shows("#sessions.empty .none", /No session is open/)
      const client = yield* connect(server.url)
      yield* shows("#sessions td", /^native$/)
      const near = yield* Tcp.connect(client.port)
      yield* near.write("x".repeat(2048))
      yield* near.received(2048)
      yield* shows("#streams td", /^2\.0 KiB$/)
      yield* shows("#rate-in", /^0 B\/s$/)
      yield* client.signal("SIGTERM")
      yield* shows("#last-end", /closed/)
      yield* server.signal("SIGKILL")
      yield* shows("#readiness.bad", /^no answer for /)
      expect(complaints).toEqual([])
    }))

  it.scopedLive("status page shows the nodes and names of a relay", () =>
    Effect.gen(function*() {
      const file = join(yield* folder, "secret")
      writeFileSync(file, relaySecret)
      const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file, ...withPage])
      const [, ws] = yield* relay.awaitLine(/^listening on (ws:\S+),/)
      const { complaints, shows } = yield* open(yield* pageOf(relay))
      yield* shows("#names.empty .none", /No agent is connected/)
      yield* serveAgent(`${ws}/`, "web", (_request, response) => response.end(), { program: "p" })
      yield* shows("#names td", /^web$/)
      yield* shows("#nodes td", /^up$/)
      yield* shows("#total-agents", /^1$/)
      expect(complaints).toEqual([])
    }))

  const withRedis = it.scopedLive.skipIf(programs.Redis === undefined)
  withRedis("status page shows the agents of two relays when they share a Redis", () =>
    Effect.gen(function*() {
      const { relays } = yield* startRelays(2).pipe(within(patience, "two relays that listen"))
      const [first, second] = [relays[0]!, relays[1]!]
      yield* serveAgent(first.ws, "near", (_request, response) => response.end(), { program: "p" })
      yield* serveAgent(second.ws, "far", (_request, response) => response.end(), { program: "p" })
      const token = tokenOf("both") // a newer one would take the place of the other agent
      yield* serveAgent(second.ws, "both", (_request, response) => response.end(), { program: "p", token })
      yield* serveAgent(first.ws, "both", (_request, response) => response.end(), { program: "q", token })
      const { complaints, page, shows } = yield* open(first.admin.replace(/\/$/, ""))
      const cells = (table: string) =>
        Effect.promise(() =>
          page.locator(`${table} tbody tr`).evaluateAll((rows) =>
            rows.map((row) => Array.from(row.querySelectorAll("td"), ({ textContent }) => textContent))
          )
        )
      yield* shows("#total-agents", /^4$/)
      for (const name of ["near", "far", "both"]) yield* shows("#names td", new RegExp(`^${name}$`))
      const nodes = yield* cells("#nodes")
      // URL, id, state, time, agents, names
      expect(nodes.map(([url, , state, , agents, names]) => [url, state, agents, names])).toEqual([
        [first.ws, "up", "2", "2"],
        [second.ws, "up", "2", "2"]
      ])
      const [near, far] = nodes.map(([, id]) => id!)
      const names = (yield* cells("#names")).map(([name, agents, , at]) => [name, agents, at!.split(" ").sort()])
      expect(names.sort()).toEqual([["both", "2", [near, far].sort()], ["far", "1", [far]], ["near", "1", [near]]])
      yield* second.signal("SIGKILL")
      yield* shows("#nodes td", /^no answer$/)
      expect(complaints).toEqual([])
    }), 120_000)

  it.scopedLive("status page shows markup in texts of a peer as text", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "<img src=x onerror=document.title='hit'>")
      const server = yield* start([
        ...["serve", "--listen", "127.0.0.1:0", "--allow-remote", `${path.slice(0, path.lastIndexOf("/"))}/*`],
        ...withPage
      ])
      const [, url] = yield* server.awaitLine(/^listening on (\S+),/)
      const client = yield* start(["connect", url!, "-R", `${path}:127.0.0.1:1`, ...withPage])
      yield* client.awaitLine(/^listening on /)
      for (const page of [yield* pageOf(server), yield* pageOf(client)]) {
        const { complaints, page: tab, shows } = yield* open(page)
        yield* shows("#forwards td", /<img src=x/)
        expect(yield* Effect.promise(() => tab.locator("img").count())).toBe(0)
        expect(yield* Effect.promise(() => tab.title())).toMatch(/^● wsmux /)
        expect(complaints).toEqual([])
      }
    }))

  it.scopedLive("status page follows the color scheme, and fits a narrow window", () =>
    Effect.gen(function*() {
      const url = yield* pageOf(yield* serve(1, withPage))
      const ground = (scheme: "light" | "dark") =>
        Effect.flatMap(open(url, scheme), ({ page }) =>
          Effect.promise(() => page.evaluate(() => getComputedStyle(document.body).backgroundColor)))
      expect([yield* ground("light"), yield* ground("dark")]).toEqual(["rgb(244, 246, 249)", "rgb(18, 22, 29)"])
      const { page, shows } = yield* open(url)
      yield* Effect.promise(() =>
        page.setViewportSize({ width: 360, height: 640 })
      )
      yield* shows("#forwards td", /127\.0\.0\.1:1/)
      const width = yield* Effect.promise(() => page.evaluate(() => document.documentElement.scrollWidth))
      expect(width).toBeLessThanOrEqual(360)
    }))
})
