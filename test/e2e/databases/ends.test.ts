import { describe, expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { programs } from "../../support/programs.js"
import { within } from "../../support/within.js"
import { mariadb, postgres, redis, type Server } from "./servers.js"
import { makeMysql, makePool, makeRedis, promise, shared, throughSession, type Way } from "./support.js"

/** A client of a database with default options, made as its documentation shows. */
interface Client {
  readonly ask: Effect.Effect<string, Error>
  /** Makes the server close every connection of this client. */
  readonly kill: Effect.Effect<unknown>
  readonly end: Effect.Effect<unknown>
}

interface Database {
  readonly isMissing: boolean
  readonly server: Effect.Effect<Server, never, Scope.Scope>
  readonly make: (way: Way, port: number) => Effect.Effect<Client, never, Scope.Scope>
  /** A client that waits half a second for its connection. */
  readonly makeImpatient: (way: Way) => Effect.Effect<Pick<Client, "ask">, never, Scope.Scope>
}

const tryPromise = <A>(evaluate: () => Promise<A>) =>
  Effect.tryPromise({ try: evaluate, catch: (error) => error as Error })

const first = (rows: unknown) => (rows as ReadonlyArray<{ readonly answer: string }>)[0]!.answer

const databases: Readonly<Record<string, Database>> = {
  "pg": {
    isMissing: programs.PostgreSQL === undefined,
    server: postgres,
    make: (way, port) =>
      Effect.gen(function*() {
        const pool = yield* makePool(way)
        const admin = yield* makePool({ ...way, address: { host: "127.0.0.1", port } })
        const others = "select pg_terminate_backend(pid) from pg_stat_activity " +
          "where backend_type = 'client backend' and pid <> pg_backend_pid()"
        return {
          ask: tryPromise(async () => first((await pool.query("select 'pong' as answer")).rows)),
          kill: promise(() => admin.query(others)),
          end: promise(() => pool.end())
        }
      }),
    makeImpatient: (way) =>
      Effect.map(makePool(way, { connectionTimeoutMillis: 500 }), (pool) => ({
        ask: tryPromise(async () => first((await pool.query("select 'pong' as answer")).rows))
      }))
  },
  "ioredis": {
    isMissing: programs.Redis === undefined,
    server: redis,
    make: (way) =>
      Effect.gen(function*() {
        const client = yield* makeRedis(way, {})
        return {
          ask: tryPromise(() => client.echo("pong")),
          kill: promise(() => client.client("KILL", "TYPE", "normal", "SKIPME", "no").catch(() => {})),
          end: promise(() => client.quit())
        }
      }),
    makeImpatient: (way) =>
      Effect.map(
        makeRedis(way, { socketTimeout: 500, retryStrategy: () => null, maxRetriesPerRequest: 0 }),
        (client) => ({ ask: tryPromise(() => client.echo("pong")) })
      )
  },
  "mysql2": {
    isMissing: programs.MariaDB === undefined,
    server: mariadb,
    make: (way, port) =>
      Effect.gen(function*() {
        const pool = yield* makeMysql(way)
        const admin = yield* makeMysql({ ...way, address: { host: "127.0.0.1", port } })
        return {
          ask: tryPromise(async () => first((await pool.query("select 'pong' as answer"))[0])),
          kill: promise(async () => {
            const [rows] = await admin.query(
              "select id from information_schema.processlist where command = 'Sleep' and id <> connection_id()"
            )
            for (const { id } of rows as unknown as ReadonlyArray<{ readonly id: number }>) {
              await admin.query(`kill ${id}`)
            }
          }),
          end: promise(() => pool.end())
        }
      }),
    makeImpatient: (way) =>
      Effect.map(makeMysql(way, { connectTimeout: 500 }), (pool) => ({
        ask: tryPromise(async () => first((await pool.query("select 'pong' as answer"))[0]))
      }))
  }
}

/** How long a driver may take for its time-outs and for dialling again. */
const patience = "20 seconds"

/** Waits until the session has this many streams. */
const streams = (session: Session, count: number) =>
  Effect.repeat(Effect.delay(session.snapshot, 5), { until: ({ streams }) => streams.length === count }).pipe(
    within(patience, `a session with ${count} streams`)
  )

/** Asks until the database answers, as a program does that has met an error. */
const eventualAnswer = (client: Pick<Client, "ask">) =>
  Effect.retry(client.ask, Schedule.spaced("50 millis")).pipe(within(patience, "an answer of the database"))

for (const [name, database] of Object.entries(databases)) {
  describe.skipIf(database.isMissing).sequential(`${name} over a session`, () => {
    const server = shared(database.server)
    const reached = Effect.gen(function*() {
      const way = yield* throughSession(server().port)
      const client = yield* database.make(way, server().port)
      expect(yield* client.ask.pipe(within(patience, "the first answer"))).toBe("pong")
      return { client, session: way.session }
    })

    it.scopedLive(`${name} leaves its streams when the program ends the client`, () =>
      Effect.gen(function*() {
        const { client, session } = yield* reached
        yield* client.end.pipe(within(patience, "the end of the client"))
        yield* streams(session, 0)
      }), 60_000)

    it.scopedLive(`${name} connects again when the server closes its connection`, () =>
      Effect.gen(function*() {
        const { client, session } = yield* reached
        const { counters } = yield* session.snapshot
        yield* client.kill.pipe(within(patience, "the server to close the connection"))
        yield* Effect.repeat(Effect.delay(session.snapshot, 5), {
          until: ({ counters: { opened }, streams }) => streams.length === 0 || opened > counters.opened
        }).pipe(within(patience, "the end of the stream"))
        expect(yield* eventualAnswer(client)).toBe("pong")
        yield* streams(session, 1)
      }), 60_000)

    it.scopedLive(`${name} connects again when the server has started again`, () =>
      Effect.gen(function*() {
        const { client, session } = yield* reached
        yield* server().stop
        yield* Effect.ensuring(
          Effect.either(client.ask).pipe(
            Effect.timeoutTo({ duration: "1 seconds", onTimeout: () => undefined, onSuccess: Either.isLeft }),
            within(patience, "the end of the connection")
          ),
          server().start
        )
        expect(yield* eventualAnswer(client)).toBe("pong")
        yield* streams(session, 1)
      }), 60_000)

    it.scopedLive(
      `${name} gives a connection up in time when the server stops answering`,
      () =>
        Effect.gen(function*() {
          const { session, ...way } = yield* throughSession(server().port)
          const client = yield* database.makeImpatient(way)
          const failure = yield* Effect.acquireUseRelease(
            server().freeze,
            () => Effect.flip(client.ask).pipe(within(patience, "the time-out of the driver")),
            () => server().thaw
          )
          expect(failure).toBeInstanceOf(Error)
          yield* streams(session, 0)
        }),
      60_000
    )
  })
}
