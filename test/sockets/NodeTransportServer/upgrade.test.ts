import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import type { Connection, Rejection } from "effect-wsmux/TransportServer"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import { text } from "../../support/bytes.js"
import {
  detachable,
  firstOf,
  keepAll,
  listening,
  portOf,
  rawAnswer,
  rejected,
  signal,
  upgradeHeaders,
  urlOf,
  webSocket
} from "../../support/transports.js"
import { listen } from "../../support/transportSuite.js"
import { patience, within } from "../../support/within.js"

const pem = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url))
/** The head of an upgrade request for this path. */
const request = (path: string) => [`GET ${path} HTTP/1.1`, "host: localhost", ...upgradeHeaders, "", ""].join("\r\n")

const tls = { key: pem("key"), cert: pem("cert") }

describe("NodeTransportServer", () => {
  it.scopedLive("NodeTransportServer accepts a client when authorize succeeds with the services it needs", () =>
    Effect.gen(function*() {
      const Secret = Context.GenericTag<string>("Secret")
      const server = yield* NodeTransportServer.make({
        authorize: (request) =>
          Effect.flatMap(
            Secret,
            (secret) => request.headers.authorization === secret ? Effect.void : Effect.fail({ status: 401 })
          )
      }).pipe(Effect.provideService(Secret, "Bearer secret"))
      const { next } = yield* keepAll(server)
      const url = urlOf(server)
      expect(yield* Effect.flip(NodeTransport.connect(url))).toEqual(rejected(url, 401))
      yield* NodeTransport.connect(url, { headers: { authorization: "Bearer secret" } })
      yield* next
    }))

  it.scopedLive("NodeTransportServer calls onRejected with answer and request when it refuses a client", () =>
    Effect.gen(function*() {
      const told: Array<readonly [status: number, key: unknown]> = []
      const server = yield* NodeTransportServer.make({
        authorize: ({ headers }) => headers["x-key"] === "right" ? Effect.void : Effect.fail({ status: 401 }),
        onRejected: ({ status }, { headers }) => Effect.sync(() => told.push([status, headers["x-key"]]))
      })
      const { next } = yield* keepAll(server)
      const url = urlOf(server)
      yield* Effect.flip(NodeTransport.connect(url, { headers: { "x-key": "wrong" } }))
      yield* Effect.flip(NodeTransport.connect(url, { headers: { "x-key": "right", origin: "https://evil.example" } }))
      yield* NodeTransport.connect(url, { headers: { "x-key": "right" } })
      yield* next
      expect(told).toEqual([[401, "wrong"], [403, "right"]])
    }))

  it.scopedLive("NodeTransportServer calls onRejected with 404 once when no server takes the path", () =>
    Effect.gen(function*() {
      const http = yield* listening(Http.createServer())
      const told = yield* Queue.unbounded<readonly [path: string, status: number, url: string | undefined]>()
      for (const path of ["/one", "/two"]) {
        yield* NodeTransportServer.make({
          server: http,
          path,
          onRejected: ({ status }, { url }) => Queue.offer(told, [path, status, url])
        })
      }
      const url = `ws://127.0.0.1:${portOf(http)}`
      for (const path of ["/three", "/four"]) {
        expect(yield* Effect.flip(NodeTransport.connect(`${url}${path}`))).toEqual(rejected(`${url}${path}`, 404))
        expect(yield* Queue.take(told).pipe(within("5 seconds", "onRejected"))).toEqual(["/one", 404, path])
      }
      expect(yield* Queue.size(told)).toBe(0)
    }))

  const valid = {
    connection: "upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
  }
  const malformed: ReadonlyArray<readonly [string, string, Readonly<Record<string, string>>, number]> = [
    ["has the method POST", "POST", valid, 405],
    ["asks for another protocol", "GET", { ...valid, upgrade: "h2c" }, 400],
    ["has version 12", "GET", { ...valid, "sec-websocket-version": "12" }, 400],
    ["has a short key", "GET", { ...valid, "sec-websocket-key": "c2hvcnQ=" }, 400],
    ["names a subprotocol twice", "GET", { ...valid, "sec-websocket-protocol": "a, a" }, 400]
  ]
  for (const [what, method, headers, status] of malformed) {
    it.scopedLive(`NodeTransportServer calls onRejected with ${status} when a handshake ${what}`, () =>
      Effect.gen(function*() {
        const told = yield* Deferred.make<readonly [status: number, url: string | undefined]>()
        const server = yield* NodeTransportServer.make({
          onRejected: ({ status }, { url }) => Deferred.succeed(told, [status, url])
        })
        yield* keepAll(server)
        const request = Http.request(urlOf(server).replace("ws:", "http:"), { method, headers })
        const answered = signal<[Http.IncomingMessage]>(request, "response")
        request.end()
        const [answer] = yield* answered
        expect(answer.statusCode).toBe(status)
        expect(answer.headers["sec-websocket-version"]).toBe(what === "has version 12" ? "13, 8" : undefined)
        expect(yield* Deferred.await(told).pipe(within(patience, "the rejection"))).toEqual([status, "/"])
      }))
  }

  const origins: ReadonlyArray<readonly [string, string | undefined, NodeTransportServer.Options, boolean]> = [
    ["a program without an origin", undefined, {}, true],
    ["a page of the same host and port", "http://HOST", {}, true],
    ["a page of the same host behind TLS", "https://HOST", {}, true],
    ["a page of another port", "http://127.0.0.1:1", {}, false],
    ["a page of another host", "https://evil.example", {}, false],
    ["a page of a host with the same prefix", "http://HOST.evil.example", {}, false],
    ["a page with the origin null", "null", {}, false],
    ["a page in allowedOrigins", "https://app.example", { allowedOrigins: ["https://app.example"] }, true],
    [
      "a page of the same host outside allowedOrigins",
      "http://HOST",
      { allowedOrigins: ["https://app.example"] },
      false
    ],
    ["a page while allowedOrigins is *", "https://evil.example", { allowedOrigins: "*" }, true]
  ]
  for (const [who, origin, options, allowed] of origins) {
    it.scopedLive(`NodeTransportServer ${allowed ? "accepts" : "refuses"} a dial when it comes from ${who}`, () =>
      Effect.gen(function*() {
        let asked = 0
        const server = yield* NodeTransportServer.make({ ...options, authorize: () => Effect.sync(() => asked++) })
        yield* keepAll(server)
        const url = urlOf(server)
        const headers = origin === undefined ? {} : { origin: origin.replace("HOST", new URL(url).host) }
        const dialled = yield* Effect.either(NodeTransport.connect(url, { headers }))
        if (allowed) expect(dialled._tag).toBe("Right")
        else expect(dialled).toMatchObject({ left: rejected(url, 403) })
        expect(asked).toBe(allowed ? 1 : 0)
      }))
  }

  it.scopedLive("NodeTransportServer answers with status, message and headers when authorize fails", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({
        authorize: () =>
          Effect.fail({ status: 401, message: "who are you?", headers: { "www-authenticate": "Bearer" } })
      })
      const ws = yield* webSocket(urlOf(server))
      const [, response] = yield* signal<[unknown, Http.IncomingMessage]>(ws, "unexpected-response")
      let body = ""
      response.on("data", (chunk) => body += chunk)
      yield* signal(response, "end")
      expect([response.statusCode, response.headers["www-authenticate"], body]).toEqual([
        401,
        "Bearer",
        "who are you?\n"
      ])
    }))

  it.scopedLive("NodeTransportServer answers in plain text when a rejection has no content type", () =>
    Effect.gen(function*() {
      const page = { status: 403, message: "<b>no</b>", headers: { "Content-Type": "text/html" } }
      const server = yield* NodeTransportServer.make({
        authorize: ({ url }) => Effect.fail(url === "/page" ? page : { status: 403, message: "<b>no</b>" })
      })
      const { port } = new URL(urlOf(server))
      const [plain, typed] = yield* Effect.all(["/", "/page"].map((path) => rawAnswer(Number(port), request(path))))
      expect(plain).toContain("content-type: text/plain; charset=utf-8\r\n")
      expect(typed).toContain("Content-Type: text/html\r\n")
      expect(typed).not.toContain("text/plain")
    }))

  it.scopedLive("NodeTransportServer overrides framing headers when a rejection has some", () =>
    Effect.gen(function*() {
      const headers = { "Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "keep-alive", "x-a": "b" }
      const server = yield* NodeTransportServer.make({ authorize: () => Effect.fail({ status: 401, headers }) })
      const { port } = new URL(urlOf(server))
      const [head, body] = (yield* rawAnswer(Number(port), request("/"))).split("\r\n\r\n")
      expect(head!.split("\r\n").slice(1).sort()).toEqual([
        "connection: close",
        "content-length: 13",
        "content-type: text/plain; charset=utf-8",
        "x-a: b"
      ])
      expect(body).toBe("Unauthorized\n")
    }))

  const unsendable: ReadonlyArray<readonly [what: string, rejection: Rejection]> = [
    ["a header value with a line break", { status: 302, headers: { location: "/a\r\nset-cookie: b=c" } }],
    ["a header value with a control character", { status: 401, headers: { "x-why": "a\u001b[2J" } }],
    ["a header name with a line break", { status: 401, headers: { "x-a: b\r\nx-c": "d" } }],
    ["an empty header name", { status: 401, headers: { "": "d" } }],
    ["a status of NaN", { status: Number.NaN }],
    ["the status 101", { status: 101 }],
    ["a status with a line break", { status: "401 No\r\nx-a: b" as unknown as number }]
  ]
  for (const [what, rejection] of unsendable) {
    it.scopedLive(`NodeTransportServer answers 500 and logs when a rejection has ${what}`, () =>
      Effect.gen(function*() {
        const logged: Array<string> = []
        const server = yield* NodeTransportServer.make({ authorize: () => Effect.fail(rejection) }).pipe(
          Effect.provide(
            Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => logged.push(String(message))))
          )
        )
        const { port } = new URL(urlOf(server))
        const answer = yield* rawAnswer(Number(port), request("/"))
        expect(answer).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n/)
        expect(answer).not.toMatch(/x-a|x-c|set-cookie/)
        expect(logged).toEqual([expect.stringContaining("cannot answer with the rejection of authorize: ")])
        expect(logged[0]).not.toMatch(/\p{Cc}/u)
      }))
  }

  for (
    const [what, authorize] of [
      ["dies", () => Effect.die("defect")],
      ["throws", () => {
        throw new Error("defect")
      }]
    ] as const
  ) {
    it.scopedLive(`NodeTransportServer answers 500 and accepts later clients when authorize ${what}`, () =>
      Effect.gen(function*() {
        const server = yield* NodeTransportServer.make({
          authorize: (request) => request.url === "/good" ? Effect.void : authorize()
        }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
        yield* keepAll(server)
        const url = `${urlOf(server)}/bad`
        const failure = yield* Effect.flip(NodeTransport.connect(url, { openTimeout: "2 seconds" }))
        expect(failure).toEqual(rejected(url, 500))
        yield* NodeTransport.connect(`${urlOf(server)}/good`)
      }))
  }

  it.scopedLive("NodeTransportServer answers 503 and interrupts authorize when upgradeTimeout has passed", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const server = yield* NodeTransportServer.make({
        authorize: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
        upgradeTimeout: "20 millis"
      })
      const url = `${urlOf(server)}/`
      expect(yield* Effect.flip(NodeTransport.connect(url))).toEqual(rejected(url, 503))
      yield* Deferred.await(interrupted).pipe(within(patience, "the interruption of authorize"))
    }))
})

