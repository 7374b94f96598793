import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import type { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import { bytes } from "../../support/bytes.js"
import { keepAll, silentServer, standardConstructor, tcpServer, urlOf } from "../../support/transports.js"

const secret = "correct-horse-battery-staple"
const headers = { authorization: `Bearer ${secret}`, cookie: `session=${secret}` }

/** Adds the secret to an address as password and in the query. */
const secretive = (url: string) => `${url.replace("://", `://user:${secret}@`)}/?token=${secret}`

/** All printed forms of a failure. */
const everything = (failure: unknown): string =>
  [
    String(failure),
    JSON.stringify(failure),
    inspect(failure, { depth: 20, showHidden: true, getters: true }),
    Cause.pretty(Cause.fail(failure), { renderErrorCause: true }),
    (failure as Error).stack
  ].join("\n")

type Dial = (url: string, openTimeout: Duration.DurationInput) => Effect.Effect<unknown, ConnectFailure, Scope.Scope>

const dials: Readonly<Record<string, Dial>> = {
  "NodeTransport.connect": (url, openTimeout) => NodeTransport.connect(url, { headers, openTimeout }),
  "WebSocketTransport.connect": (url, openTimeout) =>
    WebSocketTransport.connect(url, { openTimeout }).pipe(
      Effect.provideService(Socket.WebSocketConstructor, standardConstructor)
    )
}

describe("ConnectFailure", () => {
  for (const [name, dial] of Object.entries(dials)) {
    it.scopedLive(`ConnectFailure shows no secret of address or headers when ${name} fails`, () =>
      Effect.gen(function*() {
        const { port } = yield* tcpServer((socket) => socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n"))
        const garbage = yield* tcpServer((socket) => socket.end("garbage\r\n\r\n"))
        const silent = yield* silentServer
        const silentUrl = silent.url.replace(/\/$/, "")
        const urls = [
          `ws://127.0.0.1:${port}`,
          `ws://127.0.0.1:${garbage.port}`,
          silentUrl,
          "ws://127.0.0.1:1",
          `wss://127.0.0.1:${port}`,
          "http://127.0.0.1:1",
          "ws://127.0.0.1:port",
          "ws://"
        ]
        const reasons = new Set<string>()
        for (const url of urls) {
          const failure = yield* Effect.flip(dial(secretive(url), url === silentUrl ? "50 millis" : "10 seconds"))
          reasons.add(failure.reason)
          expect(everything(failure)).not.toContain(secret)
        }
        expect([...reasons]).toEqual(expect.arrayContaining(["Unreachable", "Timeout", "InvalidUrl"]))
      }))
  }

  it.scopedLive("ConnectFailure shows no header value when Node cannot send the header", () =>
    Effect.gen(function*() {
      for (const value of [`${secret}\n`, `${secret}\u{1f511}`]) {
        const failure = yield* Effect.flip(
          NodeTransport.connect("ws://127.0.0.1:1", { headers: { authorization: value } })
        )
        expect(everything(failure)).toContain("authorization")
        expect(everything(failure)).not.toContain(secret)
      }
    }))
})

/** Everything that loggers and tracers receive while a program runs. */
const overheard = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const seen: Array<unknown> = []
    const log = Logger.make((entry) => void seen.push(entry.message, entry.annotations, Cause.pretty(entry.cause)))
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind, options) => {
        const span = native.span(name, parent, context, links, startTime, kind, options)
        seen.push(name, span.attributes, options?.attributes)
        return span
      },
      context: (f, fiber) => native.context(f, fiber)
    })
    yield* program.pipe(
      Effect.withTracer(tracer),
      Effect.provide(Layer.merge(Logger.replace(Logger.defaultLogger, log), Logger.minimumLogLevel(LogLevel.All)))
    )
    return inspect(seen, { depth: 20 })
  })

describe("Session", () => {
  it.scopedLive("Session shows loggers and tracers no secret when its connection was made with one", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({
        authorize: ({ headers }) => headers.cookie === `session=${secret}` ? Effect.void : Effect.fail({ status: 401 })
      })
      const { next } = yield* keepAll(server)
      const url = secretive(urlOf(server))
      const seen = yield* overheard(
        Effect.gen(function*() {
          const transport = yield* NodeTransport.connect(url, { headers })
          const session = yield* Effect.provideService(Session.makeClient({ log: true }), Transport, transport)
          const accepted = yield* next
          const peer = yield* Effect.provideService(Session.makeServer({ log: true }), Transport, accepted)
          const [stream] = yield* Effect.all([session.open(), peer.accept], { concurrency: 2 })
          yield* stream.write(bytes("hello"))
          yield* Effect.log(yield* session.snapshot, yield* peer.snapshot, session.localAddress, session.remoteAddress)
          yield* accepted.close(1008, "enough", 0)
          yield* Effect.log(yield* session.awaitClosed)
          yield* Effect.log(yield* Effect.flip(session.open()), yield* Effect.flip(stream.write(bytes("more"))))
        }).pipe(Effect.scoped)
      )
      expect(seen).toContain("Session.open")
      expect(seen).toContain("1008")
      expect(seen).not.toContain(secret)
    }))

  it.scopedLive("ReconnectingSession shows no secret when the server refuses every attempt", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ authorize: () => Effect.fail({ status: 401 }) })
      const seen = yield* overheard(
        Effect.gen(function*() {
          const session = yield* ReconnectingSession.make({
            transport: Effect.flatMap(
              Effect.succeed(Redacted.make(secret)),
              (token) =>
                NodeTransport.connect(secretive(urlOf(server)), {
                  headers: { authorization: `Bearer ${Redacted.value(token)}` }
                })
            ),
            schedule: Schedule.recurs(2)
          })
          const failure = yield* Effect.flip(session.open())
          yield* Effect.log(failure, failure.message, everything(failure))
          yield* Effect.logError("it failed", Cause.fail(failure))
        }).pipe(Effect.scoped)
      )
      expect(seen).toContain("the server answered 401")
      expect(seen).not.toContain(secret)
    }))
})
