import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Http from "node:http"
import * as Net from "node:net"
import { ask, dialAgent, sendRaw, serveAgent, startRelay, tokenOf } from "../../support/relay.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

/** A relay whose agent keeps the requests that arrive, each with its body. */
const listening = (options: Parameters<typeof startRelay>[0] = {}) =>
  Effect.gen(function*() {
    const relay = yield* startRelay(options)
    const requests: Array<string> = []
    const server = Object.assign(Http.createServer(), { maxHeadersCount: 0 })
    yield* serveAgent(relay.ws, "site", (request, response) => {
      let body = ""
      request.on("data", (chunk) => body += String(chunk))
      request.on("end", () => {
        requests.push(`${request.method} ${request.url} ${body}`)
        response.end("ok")
      })
    }, { program: "p", server })
    return { relay, requests }
  })

const head = "POST /site/x HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n"
const inner = "GET /site/smuggled HTTP/1.1\r\nhost: relay\r\n\r\n"

const upgrading = "GET /site/x HTTP/1.1\r\nhost: relay\r\nconnection: upgrade\r\nupgrade: websocket\r\n"

const malformed = {
  "asks for an upgrade with a request behind": `${upgrading}\r\n${inner}`,
  "asks for an upgrade with a body": `${upgrading}content-length: ${inner.length}\r\n\r\n${inner}`,
  "asks for an upgrade with a short body": `${upgrading}content-length: 1\r\n\r\nx${inner}`,
  "asks for an upgrade with chunks": `${upgrading}transfer-encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
  "names a length and chunks": `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
  "names chunks and a length": `${head}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n${inner}`,
  "names two lengths": `${head}content-length: 0\r\ncontent-length: 50\r\n\r\n${inner}`,
  "names a list of lengths": `${head}content-length: 0, 50\r\n\r\n${inner}`,
  "names a signed length": `${head}content-length: +4\r\n\r\nabcd`,
  "names another coding": `${head}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n${inner}`,
  "hides the coding by a space": `${head}transfer-encoding : chunked\r\n\r\n0\r\n\r\n${inner}`,
  "has a malformed size of a chunk": `${head}transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n`,
  "has a chunk beyond its size": `${head}transfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n`,
  "folds a header": `${head}x-a: b\r\n transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n`,
  "lacks the host": "GET /site/x HTTP/1.1\r\nconnection: close\r\n\r\n",
  "has a line feed in the path": "GET /site/\nx HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
}