describe("Connection", () => {
  it.scopedLive("Connection has the request and the principal when authorize succeeds with one", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({
        authorize: ({ headers }) => Effect.succeed({ name: headers["x-user"] })
      })
      const told = yield* Deferred.make<Connection<{ readonly name: unknown }>>()
      yield* Effect.forkScoped(server.run((_, connection) => Deferred.succeed(told, connection)))
      yield* NodeTransport.connect(`${urlOf(server)}/streams?a=b`, { headers: { "x-user": "Ada" } })
      const { principal, request } = yield* Deferred.await(told).pipe(within(patience, "the connection"))
      expect([principal, request.url, request.headers["x-user"]]).toEqual([{ name: "Ada" }, "/streams?a=b", "Ada"])
      expect(Object.keys(request)).toEqual(["headers", "url"])
    }))

  it.scopedLive("Connection has no principal when the server has no authorize", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const told = yield* Deferred.make<Connection>()
      yield* Effect.forkScoped(server.run((_, connection) => Deferred.succeed(told, connection)))
      yield* NodeTransport.connect(urlOf(server))
      expect((yield* Deferred.await(told).pipe(within(patience, "the connection"))).principal).toBe(undefined)
    }))

  it.scopedLive("NodeTransportServer sends each client its own answer headers when answerHeaders is given", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({
        authorize: ({ url }) => Effect.succeed(url?.slice(1)),
        answerHeaders: (_, name): Record<string, string> =>
          name === "" ? {} : { "x-websocktunnel-client-url": `https://tunnel.example/${name}` }
      })
      yield* keepAll(server)
      const urls = yield* Effect.forEach(["ada", "grace", ""], (name) =>
        Effect.map(
          NodeTransport.connect(`${urlOf(server)}/${name}`),
          ({ upgrade }) => upgrade?.headers["x-websocktunnel-client-url"]
        ))
      expect(urls).toEqual(["https://tunnel.example/ada", "https://tunnel.example/grace", undefined])
    }))

  const unsendable: ReadonlyArray<readonly [what: string, headers: Record<string, string>]> = [
    ["contain a line break", { "x-a": "b\r\nx-c: d" }],
    ["belong to the handshake", { "Sec-WebSocket-Accept": "forged" }]
  ]
  for (const [what, headers] of unsendable) {
    it.scopedLive(`NodeTransportServer answers 500 when its answer headers ${what}`, () =>
      Effect.gen(function*() {
        const server = yield* NodeTransportServer.make({ answerHeaders: () => headers }).pipe(
          Effect.provide(Logger.remove(Logger.defaultLogger))
        )
        yield* keepAll(server)
        const url = `${urlOf(server)}/`
        expect(yield* Effect.flip(NodeTransport.connect(url))).toEqual(rejected(url, 500))
      }))
  }
})

