import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { pattern, text } from "../../../support/bytes.js"
import { within } from "../../../support/within.js"
import * as inProcess from "../inProcess.js"
import * as Tcp from "../tcp.js"
import { logged } from "../wsmux.js"
import * as Process from "./commands.js"
import { portFor } from "./commands.js"

const page = pattern(2_000_000)

/** A web server of this machine with a page and a slow download. */
const web: Effect.Effect<{ readonly port: number; readonly agents: Array<string> }, never, Scope.Scope> = Effect.gen(
  function*() {
    const agents: Array<string> = []
    const server = yield* Effect.acquireRelease(
      Effect.async<Http.Server>((resume) => {
        const server: Http.Server = Http.createServer((request, response) => {
          agents.push(`${request.method} ${request.url} ${request.headers["proxy-connection"] ?? ""}`)
          response.end(page)
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close().closeAllConnections())
    )
    return { agents, port: (server.address() as AddressInfo).port }
  }
)

/** Runs curl. Completes with its exit code and the bytes of its output. */
const curl = (...args: ReadonlyArray<string>) =>
  Effect.async<{ readonly code: number; readonly bytes: Buffer }>((resume) => {
    const options = { encoding: "buffer" as const, maxBuffer: 64 * 1024 * 1024 }
    const child = execFile(
      "curl",
      ["-sS", "--max-time", "30", ...args],
      options,
      (error, stdout) => resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), bytes: stdout }))
    )
    return Effect.sync(() => child.kill())
  }).pipe(within("40 seconds", `curl ${args.join(" ")}`))

const proxy = (
  allow: ReadonlyArray<string>,
  args: ReadonlyArray<string> = ["-D", "0"],
  { connectWith, serveWith }: Pick<typeof inProcess, "connectWith" | "serveWith"> = inProcess
) =>
  Effect.gen(function*() {
    const server = yield* serveWith(allow.flatMap((rule) => ["--allow", rule]).concat("--allow-remote", "*"))
    const client = yield* connectWith(server.url, args)
    return { server, client, port: yield* portFor(client, "where clients ask") }
  })

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

describe("wsmux connect -D", () => {
  it.scopedLive("wsmux connect serves curl by SOCKS and HTTP on one port, and names resolve at the server", () =>
    Effect.gen(function*() {
      const { agents, port: target } = yield* web
      // a rule for a name allows no address: a client that resolved the name itself would be refused
      const { port } = yield* proxy([`localhost:${target}`], ["-D", "0"], Process)
      const url = `http://localhost:${target}/page`
      const ways = [
        ["--socks5-hostname", `127.0.0.1:${port}`],
        ["--socks4a", `127.0.0.1:${port}`],
        ["--proxy", `http://127.0.0.1:${port}`],
        ["--proxytunnel", "--proxy", `http://127.0.0.1:${port}`]
      ]
      for (const way of ways) {
        const { bytes, code } = yield* curl(...way, url)
        expect([way[0], code, Buffer.compare(bytes, page)]).toEqual([way[0], 0, 0])
      }
      expect((yield* curl("--socks5", `127.0.0.1:${port}`, url)).code).toBe(97) // resolves the name itself
      expect(agents).toEqual(ways.map(() => "GET /page "))
    }))

  it.scopedLive("wsmux connect serves curl by SOCKS when curl has resolved the name itself", () =>
    Effect.gen(function*() {
      const { port: target } = yield* web
      const { port } = yield* proxy([`127.0.0.1:${target}`])
      const { bytes, code } = yield* curl("--socks5", `127.0.0.1:${port}`, `http://127.0.0.1:${target}/`)
      expect([code, Buffer.compare(bytes, page)]).toEqual([0, 0])
    }))

  it.scopedLive("wsmux connect answers 403 and SOCKS code 2 when the server does not allow the target", () =>
    Effect.gen(function*() {
      const { client, port } = yield* proxy(["127.0.0.1:1"])
      const { bytes } = yield* curl("--proxy", `http://127.0.0.1:${port}`, "-w", "%{http_code}", "http://127.0.0.1:2/")
      expect(text(bytes)).toBe("the server does not allow it\n403")
      expect((yield* curl("--socks5-hostname", `127.0.0.1:${port}`, "http://localhost:2/")).code).toBe(97)
      const refused = yield* curl("--proxy", `http://127.0.0.1:${port}`, "-w", "%{http_code}", "http://127.0.0.1:1/")
      expect(text(refused.bytes)).toBe("the target refused the connection\n502")
      yield* client.awaitLine(/cannot forward 127\.0\.0\.1:\d+ to 127\.0\.0\.1:2: the server does not allow it/)
      expect(logged(client, "WARN").length).toBeGreaterThan(0)
    }))

  it.scopedLive("wsmux passes half-closes and resets on through -D", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { port } = yield* proxy([`127.0.0.1:${target.port}`])
      const begin = Effect.gen(function*() {
        const near = yield* Tcp.connect(port)
        yield* near.write(`CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\n\r\nhello`)
        const far = yield* target.accept
        expect(text(yield* far.received(5))).toBe("hello")
        // A target that resets before the client knows of it could not be reached, for the client: 502, and the end.
        expect(text(yield* near.received(established.length))).toBe(established)
        return { near, far }
      })
      const first = yield* begin
      yield* first.near.end
      expect((yield* first.far.over).how).toBe("end")
      yield* first.far.write("bye")
      yield* first.far.end
      const { bytes, how } = yield* first.near.over
      expect([text(bytes), how]).toEqual([`${established}bye`, "end"])
      const second = yield* begin
      yield* second.near.reset
      expect((yield* second.far.over).how).toBe("ECONNRESET")
      const third = yield* begin
      yield* third.far.reset
      expect((yield* third.near.over).how).toBe("ECONNRESET")
    }))
})

describe("wsmux connect -R", () => {
  it.scopedLive("wsmux connect is a proxy for clients of the server when -R names no target", () =>
    Effect.gen(function*() {
      const { port: target } = yield* web
      const { port } = yield* proxy([], ["-R", "0"])
      const { bytes, code } = yield* curl("--socks5-hostname", `127.0.0.1:${port}`, `http://localhost:${target}/`)
      expect([code, Buffer.compare(bytes, page)]).toEqual([0, 0])
      expect((yield* curl("--socks5-hostname", `127.0.0.1:${port}`, "http://127.0.0.1:1/")).code).toBe(97)
    }))
})