describe("malformed requests", () => {
  for (const [what, bytes] of Object.entries(malformed)) {
    it.scopedLive(`the relay refuses or passes one well-formed request when it ${what}`, () =>
      Effect.gen(function*() {
        const { relay, requests } = yield* listening()
        const answer = yield* sendRaw(relay.port, bytes)
        expect(answer).toMatch(/^HTTP\/1\.1 (200|400|404|501) /)
        expect(answer.match(/HTTP\/1\.1 [2-5]\d\d /g)!.length).toBe(1)
        expect(requests.filter((request) => request.includes("smuggled"))).toEqual([])
      }))
  }

  it.scopedLive("the relay keeps the length of a body when connection names it", () =>
    Effect.gen(function*() {
      const { relay, requests } = yield* listening()
      const bytes = "POST /site/x HTTP/1.1\r\nhost: a\r\nconnection: close, content-length, host\r\ncontent-length: "
      expect(yield* sendRaw(relay.port, `${bytes}${inner.length}\r\n\r\n${inner}`)).toMatch(/^HTTP\/1\.1 200 /)
      expect(requests).toEqual([`POST /x ${inner}`])
    }))

  it.scopedLive("the relay passes a body as one when the header upgrade comes without its connection", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const server = Http.createServer()
      const upgrades: Array<string> = []
      server.on("upgrade", (_request, socket, head) => {
        upgrades.push(String(head))
        socket.destroy()
      })
      const bodies: Array<string> = []
      yield* serveAgent(relay.ws, "site", (request, response) => {
        request.on("data", (chunk) => bodies.push(String(chunk))).on("end", () => response.end())
      }, { program: "p", server })
      const answer = yield* sendRaw(
        relay.port,
        `${head}upgrade: raw\r\ncontent-length: ${inner.length}\r\n\r\n${inner}`
      )
      expect([answer.slice(0, 15), upgrades, bodies]).toEqual(["HTTP/1.1 200 OK", [], [inner]])
    }))

  for (const method of ["GET", "POST"]) {
    it.scopedLive(`the relay passes one ${method} with its body when thousands of headers hide the framing`, () =>
      Effect.gen(function*() {
        const { relay, requests } = yield* listening()
        const bytes =
          `${method} /site/x HTTP/1.1\r\nhost: a\r\n${"a:\r\n".repeat(2000)}transfer-encoding: chunked\r\n` +
          `connection: close\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
        expect(yield* sendRaw(relay.port, bytes)).toMatch(/^HTTP\/1\.1 200 /)
        expect(requests).toEqual([`${method} /x ${inner}`])
      }))
  }

  for (const coding of ["gzip, chunked", "gzip\r\ntransfer-encoding: chunked"]) {
    it.scopedLive(`the relay answers 501 when a body has the transfer coding ${coding.replace(/\s+/, " and ")}`, () =>
      Effect.gen(function*() {
        const { relay, requests } = yield* listening()
        const bytes = `${head}transfer-encoding: ${coding}\r\n\r\n2\r\nab\r\n0\r\n\r\n`
        expect(yield* sendRaw(relay.port, bytes)).toMatch(/^HTTP\/1\.1 501 /)
        expect(requests).toEqual([])
      }))
  }

  it.scopedLive("the relay serves the requests of a connection in turn when a client does not wait", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const held: Array<readonly [string, Http.ServerResponse]> = []
      const onRequest: Http.RequestListener = ({ url }, response) => void held.push([url!, response])
      yield* serveAgent(relay.ws, "site", onRequest, { program: "p" })
      const both = `POST /site/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\nDELETE /site/2 HTTP/1.1\r\nhost: a\r\n`
      const sending = yield* Effect.fork(sendRaw(relay.port, `${both}connection: close\r\n\r\n`))
      yield* eventually(() => held.length === 1)
      expect(Effect.runSync(relay.snapshot).running).toBe(1)
      held[0]![1].end("first")
      yield* eventually(() => held.length === 2)
      held[1]![1].end("second")
      expect(yield* Fiber.join(sending)).toMatch(/first[^]*second/)
      expect(held.map(([url]) => url)).toEqual(["/1", "/2"])
    }))

  it.scopedLive("the relay ends a connection when 65 requests wait behind one without an answer", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const asked: Array<string> = []
      yield* serveAgent(relay.ws, "site", ({ url }) => void asked.push(url!), { program: "p" })
      const requests = Array.from({ length: 66 }, (_, i) => `GET /site/${i} HTTP/1.1\r\nhost: a\r\n\r\n`)
      expect(yield* sendRaw(relay.port, requests.join(""))).toBe("")
      yield* eventually(() => Effect.runSync(relay.snapshot).running === 0)
      expect(asked.filter((url) => url !== "/0")).toEqual([])
    }))

  it.scopedLive("the relay tells an agent the client's address when the request has 999 headers", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const told: Array<unknown> = []
      yield* serveAgent(relay.ws, "site", ({ headers }, response) => {
        told.push(headers["x-forwarded-for"])
        response.end("ok")
      }, { program: "p" })
      const headers = `${"a:\r\n".repeat(999)}host: a\r\nconnection: close\r\n`
      expect(yield* sendRaw(relay.port, `GET /site/x HTTP/1.1\r\n${headers}\r\n`)).toMatch(/^HTTP\/1\.1 200 /)
      expect(told).toEqual(["127.0.0.1"])
    }))

  const upgrades = {
    "a name": "GET /site/raw HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n",
    "HTTP/2": "GET /site/raw HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "an agent":
      `GET / HTTP/1.1\r\nhost: a\r\nx-websocktunnel-id: late\r\nauthorization: Bearer ${tokenOf("late")}\r\n` +
      "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" +
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
  }
  for (const [what, upgrade] of Object.entries(upgrades)) {
    it.scopedLive(`the relay ends a connection when an upgrade for ${what} does not wait for an answer`, () =>
      Effect.gen(function*() {
        const relay = yield* startRelay()
        const asked: Array<string> = []
        yield* serveAgent(relay.ws, "site", ({ url }) => void asked.push(url!), { program: "p" })
        expect(yield* sendRaw(relay.port, `GET /site/1 HTTP/1.1\r\nhost: a\r\n\r\n${upgrade}`)).toBe("")
        yield* eventually(() => Effect.runSync(relay.snapshot).running === 0)
        expect([asked.includes("/raw"), Effect.runSync(relay.snapshot).agents]).toEqual([false, 1])
      }))
  }

  it.scopedLive("the relay takes an upgrade when the earlier requests of its connection have answers", () =>
    Effect.gen(function*() {
      const { relay } = yield* listening()
      const socket = Net.connect(relay.port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      let received = ""
      socket.on("data", (chunk) => received += String(chunk))
      socket.write("GET /site/1 HTTP/1.1\r\nhost: a\r\n\r\n")
      yield* eventually(() => received.endsWith("ok"))
      socket.write(upgrades["a name"])
      yield* eventually(() => received.match(/HTTP\/1\.1 200 /g)?.length === 2)
    }))

  it.scopedLive("the relay keeps no request when a client goes that did not wait for its first answer", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const asked: Array<string> = []
      const agent = yield* serveAgent(relay.ws, "site", ({ url }, response) => {
        asked.push(url!)
        if (url === "/fast") response.end("whole")
      }, { program: "p" })
      const socket = Net.connect(relay.port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      socket.write(["/site/slow", "/site/fast"].map((path) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`).join(""))
      yield* eventually(() => asked.includes("/slow"))
      socket.destroy()
      yield* eventually(() => Effect.runSync(relay.snapshot).running === 0)
      yield* eventually(() => Effect.runSync(agent.session.snapshot).streams.length === 0)
    }))

  it.scopedLive("the relay passes one host when a request names two", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const hosts: Array<ReadonlyArray<string>> = []
      yield* serveAgent(relay.ws, "site", (request, response) => {
        hosts.push(request.rawHeaders.filter((_, index, raw) => raw[index - 1]?.toLowerCase() === "host"))
        response.end()
      })
      yield* sendRaw(relay.port, "GET /site HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n")
      expect(hosts.flat().length).toBeLessThan(2)
    }))

  it.scopedLive("the relay answers 404 when a request has the form for a proxy", () =>
    Effect.gen(function*() {
      const { relay, requests } = yield* listening()
      const bytes = "GET http://other.example/site/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
      expect(yield* sendRaw(relay.port, bytes)).toMatch(/^HTTP\/1\.1 404 /)
      expect(requests).toEqual([])
    }))
})