describe("NodeTransportServer", () => {
  it.scopedLive("NodeTransportServer leaves an attached HTTP server running when its scope closes", () =>
    Effect.gen(function*() {
      const http = yield* listening(Http.createServer((_, response) => response.end("hello")))
      const url = `ws://127.0.0.1:${portOf(http)}`
      const [server, leave] = yield* detachable(NodeTransportServer.make({ server: http }))
      expect(urlOf(server)).toBe(url)
      const accepted = yield* firstOf(server)
      const events = yield* listen(yield* NodeTransport.connect(url))
      yield* accepted
      const get = Effect.promise(() => fetch(url.replace("ws:", "http:")).then((response) => response.text()))
      expect(yield* get).toBe("hello")
      yield* leave
      expect((yield* events.ended).code).toBe(1006)
      expect([http.listening, http.listenerCount("upgrade")]).toEqual([true, 0])
      expect(yield* get).toBe("hello")
    }))

  it.scopedLive("NodeTransportServer leaves other paths to other listeners when it is attached", () =>
    Effect.gen(function*() {
      const http = yield* listening(Http.createServer())
      const server = yield* NodeTransportServer.make({ server: http, path: "/session" })
      const { next } = yield* keepAll(server)
      const other = `${urlOf(server)}/other`
      expect(yield* Effect.flip(NodeTransport.connect(other))).toEqual(rejected(other, 404))
      const seen: Array<string | undefined> = []
      http.on("upgrade", (request, socket) => {
        seen.push(request.url)
        if (request.url === "/other") socket.end("HTTP/1.1 418 Teapot\r\n\r\n")
      })
      expect(yield* Effect.flip(NodeTransport.connect(other))).toEqual(rejected(other, 418))
      yield* NodeTransport.connect(`${urlOf(server)}/session`)
      yield* next
      expect(seen).toEqual(["/other", "/session"])
    }))

  it.scopedLive("NodeTransportServer serves its own path when a second server shares the HTTP server", () =>
    Effect.gen(function*() {
      const http = yield* listening(Http.createServer())
      for (const path of ["/one", "/two"]) {
        const server = yield* NodeTransportServer.make({ server: http, path })
        yield* firstOf(server)
      }
      const url = `ws://127.0.0.1:${portOf(http)}`
      for (const path of ["/one", "/two"]) yield* NodeTransport.connect(`${url}${path}`)
      expect(yield* Effect.flip(NodeTransport.connect(`${url}/three`))).toEqual(rejected(`${url}/three`, 404))
    }))
})

