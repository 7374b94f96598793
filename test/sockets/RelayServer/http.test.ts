import { describe, expect, it } from "@effect/vitest"
import type * as RelayServer from "effect-wsmux/RelayServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Net from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { pattern } from "../../support/bytes.js"
import { answeringAgent, ask, sendRaw, serveAgent, startRelay } from "../../support/relay.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const modes = [
  ["native", { program: "p", dialect: "auto" }],
  ["plain", { program: undefined, dialect: "off" }]
] as const

/** A relay with one agent, which answers as the listener does. */
const relayTo = (onRequest: Http.RequestListener, options: Parameters<typeof serveAgent>[3] = { program: "p" }) =>
  Effect.gen(function*() {
    const relay = yield* startRelay()
    const agent = yield* serveAgent(relay.ws, "site", onRequest, options)
    return { relay, agent, url: `${relay.http}/site` }
  })

const echo: Http.RequestListener = (request, response) => {
  response.writeHead(200, { "x-method": request.method!, "x-url": request.url! })
  request.pipe(response)
}

for (const [mode, options] of modes) {
  describe(`the relay with a ${mode} agent`, () => {
    it.scopedLive(`the relay passes method, path and bodies both ways when its agent is ${mode}`, () =>
      Effect.gen(function*() {
        const { url } = yield* relayTo(echo, options)
        const body = Buffer.from(pattern(300_000))
        const answer = yield* ask(`${url}/a/b?c=d`, { method: "POST" }, body)
        expect(answer).toMatchObject({ status: 200, headers: { "x-method": "POST", "x-url": "/a/b?c=d" } })
        expect(answer.body === body.toString("latin1")).toBe(true)
      }))

    it.scopedLive(`the relay answers 50 requests at once when its agent is ${mode}`, () =>
      Effect.gen(function*() {
        const { url } = yield* relayTo((request, response) => response.end(request.url), options)
        const answers = yield* Effect.forEach(
          Array.from({ length: 50 }, (_, index) => `/${index}`),
          (path) => Effect.map(ask(url + path), ({ body }) => body === path),
          { concurrency: "unbounded" }
        )
        expect(answers.every((isRight) => isRight)).toBe(true)
      }))

    it.scopedLive(`the relay joins an upgraded WebSocket in both directions when its agent is ${mode}`, () =>
      Effect.gen(function*() {
        const server = Http.createServer()
        const sockets = new WebSocketServer({ server })
        sockets.on("connection", (ws, request) => ws.on("message", (data) => ws.send(`${request.url} ${String(data)}`)))
        const { relay } = yield* relayTo(echo, { ...options, server })
        const answer = yield* Effect.async<string>((resume) => {
          const ws = new WebSocket(`${relay.ws}site/chat`)
          ws.on("open", () => ws.send("hello"))
          ws.on("message", (data) => {
            ws.close()
            resume(Effect.succeed(String(data)))
          })
        }).pipe(within(patience, "the message of the agent"))
        expect(answer).toBe("/chat hello")
      }))
  })
}

