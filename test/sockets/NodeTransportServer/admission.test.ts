import { describe, expect, it } from "@effect/vitest"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import type * as Net from "node:net"
import { bytes, concat, text } from "../../support/bytes.js"
import {
  eventually,
  keepAll,
  listening,
  portOf,
  rawAnswer,
  rawClient,
  upgradeHeaders
} from "../../support/transports.js"
import { listen } from "../../support/transportSuite.js"

const proof = "authorization: Bearer secret"

/** A server that lets in whoever proves to know the secret, and what there is of those who have come. */
const guarded = (options: NodeTransportServer.Options = {}) =>
  Effect.gen(function*() {
    const sockets: Array<Net.Socket> = []
    const http = yield* listening(Http.createServer().on("connection", (socket) => sockets.push(socket)))
    const server = yield* NodeTransportServer.make({
      server: http,
      maxConnections: 1,
      authorize: ({ headers }) =>
        headers.authorization === "Bearer secret" ? Effect.void : Effect.fail({ status: 401 }),
      ...options
    })
    const { next } = yield* keepAll(server)
    return { sockets, next, port: portOf(http) }
  })

const lines = (...lines: ReadonlyArray<string>): string => [...lines, "", ""].join("\r\n")

const upgrade = (...headers: ReadonlyArray<string>): string =>
  lines("GET / HTTP/1.1", "host: 127.0.0.1", ...upgradeHeaders, ...headers)

const statuses = (answer: string): ReadonlyArray<number> =>
  Array.from(answer.matchAll(/^HTTP\/1\.1 (\d{3}) /gm), ([, status]) => Number(status))

/** A binary message as a client sends it, under a mask of zeros. */
const message = (payload: string): Uint8Array =>
  concat([Uint8Array.of(0x82, 0x80 | payload.length, 0, 0, 0, 0), bytes(payload)])

describe("who cannot prove anything", () => {
  const attempts: Readonly<Record<string, readonly [request: string, status: number]>> = {
    "says nothing": [upgrade(), 401],
    "guesses": [upgrade("authorization: Bearer guess"), 401],
    "shows nothing": [upgrade("authorization:"), 401],
    "shows an empty secret": [upgrade("authorization: Bearer "), 401],
    "shows a part of it": [upgrade("authorization: Bearer secre"), 401],
    "shows more than it": [upgrade("authorization: Bearer secret1"), 401],
    "shows it twice in one": [upgrade("authorization: Bearer secret, Bearer secret"), 401],
    "shows a wrong one first": [upgrade("authorization: Bearer wrong", proof), 401],
    "shows it as another scheme": [upgrade("authorization: Basic secret"), 401],
    "shows it in another header": [
      upgrade("proxy-authorization: Bearer secret", "x-authorization: Bearer secret"),
      401
    ],
    "shows it as a cookie": [upgrade("cookie: authorization=Bearer secret"), 401],
    "shows it as a subprotocol": [upgrade("sec-websocket-protocol: bearer, secret"), 401],
    "shows it in the query": [upgrade().replace("GET /", "GET /?authorization=Bearer%20secret"), 401],
    "hides it behind a bare line feed": [upgrade("x: 1\nauthorization: Bearer secret"), 400],
    "hides it behind a folded line": [upgrade("x: 1", " authorization: Bearer secret"), 400],
    "puts a space before the colon": [upgrade("authorization : Bearer secret"), 400],
    "puts a zero behind it": [upgrade("authorization: Bearer secret\0"), 400],
    "shows ten thousand letters": [upgrade(`authorization: Bearer ${"secret".repeat(2000)}`), 401],
    "shows a hundred thousand letters": [upgrade(`authorization: Bearer ${"secret".repeat(20_000)}`), 431],
    "speaks HTTP/1.0": [upgrade().replace("HTTP/1.1", "HTTP/1.0"), 401],
    "speaks HTTP/0.9": [upgrade().replace("HTTP/1.1", "HTTP/0.9"), 401],
    "names a whole URL": [upgrade().replace("GET /", "GET http://user:secret@127.0.0.1/"), 401],
    "posts": [upgrade().replace("GET", "POST"), 401],
    "names no host": [upgrade().replace("host: 127.0.0.1\r\n", ""), 401],
    "sends another request along": [upgrade() + upgrade(proof), 401],
    "sends another request as the body": [
      upgrade(`content-length: ${upgrade(proof).length}`) + upgrade(proof),
      401
    ],
    "sends another request as a chunk": [
      upgrade("transfer-encoding: chunked") + `${upgrade(proof).length.toString(16)}\r\n${upgrade(proof)}\r\n0\r\n\r\n`,
      401
    ],
    "gives two lengths": [upgrade("content-length: 0", "content-length: 9"), 400],
    "sends messages along": [upgrade() + text(message("hello")), 401],
    "is a page, too": [upgrade("origin: http://evil.example"), 403],
    "is a page of ours": [upgrade("origin: http://127.0.0.1"), 401]
  }
  for (const [what, [request, status]] of Object.entries(attempts)) {
    it.scopedLive(`gets ${status} when he ${what}, once, and nothing stays`, () =>
      Effect.gen(function*() {
        const { next, port, sockets } = yield* guarded()
        expect(statuses(yield* rawAnswer(port, Buffer.from(request, "latin1")))).toEqual([status])
        yield* eventually(() => sockets.length === 1 && sockets.every(({ destroyed }) => destroyed))
        // There is room for one: whoever may come in finds it.
        const friend = yield* rawClient(`ws://127.0.0.1:${port}/`, [...upgradeHeaders, proof])
        expect(yield* friend.answer).toBe("HTTP/1.1 101 Switching Protocols")
        yield* next
        expect(sockets.length).toBe(2)
      }))
  }
})

describe("who may come in", () => {
  it.scopedLive("is heard from the first byte on, as soon as he may", () =>
    Effect.gen(function*() {
      const { next, port } = yield* guarded()
      const first = concat([Buffer.from(upgrade(proof)), message("at once")])
      expect(statuses(yield* rawAnswer(port, first))).toEqual([101])
      expect(text(yield* (yield* listen(yield* next)).next)).toBe("at once")
    }))

  it.scopedLive("comes in with a GET and one header of each kind only", () =>
    Effect.gen(function*() {
      const { port } = yield* guarded()
      const answers = [upgrade(proof).replace("GET", "POST"), upgrade(proof, "sec-websocket-protocol: a, a")]
      for (const request of answers) expect(statuses(yield* rawAnswer(port, request))[0]).toBeGreaterThanOrEqual(400)
    }))

  for (
    const target of [
      "/",
      "/session/",
      "//session",
      "/SESSION",
      "/%73ession",
      "/session%00",
      "/session;x",
      "/other/../session",
      "http://127.0.0.1/session",
      "*"
    ]
  ) {
    it.scopedLive(`does not come in by ${target} where another path is meant`, () =>
      Effect.gen(function*() {
        const { port, sockets } = yield* guarded({ path: "/session" })
        expect(statuses(yield* rawAnswer(port, upgrade(proof).replace("GET /", `GET ${target}`)))).toEqual([404])
        yield* eventually(() => sockets.every(({ destroyed }) => destroyed))
      }))
  }
})
