import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import type { Session } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Http from "node:http"
import * as Https from "node:https"
import { bytes, text } from "../../../support/bytes.js"
import { plainly } from "../../../support/observe.js"
import { makeSessions, readAll } from "../../../support/sessions.js"

// Node destroys an idle connection, which a peer with the dialect would take for a reset.
const settings = plainly({ client: { streamBufferSize: 64 * 1024 }, server: { streamBufferSize: 64 * 1024 } })
const head = "GET / HTTP/1.1\r\nhost: inside\r\n"

/** A server that does not listen, and a client of the session that it serves. */
const makeServed = (options: Http.ServerOptions) =>
  Effect.gen(function*() {
    const { client, server } = yield* makeSessions(settings)
    const events: Array<string> = []
    const http = Http.createServer({ connectionsCheckingInterval: 20, ...options }, (_request, response) => {
      response.end("hello")
    })
    http.on("listening", () => events.push("listening")).on("close", () => events.push("close"))
    const serving = yield* Effect.fork(NodeDuplex.serve(server, http))
    return { client, events, http, serving }
  })

/** The server's answer to these bytes, up to the end of the connection. */
const answerTo = (client: Session, request: string) =>
  Effect.gen(function*() {
    const stream = yield* client.open()
    yield* stream.write(bytes(request))
    return text(yield* readAll(stream))
  }).pipe(Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error("the server does not hang up") }))

describe("NodeDuplex.serve", () => {
  it.scopedLive("NodeDuplex.serve answers 408 when a head takes longer than headersTimeout", () =>
    Effect.gen(function*() {
      const { client } = yield* makeServed({ headersTimeout: 50 })
      expect(yield* answerTo(client, head)).toMatch(/^HTTP\/1\.1 408 /)
    }))

  it.scopedLive("NodeDuplex.serve answers 408 when a body takes longer than requestTimeout", () =>
    Effect.gen(function*() {
      const { client } = yield* makeServed({ headersTimeout: 50, requestTimeout: 50 })
      expect(yield* answerTo(client, `${head}transfer-encoding: chunked\r\n\r\n1\r\n`)).toMatch(/HTTP\/1\.1 408 /)
    }))

  it.scopedLive("NodeDuplex.serve hangs up when a connection is idle for keepAliveTimeout", () =>
    Effect.gen(function*() {
      const { client } = yield* makeServed({ keepAliveTimeout: 50 })
      expect(yield* answerTo(client, `${head}\r\n`)).toMatch(/^HTTP\/1\.1 200 [^]*hello$/)
    }))

  it.scopedLive("NodeDuplex.serve lets closeIdleConnections close connections between requests", () =>
    Effect.gen(function*() {
      const { client, http } = yield* makeServed({ keepAliveTimeout: 0 })
      const stream = yield* client.open()
      yield* stream.write(bytes(`${head}\r\n`))
      yield* stream.read
      http.closeIdleConnections()
      yield* Effect.timeoutFail(readAll(stream), {
        duration: "10 seconds",
        onTimeout: () => new Error("the idle connection stays open")
      })
    }))

  it.scopedLive("NodeDuplex.serve watches a server until the last session that it serves has ended", () =>
    Effect.gen(function*() {
      const { client, events, http, serving } = yield* makeServed({ headersTimeout: 50 })
      const other = yield* makeSessions(settings)
      const servingOther = yield* Effect.fork(NodeDuplex.serve(other.server, http))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(servingOther)
      expect(yield* answerTo(client, head)).toMatch(/^HTTP\/1\.1 408 /)
      expect(timersOf(http)).toEqual(["running"])
      yield* Fiber.interrupt(serving)
      expect(timersOf(http)).toEqual(["over"])
      expect(events).toEqual([]) // the program's own server is neither listening nor closed
    }))

  it.scopedLive("NodeDuplex.serve watches an https.Server, too", () =>
    Effect.gen(function*() {
      const { server } = yield* makeSessions(settings)
      const https = Https.createServer({})
      const serving = yield* Effect.fork(NodeDuplex.serve(server, https))
      yield* Effect.yieldNow()
      expect(timersOf(https)).toEqual(["running"])
      yield* Fiber.interrupt(serving)
      expect(timersOf(https)).toEqual(["over"])
    }))
})

/** The timers that Node keeps in a server. Node emits no event for them. */
const timersOf = (server: object): ReadonlyArray<string> =>
  Object.getOwnPropertySymbols(server)
    .map((symbol) => (server as Record<symbol, unknown>)[symbol])
    .filter((value): value is { readonly _destroyed: boolean } =>
      typeof value === "object" && value !== null && "_idleTimeout" in value
    )
    .map(({ _destroyed }) => _destroyed ? "over" : "running")
