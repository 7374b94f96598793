import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import type { Session } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import { Pool } from "undici"
import { plainly } from "../../support/observe.js"
import { makeSessions } from "../../support/sessions.js"

const tryPromise = <A>(evaluate: () => Promise<A>) =>
  Effect.tryPromise({ try: evaluate, catch: (error) => error as NodeJS.ErrnoException })

/** Fails with the name of the awaited event before the time-out of the test. */
const within = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutFail(effect, { duration: "10 seconds", onTimeout: () => new Error(`not within 10 s: ${what}`) })

const streams = (session: Session, count: number) =>
  within(
    `${count} streams`,
    Effect.repeat(Effect.delay(session.snapshot, 1), { until: ({ streams }) => streams.length === count })
  )

/** A pool of undici, made as the documentation of `NodeDuplex.connector` shows, and the server behind the session. */
const makePool = (listener: Http.RequestListener, options: Pool.Options = {}, settings: Http.ServerOptions = {}) =>
  Effect.gen(function*() {
    const size = { streamBufferSize: 64 * 1024 }
    const sessions = yield* makeSessions(plainly({ client: size, server: size }))
    yield* Effect.fork(NodeDuplex.serve(sessions.server, Http.createServer(settings, listener)))
    const dial = yield* NodeDuplex.connector(sessions.client)
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() =>
        new Pool("http://inside", {
          connect: (_, callback) => process.nextTick(callback, null, dial()),
          ...options
        })
      ),
      (pool) => Effect.promise(() => pool.destroyed ? Promise.resolve() : pool.destroy())
    )
    const get = (path: string) =>
      tryPromise(async () => {
        const { body, statusCode } = await pool.request({ path, method: "GET" })
        return `${statusCode} ${await body.text()}`
      })
    return { ...sessions, pool, get }
  })

const hello: Http.RequestListener = (request, response) => void response.end(`hello ${request.url}`)

describe("NodeDuplex.connector with undici", () => {
  it.scopedLive("undici reuses a stream for one request after the other, and leaves it when it closes", () =>
    Effect.gen(function*() {
      const { client, get, pool } = yield* makePool(hello, { connections: 1 })
      const answers = yield* Effect.forEach([0, 1, 2, 3], (i) => within("an answer", get(`/${i}`)))
      expect(answers).toEqual([0, 1, 2, 3].map((i) => `200 hello /${i}`))
      expect((yield* client.snapshot).counters.opened).toBe(1)
      yield* within("the pool to close", Effect.promise(() => pool.close()))
      yield* streams(client, 0)
    }))

  it.scopedLive("undici fails a body and goes on when the server destroys its connection", () =>
    Effect.gen(function*() {
      const { client, get } = yield* makePool((request, response) => {
        if (request.url !== "/broken") return hello(request, response)
        response.writeHead(200, { "content-length": 100 })
        response.write("half of it", () => response.socket!.destroy())
      })
      expect(yield* within("a failure", Effect.flip(get("/broken")))).toMatchObject({ code: "UND_ERR_SOCKET" })
      yield* streams(client, 0)
      expect(yield* within("an answer", get("/again"))).toBe("200 hello /again")
    }))

  it.scopedLive("undici opens another stream when the server has closed an idle connection", () =>
    Effect.gen(function*() {
      const { client, get } = yield* makePool(hello, {}, { keepAliveTimeout: 50 })
      expect(yield* within("an answer", get("/one"))).toBe("200 hello /one")
      yield* streams(client, 0)
      expect(yield* within("an answer", get("/two"))).toBe("200 hello /two")
      expect((yield* client.snapshot).counters.opened).toBe(2)
    }))

  it.scopedLive("undici gives its stream up when the server does not answer in time", () =>
    Effect.gen(function*() {
      const { client, get } = yield* makePool(() => {}, { headersTimeout: 100 })
      expect(yield* within("a time-out", Effect.flip(get("/never")))).toMatchObject({
        code: "UND_ERR_HEADERS_TIMEOUT"
      })
      yield* streams(client, 0)
    }))

  it.scopedLive("undici fails a body with the error of the stream when the session is lost", () =>
    Effect.gen(function*() {
      const { get, pair } = yield* makePool((_request, response) => {
        response.writeHead(200, { "content-length": 100 })
        response.write("half of it")
        Effect.runFork(Effect.delay(pair.cut, 20))
      })
      expect(yield* within("a failure", Effect.flip(get("/")))).toMatchObject({
        code: "ECONNRESET",
        cause: { _tag: "BrokenPipe" }
      })
    }))
})
