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

/** A server for one client with the secret, and the sockets of all clients. */
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

/** A binary message of a client, with a mask of zeros. */
const message = (payload: string): Uint8Array =>
  concat([Uint8Array.of(0x82, 0x80 | payload.length, 0, 0, 0, 0), bytes(payload)])

describe("NodeTransportServer", () => {
  const attempts: Readonly<Record<string, readonly [request: string, status: number]>> = {
    "sends no authorization": [upgrade(), 401],
    "guesses the secret": [upgrade("authorization: Bearer guess"), 401],
    "sends an empty authorization": [upgrade("authorization:"), 401],
    "sends an empty secret": [upgrade("authorization: Bearer "), 401],
    "sends a part of the secret": [upgrade("authorization: Bearer secre"), 401],
    "sends more than the secret": [upgrade("authorization: Bearer secret1"), 401],
    "sends the secret twice in a header": [upgrade("authorization: Bearer secret, Bearer secret"), 401],
    "sends a wrong secret first": [upgrade("authorization: Bearer wrong", proof), 401],
    "sends the secret by another scheme": [upgrade("authorization: Basic secret"), 401],
    "sends the secret in another header": [
      upgrade("proxy-authorization: Bearer secret", "x-authorization: Bearer secret"),
      401
    ],
    "sends the secret as a cookie": [upgrade("cookie: authorization=Bearer secret"), 401],
    "sends the secret as a subprotocol": [upgrade("sec-websocket-protocol: bearer, secret"), 401],
    "sends the secret in the query": [upgrade().replace("GET /", "GET /?authorization=Bearer%20secret"), 401],
    "hides the secret behind a line feed": [upgrade("x: 1\nauthorization: Bearer secret"), 400],
    "hides the secret in a folded line": [upgrade("x: 1", " authorization: Bearer secret"), 400],
    "puts a space before the colon": [upgrade("authorization : Bearer secret"), 400],
    "puts a zero behind the secret": [upgrade("authorization: Bearer secret\0"), 400],
    "sends a secret of 12 KB": [upgrade(`authorization: Bearer ${"secret".repeat(2000)}`), 401],
    "sends a secret of 120 KB": [upgrade(`authorization: Bearer ${"secret".repeat(20_000)}`), 431],
    "speaks HTTP/1.0": [upgrade().replace("HTTP/1.1", "HTTP/1.0"), 401],
    "speaks HTTP/0.9": [upgrade().replace("HTTP/1.1", "HTTP/0.9"), 401],
    "names a whole URL": [upgrade().replace("GET /", "GET http://user:secret@127.0.0.1/"), 401],
    "sends a POST": [upgrade().replace("GET", "POST"), 401],
    "names no host": [upgrade().replace("host: 127.0.0.1\r\n", ""), 401],
    "sends another request behind the first": [upgrade() + upgrade(proof), 401],
    "sends another request as the body": [
      upgrade(`content-length: ${upgrade(proof).length}`) + upgrade(proof),
      401
    ],
    "sends another request as a chunk": [
      upgrade("transfer-encoding: chunked") + `${upgrade(proof).length.toString(16)}\r\n${upgrade(proof)}\r\n0\r\n\r\n`,
      401
    ],
    "gives two lengths": [upgrade("content-length: 0", "content-length: 9"), 400],
    "sends a message behind the request": [upgrade() + text(message("hello")), 401],
    "is a page of another host": [upgrade("origin: http://evil.example"), 403],
    "is a page of the same host": [upgrade("origin: http://127.0.0.1"), 401]
  }
  for (const [what, [request, status]] of Object.entries(attempts)) {
    it.scopedLive(`NodeTransportServer answers ${status} once and keeps nothing when a client ${what}`, () =>
      Effect.gen(function*() {
        const { next, port, sockets } = yield* guarded()
        expect(statuses(yield* rawAnswer(port, Buffer.from(request, "latin1")))).toEqual([status])
        yield* eventually(() => sockets.length === 1 && sockets.every(({ destroyed }) => destroyed))
        // The server has room for one connection, and the next client gets it.
        const friend = yield* rawClient(`ws://127.0.0.1:${port}/`, [...upgradeHeaders, proof])
        expect(yield* friend.answer).toBe("HTTP/1.1 101 Switching Protocols")
        yield* next
        expect(sockets.length).toBe(2)
      }))
  }

  it.scopedLive("NodeTransportServer delivers a message when it comes with an authorised upgrade", () =>
    Effect.gen(function*() {
      const { next, port } = yield* guarded()
      const first = concat([Buffer.from(upgrade(proof)), message("at once")])
      expect(statuses(yield* rawAnswer(port, first))).toEqual([101])
      expect(text(yield* (yield* listen(yield* next)).next)).toBe("at once")
    }))

  it.scopedLive("NodeTransportServer answers 400 or more when an authorised upgrade is malformed", () =>
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
    it.scopedLive(`NodeTransportServer answers 404 when an authorised client asks for ${target}`, () =>
      Effect.gen(function*() {
        const { port, sockets } = yield* guarded({ path: "/session" })
        expect(statuses(yield* rawAnswer(port, upgrade(proof).replace("GET /", `GET ${target}`)))).toEqual([404])
        yield* eventually(() => sockets.every(({ destroyed }) => destroyed))
      }))
  }
})