describe("the front of the relay", () => {
  it.scopedLive("the relay tells an agent its public URL when the agent dials", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ publicUrl: "https://relay.example/" })
      const agent = yield* serveAgent(relay.ws, "site", echo)
      expect(agent.url).toBe("https://relay.example/site")
    }))

  it.scopedLive("the relay reaches an agent by host when it has a domain", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ domain: "relay.example" })
      yield* serveAgent(relay.ws, "site", echo)
      const answer = yield* ask(`${relay.http}/a?b`, { headers: { host: "Site.relay.example:80" } })
      expect(answer).toMatchObject({ status: 200, headers: { "x-url": "/a?b" } })
      expect((yield* ask(`${relay.http}/site/a`)).headers["x-url"]).toBe("/a")
      expect((yield* ask(relay.http, { headers: { host: "a.site.relay.example" } })).status).toBe(404)
    }))

  it.scopedLive("the relay answers 404 when no agent has the subdomain, and ignores the port of a host", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ domain: "relay.example" })
      yield* serveAgent(relay.ws, "site", echo)
      const askAt = (host: string) => Effect.map(ask(`${relay.http}/a`, { headers: { host } }), ({ status }) => status)
      const hosts = ["site.relay.example", "site.relay.example:8443", "none.relay.example", "relay.example"]
      expect(yield* Effect.forEach(hosts, askAt)).toEqual([200, 200, 404, 404])
      const rooted = ["site.relay.example.", "site.relay.example:", "site.relay.example.:80"]
      expect(yield* Effect.forEach(rooted, askAt)).toEqual([200, 200, 200])
    }))

  it.scopedLive("the relay tells an agent a URL by path when its name cannot be a host", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ domain: "relay.example" })
      const urls = yield* Effect.forEach(["site", "Site", "a.b", "-a"], (name) =>
        Effect.map(serveAgent(relay.ws, name, (_request, response) => response.end(name)), ({ url }) => url))
      const [host, port] = ["relay.example", relay.port]
      expect(urls).toEqual([
        `http://site.${host}:${port}`,
        `http://${host}:${port}/Site`,
        `http://${host}:${port}/a.b`,
        `http://${host}:${port}/-a`
      ])
      expect((yield* ask(`${relay.http}/Site`, { headers: { host } })).body).toBe("Site")
    }))

  it.scopedLive("the relay passes / and the query when a URL ends with the name", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo(echo)
      expect((yield* ask(url)).headers["x-url"]).toBe("/")
      expect((yield* ask(`${url}?x=1`)).headers["x-url"]).toBe("/?x=1")
    }))

  it.scopedLive("the relay tells the agent where a request came from and trusts no client about it", () =>
    Effect.gen(function*() {
      const { relay, url } = yield* relayTo((request, response) => response.end(JSON.stringify(request.rawHeaders)))
      const { body } = yield* ask(`${url}/path?q`, {
        headers: {
          "x-forwarded-for": "1.2.3.4",
          "x-forwarded-proto": "https",
          forwarded: "for=1.2.3.4",
          "x-real-ip": "1.2.3.4",
          connection: "keep-alive, x-private",
          "x-private": "secret",
          te: "trailers",
          "x-kept": "yes"
        }
      })
      const raw: Array<string> = JSON.parse(body)
      const headers = raw.flatMap((name, index) => index % 2 === 0 ? [[name.toLowerCase(), raw[index + 1]]] : [])
      expect(headers).toEqual([
        ["host", `${relay.hostname}:${relay.port}`],
        ["x-forwarded-for", "127.0.0.1"],
        ["x-forwarded-host", `${relay.hostname}:${relay.port}`],
        ["x-forwarded-proto", "http"],
        ["x-websocktunnel-original-path", "/site/path"],
        ["te", "trailers"],
        ["x-kept", "yes"],
        ["connection", "close"]
      ])
    }))

  it.scopedLive("the relay passes no header of its own or of websocktunnel when a client forges it", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo((request, response) => response.end(JSON.stringify(request.headers)))
      const forged = {
        "x-websocktunnel-id": "other",
        "x-websocktunnel-client-url": "forged",
        "X-WebSockTunnel-Original-Path": "/forged",
        "wsmux-relay-agent": "forged",
        "wsmux-relay-node": "forged",
        "Wsmux-Relay-User": "root"
      }
      const { body } = yield* ask(`${url}/path`, { headers: forged })
      const own = Object.entries(JSON.parse(body)).filter(([name]) => /^(x-websocktunnel|wsmux-relay)-/.test(name))
      expect(own).toEqual([["x-websocktunnel-original-path", "/site/path"]])
    }))

  it.scopedLive("the relay passes headers that come twice, and trailers, when an agent answers with them", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo((_request, response) => {
        response.writeHead(200, {
          "set-cookie": ["a=1", "b=2"],
          trailer: "x-digest",
          connection: "x-hop",
          "x-hop": "1"
        })
        response.write("body")
        response.addTrailers({ "x-digest": "abc" })
        response.end()
      })
      const answer = yield* ask(url)
      expect(answer).toMatchObject({
        headers: { "set-cookie": ["a=1", "b=2"], trailer: "x-digest" },
        trailers: { "x-digest": "abc" },
        body: "body"
      })
      expect(answer.headers["x-hop"]).toBe(undefined)
    }))

  it.scopedLive("the relay answers HEAD, 204 and 304 without a body when the agent does", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo((request, response) => {
        response.writeHead(Number(request.url!.slice(1)), request.method === "HEAD" ? { "content-length": "7" } : {})
        response.end()
      })
      expect(yield* ask(`${url}/200`, { method: "HEAD" })).toMatchObject({
        status: 200,
        headers: { "content-length": "7" },
        body: ""
      })
      expect(yield* ask(`${url}/204`)).toMatchObject({ status: 204, body: "" })
      expect(yield* ask(`${url}/304`)).toMatchObject({ status: 304, body: "" })
    }))

  it.scopedLive("the relay passes each part of an answer at once when the agent sends it in parts", () =>
    Effect.gen(function*() {
      const pieces: Array<string> = []
      let answer: Http.ServerResponse | undefined
      const { url } = yield* relayTo((_request, response) => {
        answer = response
        response.flushHeaders()
      })
      const request = Http.get(url, { agent: false }, (response) => {
        pieces.push("head")
        response.on("data", (chunk) => pieces.push(String(chunk)))
        response.on("end", () => pieces.push("end"))
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => request.destroy()))
      yield* eventually(() => pieces.length === 1)
      answer!.write("one")
      yield* eventually(() => pieces.length === 2)
      answer!.end("two")
      yield* eventually(() => pieces.length === 4)
      expect(pieces).toEqual(["head", "one", "two", "end"])
    }))

  it.scopedLive("the relay passes early hints before an answer when the agent sends them", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const hints =
        "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload, </b>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
      yield* answeringAgent(relay.ws, "site", `${hints}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`)
      const askBy = (version: string) =>
        sendRaw(relay.port, `GET /site HTTP/${version}\r\nhost: a\r\nconnection: close\r\n\r\n`)
      const early =
        /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>; rel=preload, <\/b>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n/
      expect(yield* askBy("1.1")).toMatch(early)
      expect(yield* askBy("1.0")).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    }))

  it.scopedLive("the relay answers 502 when an agent answers with a transfer coding beside chunked", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const coded = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
      yield* answeringAgent(relay.ws, "site", coded)
      expect((yield* ask(`${relay.http}/site`)).status).toBe(502)
    }))

  it.scopedLive("the relay passes a request without its upgrade to HTTP/2, whose connection ends behind it", () =>
    Effect.gen(function*() {
      const { relay } = yield* relayTo((request, response) => {
        response.setHeader("x-upgrade", String(request.headers.upgrade))
        echo(request, response)
      })
      const asking = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
      const post = `POST /site/a HTTP/1.1\r\nhost: a\r\n${asking}content-length: 5\r\n\r\nhello`
      const [head, body] = (yield* sendRaw(relay.port, post)).split("\r\n\r\n")
      expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\nx-upgrade: undefined\r\nx-method: POST\r\nx-url: \/a\r\n/)
      expect([head, body]).toEqual([
        expect.stringMatching(/\r\nConnection: close\r\n/),
        expect.stringContaining("hello")
      ])
    }))

  it.scopedLive("the relay passes all headers when an agent answers with thousands", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const many = `${"a:\r\n".repeat(2000)}x-last: here\r\n`
      yield* answeringAgent(relay.ws, "site", `HTTP/1.1 200 OK\r\n${many}content-length: 0\r\n\r\n`)
      const asking = "GET /site HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
      expect(yield* sendRaw(relay.port, asking)).toContain("\r\nx-last: here\r\n")
    }))

  it.scopedLive("the relay answers 404 when no agent has the name", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      expect(yield* ask(`${relay.http}/other/x`)).toMatchObject({
        status: 404,
        body: "no agent is connected with that name\n"
      })
      expect((yield* ask(relay.http)).status).toBe(404)
    }))

  it.scopedLive("the relay answers the heartbeats of websocktunnel", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      expect((yield* ask(`${relay.http}/__lbheartbeat__`)).status).toBe(200)
      expect((yield* ask(`${relay.http}/__heartbeat__`)).status).toBe(200)
    }))
})