describe("slow and greedy clients", () => {
  it.scopedLive("the relay answers 431 when headers have no end", () =>
    Effect.gen(function*() {
      const { relay } = yield* listening()
      const endless = `GET /site HTTP/1.1\r\nhost: a\r\n${"x-a: 0123456789\r\n".repeat(2000)}`
      expect(yield* sendRaw(relay.port, endless)).toMatch(/^HTTP\/1\.1 431 /)
    }))

  it.scopedLive("the relay answers 408 when headers come slowly", () =>
    Effect.gen(function*() {
      const { relay } = yield* listening({ timeouts: { headers: "300 millis" } })
      expect(yield* sendRaw(relay.port, "GET /site HTTP/1.1\r\nhost: a\r\nx-a: b")).toMatch(/^HTTP\/1\.1 408 /)
    }))

  it.scopedLive("the relay answers 408 and frees the agent when a body comes slowly", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ answerTimeout: "300 millis" })
      const agent = yield* serveAgent(relay.ws, "site", () => {}, { program: "p" })
      const bytes = "POST /site HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\nconnection: close\r\n\r\nbegun"
      const socket = Net.connect(relay.port, "127.0.0.1", () => socket.write(bytes))
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      const answer = yield* Effect.async<string>((resume) =>
        void socket.once("data", (chunk) => resume(Effect.succeed(String(chunk))))
      ).pipe(within(patience, "an answer"))
      expect(answer).toMatch(/^HTTP\/1\.1 408 /)
      yield* eventually(() => Effect.runSync(agent.session.snapshot).streams.length === 0)
    }))

  it.scopedLive("the relay resets the stream of an answer when its client reads nothing for stallTimeout", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ stallTimeout: "300 millis" })
      const endless: Http.RequestListener = (_request, response) => {
        const write = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65536)));
        }
        response.on("drain", write)
        write()
      }
      const agent = yield* serveAgent(relay.ws, "site", endless, { program: "p" })
      const socket = Net.connect(relay.port, "127.0.0.1", () => socket.write("GET /site HTTP/1.1\r\nhost: a\r\n\r\n"))
      socket.pause().on("error", () => {})
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      const streams = () => Effect.runSync(agent.session.snapshot).streams.length
      yield* eventually(() => streams() === 1)
      yield* eventually(() => streams() === 0)
    }))

  it.scopedLive("the relay keeps no early hints when its agent sends 40 MB to a client that reads nothing", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const { session } = yield* dialAgent(relay.ws, "site", { program: "p" })
      const sent = yield* Deferred.make<void>()
      const hint = `HTTP/1.1 103 Early Hints\r\nlink: </${"a".repeat(8000)}>; rel=preload\r\n\r\n`
      const hints = Buffer.from(hint.repeat(50))
      yield* Effect.forkScoped(session.run((stream) =>
        Effect.gen(function*() {
          for (let i = 0; i < 100; i++) yield* stream.write(hints)
          yield* Deferred.succeed(sent, undefined)
          yield* ByteStream.writeEnd(stream, Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend"))
        })
      ))
      const asking = "GET /site HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
      const socket = Net.connect(relay.port, "127.0.0.1", () => socket.write(asking)).pause()
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      yield* Deferred.await(sent).pipe(within(patience, "the hints at the relay"))
      const received: Array<Buffer> = []
      socket.on("data", (chunk) => received.push(chunk)).resume()
      yield* eventually(() => String(received.at(-1) ?? "").endsWith("end"))
      expect(Buffer.concat(received).length).toBeLessThan(20e6) // the buffers of the kernel
    }))

  it.scopedLive("the relay answers 503 when a name has maxStreamsPerName requests that run", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { maxStreamsPerName: 2 } })
      const held: Array<Http.ServerResponse> = []
      yield* serveAgent(relay.ws, "site", (_request, response) => void held.push(response), { program: "p" })
      yield* Effect.forkScoped(ask(`${relay.http}/site`))
      yield* Effect.forkScoped(ask(`${relay.http}/site`))
      yield* eventually(() => held.length === 2)
      expect(yield* ask(`${relay.http}/site`)).toMatchObject({ status: 503, headers: { "retry-after": "1" } })
      for (const response of held) response.end()
    }))
})