describe("NodeTransportServer", () => {
  const dial = (port: number, options?: NodeTransport.ConnectOptions) =>
    NodeTransport.connect(`wss://127.0.0.1:${port}`, options)

  it.scopedLive("NodeTransportServer receives a message over TLS when the client trusts its certificate", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ tls })
      const accepted = yield* firstOf(server)
      const client = yield* dial(Number(new URL(urlOf(server)).port), { tls: { ca: tls.cert } })
      const events = yield* listen(yield* accepted)
      client.send([Buffer.from("hello")])
      expect(text(yield* events.next)).toBe("hello")
    }))

  it.scopedLive("NodeTransportServer refuses a page of its own host when the page came without TLS", () =>
    Effect.gen(function*() {
      const pageOf = (origin: string, options: NodeTransportServer.Options = {}) =>
        Effect.gen(function*() {
          const server = yield* NodeTransportServer.make({ ...options, tls })
          yield* keepAll(server)
          const { port } = new URL(urlOf(server))
          const headers = { host: "app.example", origin }
          return yield* Effect.either(dial(Number(port), { tls: { ca: tls.cert, servername: "localhost" }, headers }))
        })
      expect(yield* pageOf("http://app.example")).toMatchObject({ left: { reason: "Rejected", status: 403 } })
      expect((yield* pageOf("https://app.example"))._tag).toBe("Right")
      const named = { allowedOrigins: ["http://app.example"] }
      expect((yield* pageOf("http://app.example", named))._tag).toBe("Right")
    }))

  it.scopedLive("NodeTransport.connect fails as unreachable when no authority has signed the certificate", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ tls })
      const failure = yield* Effect.flip(dial(Number(new URL(urlOf(server)).port)))
      expect(failure).toMatchObject({ reason: "Unreachable", cause: { code: "DEPTH_ZERO_SELF_SIGNED_CERT" } })
    }))

  it.scopedLive("NodeTransportServer accepts a dial over TLS when it is attached to an HTTPS server", () =>
    Effect.gen(function*() {
      const https = yield* listening(Https.createServer(tls))
      const accepted = yield* firstOf(yield* NodeTransportServer.make({ server: https }))
      yield* dial(portOf(https), { tls: { ca: tls.cert } })
      yield* accepted
    }))
})