describe("an aborted request", () => {
  it.scopedLive("the agent sees an abort when the client of a request goes", () =>
    Effect.gen(function*() {
      const began = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<boolean>()
      const { agent, url } = yield* relayTo((_request, response) => {
        Deferred.unsafeDone(began, Effect.void)
        response.on("close", () => Deferred.unsafeDone(closed, Effect.succeed(response.writableFinished)))
      })
      const request = Http.get(url, { agent: false }).on("error", () => {})
      yield* Deferred.await(began).pipe(within(patience, "the request at the agent"))
      request.destroy()
      expect(yield* Deferred.await(closed).pipe(within(patience, "the abort at the agent"))).toBe(false)
      yield* eventually(() => Effect.runSync(agent.session.snapshot).streams.length === 0)
    }))

  it.scopedLive("the access log has 499 for a request whose client goes before the answer", () =>
    Effect.gen(function*() {
      const served: Array<RelayServer.ServedRequest> = []
      const relay = yield* startRelay({ onServed: (request) => void served.push(request) })
      let isAsked = false
      yield* serveAgent(relay.ws, "site", () => void (isAsked = true), { program: "p" })
      const url = `${relay.http}/site/path?secret`
      const request = Http.request(url, { agent: false, method: "POST" }).on("error", () => {})
      request.write("begun")
      yield* eventually(() => isAsked)
      request.destroy()
      yield* eventually(() => served.length === 1)
      const expected = { name: "site", method: "POST", path: "/site/path", status: 499, isWhole: false, bytesOut: 0 }
      expect(served[0]).toMatchObject(expected)
    }))

  it.scopedLive("the relay cuts an answer short when its agent resets the stream in the middle", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo((_request, response) => {
        response.writeHead(200, { "content-length": "100" })
        response.write("begun", () => response.destroy())
      })
      const outcome = yield* Effect.either(ask(url))
      expect(outcome).toMatchObject({ _tag: "Left", left: { code: "ECONNRESET" } })
    }))

  it.scopedLive("the relay resets the connection when an answer that ends with it is cut short", () =>
    Effect.gen(function*() {
      const began = yield* Deferred.make<Http.ServerResponse>()
      const { relay } = yield* relayTo((_request, response) => {
        response.write("begun")
        Deferred.unsafeDone(began, Effect.succeed(response))
      })
      const socket = Net.connect(relay.port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      let received = ""
      const outcome = yield* Deferred.make<string>()
      socket.on("data", (chunk) => received += String(chunk))
      socket.on("error", ({ code }: NodeJS.ErrnoException) => Deferred.unsafeDone(outcome, Effect.succeed(code!)))
      socket.on("end", () => Deferred.unsafeDone(outcome, Effect.succeed("a clean end")))
      socket.write("GET /site HTTP/1.0\r\nhost: a\r\n\r\n")
      const answer = yield* Deferred.await(began).pipe(within(patience, "the request at the agent"))
      yield* eventually(() => received.endsWith("begun"))
      expect(received).not.toContain("chunked")
      answer.destroy()
      expect(yield* Deferred.await(outcome).pipe(within(patience, "the end of the connection"))).toBe("ECONNRESET")
    }))

  it.scopedLive("the relay resets the connections of requests that run when its scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const relay = yield* Scope.extend(startRelay(), scope)
      yield* serveAgent(relay.ws, "site", (_request, response) => response.write("begun"), { program: "p" })
      const outcome = yield* Deferred.make<string>()
      const socket = Net.connect(relay.port, "127.0.0.1")
      socket.on("error", ({ code }: NodeJS.ErrnoException) => Deferred.unsafeDone(outcome, Effect.succeed(code!)))
      socket.on("end", () => Deferred.unsafeDone(outcome, Effect.succeed("a clean end")))
      let received = ""
      socket.on("data", (chunk) => received += String(chunk))
      socket.write("GET /site HTTP/1.0\r\nhost: a\r\n\r\n")
      yield* eventually(() => received.endsWith("begun"))
      yield* Scope.close(scope, Exit.void)
      expect(yield* Deferred.await(outcome).pipe(within(patience, "the end of the connection"))).toBe("ECONNRESET")
    }))

  it.scopedLive("the relay answers 502 when its agent closes the stream without an answer", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo((request) => request.socket.destroy())
      expect(yield* ask(url)).toMatchObject({ status: 502, body: "the agent failed to answer\n" })
    }))

  it.scopedLive("the relay answers 504 when its agent is silent for the answerTimeout", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ answerTimeout: "200 millis" })
      const agent = yield* serveAgent(relay.ws, "site", () => {}, { program: "p" })
      expect(yield* ask(`${relay.http}/site`)).toMatchObject({ status: 504 })
      yield* eventually(() => Effect.runSync(agent.session.snapshot).streams.length === 0)
    }))

  it.scopedLive("the relay resets an upgraded connection when the other side is lost", () =>
    Effect.gen(function*() {
      const server = Http.createServer()
      const atAgent = yield* Deferred.make<Net.Socket>()
      server.on("upgrade", (_request, socket) => {
        socket.on("error", () => {})
        socket.write("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nfirst")
        Deferred.unsafeDone(atAgent, Effect.succeed(socket as Net.Socket))
      })
      const { relay } = yield* relayTo(echo, { program: "p", server })
      const client = Net.connect(relay.port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => client.destroy()))
      let received = ""
      client.on("data", (chunk) => received += String(chunk)).on("error", () => {})
      client.write("GET /site/x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nsecond")
      const socket = yield* Deferred.await(atAgent).pipe(within(patience, "the upgrade at the agent"))
      let sent = ""
      socket.on("data", (chunk) => sent += String(chunk))
      yield* eventually(() => sent === "second" && received.endsWith("first"))
      expect(received).toMatch(/^HTTP\/1\.1 101 Switching\r\n/)
      client.resetAndDestroy()
      yield* eventually(() => socket.destroyed)
    }))

  it.scopedLive("the relay passes an ordinary answer when the agent refuses an upgrade", () =>
    Effect.gen(function*() {
      const { url } = yield* relayTo((_request, response) => response.writeHead(403).end("no"))
      const answer = yield* ask(url, { headers: { connection: "upgrade", upgrade: "raw" } })
      expect(answer).toMatchObject({ status: 403, body: "no" })
    }))
})
