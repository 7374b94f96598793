import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as ResumeServer from "effect-wsmux/ResumeServer"
import * as Session from "effect-wsmux/Session"
import * as SessionRoute from "effect-wsmux/SessionRoute"
import { Transport } from "effect-wsmux/Transport"
import { SessionClosed } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import { FaultProxy } from "../../robustness/faults/proxy.js"
import { pattern } from "../../support/bytes.js"
import { loseFourTimes } from "../../support/resumable.js"
import { auto, readAll, readSome } from "../../support/sessions.js"
import { patience, within } from "../../support/within.js"

const users: Readonly<Record<string, string>> = { "Bearer one": "Ada", "Bearer two": "Ada", "Bearer three": "Mallory" }

/** A route whose sessions echo and can be resumed, and a session of a client with the token `one`. */
const makeRoute = Effect.gen(function*() {
  const resume = yield* ResumeServer.make<string>()
  const principals: Array<string> = []
  const echo = (session: Session.Session<string>) =>
    Effect.zipRight(
      Effect.sync(() => principals.push(session.principal)),
      session.run((stream) => Stream.run(stream.readable, stream.writable))
    )
  const { drain, route } = yield* SessionRoute.makeDrainable(echo, {
    settings: auto,
    resume,
    authorize: ({ headers }) => {
      const user = users[headers.authorization ?? ""]
      return user === undefined ? Effect.fail(HttpServerResponse.empty({ status: 401 })) : Effect.succeed(user)
    }
  })
  const http = yield* NodeHttpServer.make(() => Http.createServer(), { port: 0, host: "127.0.0.1" })
  yield* http.serve(route)
  const { port } = http.address as Extract<typeof http.address, { readonly _tag: "TcpAddress" }>
  const proxy = yield* FaultProxy.make(port)
  const credentials = { token: "one" }
  const url = `ws://127.0.0.1:${proxy.port}/`
  const dial = Effect.suspend(() =>
    NodeTransport.connect(url, { headers: { authorization: `Bearer ${credentials.token}` } })
  )
  const transport = yield* ResumableTransport.connect(dial, { schedule: Schedule.spaced("20 millis") })
  const session = yield* Effect.provideService(Session.makeClient(auto), Transport, transport)
  return { credentials, drain, principals, proxy, session, suspended: resume.suspended, transport, url }
})

const content = pattern(2_000_000)

/** The bytes after which each WebSocket is lost: windows are full, and messages are under way. */
const enough = 350_000

describe("SessionRoute.make", () => {
  it.scopedLive("SessionRoute.make goes on with its session and handler when 4 connections are lost", () =>
    Effect.gen(function*() {
      const { credentials, principals, proxy, session, suspended, transport } = yield* makeRoute
      yield* loseFourTimes(proxy, transport, enough)
      const stream = yield* session.open()
      credentials.token = "two" // another token of the same principal
      const [echoed] = yield* Effect.all([readAll(stream), ByteStream.writeEnd(stream, content)], { concurrency: 2 })
        .pipe(within(patience, "the echo"))
      expect(Buffer.compare(echoed, content)).toBe(0)
      expect((yield* session.snapshot).resumption).toMatchObject({ state: "connected", resumed: 4 })
      expect(principals).toEqual(["Ada"])
      expect(yield* suspended).toBe(0)
    }))

  it.scopedLive("SessionRoute.make refuses another principal when it would resume, and keeps the session", () =>
    Effect.gen(function*() {
      const { credentials, principals, proxy, session, suspended } = yield* makeRoute
      yield* session.open()
      credentials.token = "three"
      proxy.lose("reset")
      expect(yield* session.awaitClosed.pipe(within(patience, "the end of the session"))).toMatchObject({
        _tag: "TransportFailure",
        cause: { _tag: "ResumeFailure", reason: "OtherPrincipal", loss: { code: 1006 } }
      })
      expect(yield* suspended).toBe(1)
      expect(principals).toEqual(["Ada"])
    }))

  it.scopedLive("SessionRoute.makeDrainable takes a client that resumes back while the route drains", () =>
    Effect.gen(function*() {
      const { drain, principals, proxy, session, url } = yield* makeRoute
      const stream = yield* session.open()
      yield* stream.write(pattern(10))
      expect(yield* readSome(stream)).toEqual(pattern(10))
      const draining = yield* Effect.fork(drain())
      yield* session.awaitDraining
      const fresh = yield* NodeTransport.connect(url, {
        headers: { authorization: "Bearer one", "wsmux-resume": "1" }
      })
      const newcomer = yield* Effect.provideService(Session.makeClient(auto), Transport, fresh)
      expect(yield* newcomer.awaitClosed.pipe(within(patience, "the end of another session"))).toEqual(
        new SessionClosed({ by: "peer", code: 1013, reason: "the server takes no more sessions" })
      )
      proxy.lose("reset")
      yield* ByteStream.writeEnd(stream, pattern(20))
      expect(yield* readAll(stream).pipe(within(patience, "the echo"))).toEqual(pattern(20))
      yield* Fiber.join(draining).pipe(within(patience, "the end of the drain"))
      expect(principals).toEqual(["Ada"])
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1001, reason: "drained" }))
    }))

  it.scopedLive("SessionRoute.make refuses a client with 401 when its token does not count any more", () =>
    Effect.gen(function*() {
      const { credentials, proxy, session, suspended } = yield* makeRoute
      yield* session.open()
      credentials.token = "taken back"
      proxy.lose("end")
      expect(yield* session.awaitClosed.pipe(within(patience, "the end of the session"))).toMatchObject({
        _tag: "TransportFailure",
        cause: { _tag: "ResumeFailure", reason: "AttemptsEnded", cause: { _tag: "ConnectFailure", status: 401 } }
      })
      expect(yield* suspended).toBe(1)
    }))
})
