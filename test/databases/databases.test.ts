import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as WsTransport from "effect-wsmux/WsTransport"
import * as WsTransportServer from "effect-wsmux/WsTransportServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { AbstractConnector, Redis } from "ioredis"
import { createHash } from "node:crypto"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import Pg from "pg"
import { tunnel } from "../cli/wsmux.js"
import { pattern } from "../support/bytes.js"
import { programs } from "../support/programs.js"
import { postgres, redis } from "./servers.js"

const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)
const sha = (data: Uint8Array) => createHash("sha256").update(data).digest("hex")
const large = Buffer.from(pattern(8 * 1024 * 1024))

/** How clients of a database reach it. */
interface Way {
  readonly pg: Pg.PoolConfig
  readonly dial: () => Duplex
}

const throughTunnel = (port: number): Effect.Effect<Way, never, Scope.Scope> =>
  Effect.map(tunnel(port), ({ client }) => ({
    pg: { host: "127.0.0.1", port: client.port },
    dial: () => Net.connect(client.port, "127.0.0.1")
  }))

/** A session whose far end joins each stream with a connection to the database. */
const throughSession = (port: number) =>
  Effect.gen(function*() {
    const settings = { streamBufferSize: 256 * 1024 }
    const listening = yield* Layer.build(
      SessionServer.layer(settings).pipe(Layer.provide(WsTransportServer.layer()), Layer.orDie)
    )
    const server = Context.get(listening, SessionServer.SessionServer)
    yield* Effect.fork(server.run((session) =>
      session.run((stream) =>
        Effect.flatMap(
          NodeDuplex.toByteStream(() => Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })),
          (socket) => ByteStream.join(stream, socket)
        )
      )
    ))
    const session = Context.get(
      yield* Layer.build(
        Session.layerClient(settings).pipe(
          Layer.provide(WsTransport.layer(`ws://${Address.format(server.address)}`)),
          Layer.orDie
        )
      ),
      Session.Session
    )
    const dial = yield* NodeDuplex.connector(session, { allowHalfOpen: false })
    return { session, dial, pg: { stream: dial } }
  })

const ways: Readonly<Record<string, (port: number) => Effect.Effect<Way, never, Scope.Scope>>> = {
  "through the tunnel": throughTunnel,
  "over duplexes": throughSession
}

const makePool = ({ pg }: Pick<Way, "pg">) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const pool = new Pg.Pool({ user: "wsmux", database: "postgres", max: 20, ...pg })
      pool.on("error", () => {}) // a connection that breaks while nobody uses it
      return pool
    }),
    (pool) => promise(() => pool.end())
  )

class Connector extends AbstractConnector {
  readonly #dial: Way["dial"]

  constructor(options: unknown) {
    super(1000)
    this.#dial = (options as Way).dial
  }

  override connect(): Promise<Net.Socket> {
    this.connecting = true
    this.stream = this.#dial() as Net.Socket
    return Promise.resolve(this.stream)
  }
}

const makeRedis = ({ dial }: Pick<Way, "dial">) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const options = { Connector, dial, retryStrategy: null, maxRetriesPerRequest: 0 }
      const client = new Redis(options as object)
      client.on("error", () => {}) // shows where it is used
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

/** One server for all tests of a suite, as it takes long to start; its port. */
const shared = (server: Effect.Effect<number, never, Scope.Scope>): () => number => {
  let port = 0
  const scope = Effect.runSync(Scope.make())
  beforeAll(async () => {
    port = await Effect.runPromise(Scope.extend(server, scope))
  }, 30_000)
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return () => port
}

describe.skipIf(programs.PostgreSQL === undefined)("a real PostgreSQL", () => {
  const port = shared(postgres)
  for (const [name, reach] of Object.entries(ways)) {
    it.scopedLive(`answers a pool of connections, and carries large values both ways, ${name}`, () =>
      Effect.gen(function*() {
        const pool = yield* makePool(yield* reach(port()))
        const sums = yield* promise(() =>
          Promise.all(
            Array.from({ length: 100 }, (_, i) => pool.query("select sum(n) from generate_series(1, $1::int) n", [i]))
          )
        )
        expect(sums.map(({ rows }) => Number(rows[0].sum))).toEqual(sums.map((_, i) => i * (i + 1) / 2))

        yield* promise(() => pool.query("create table if not exists files (name text primary key, content bytea)"))
        yield* promise(() => pool.query("insert into files values ($1, $2)", [name, large]))
        const { rows } = yield* promise(() => pool.query("select content from files where name = $1", [name]))
        expect(sha(rows[0].content)).toBe(sha(large))

        const many = yield* promise(() => pool.query("select n, repeat('x', 100) from generate_series(1, 20000) n"))
        expect(many.rows.map(({ n }) => n)).toEqual(Array.from({ length: 20_000 }, (_, i) => i + 1))
      }))

    it.scopedLive(`tells its errors, and goes on, ${name}`, () =>
      Effect.gen(function*() {
        const pool = yield* makePool(yield* reach(port()))
        const failure = yield* Effect.flip(Effect.tryPromise({
          try: () => pool.query("select nonsense"),
          catch: (error) => error as Pg.DatabaseError
        }))
        expect(failure.code).toBe("42703")
        const { rows } = yield* promise(() => pool.query("select 'still here' as answer"))
        expect(rows).toEqual([{ answer: "still here" }])
      }))
  }

  it.scopedLive("fails the queries of a session that is lost", () =>
    Effect.gen(function*() {
      const { pg, session } = yield* throughSession(port())
      const pool = yield* makePool({ pg })
      const query = (text: string) =>
        Effect.flip(Effect.tryPromise({ try: () => pool.query(text), catch: (error) => error as Error }))
      const waiting = yield* Effect.fork(query("select pg_sleep(60)"))
      const asleep = "select from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
      yield* Effect.repeat(promise(() => pool.query(asleep)), { until: ({ rowCount }) => rowCount === 1 })
      yield* session.close
      expect((yield* waiting).message).toMatch(/the session was closed by this side/)
      expect((yield* query("select 1")).message).toMatch(/the session was closed by this side/)
    }))
})

describe.skipIf(programs.Redis === undefined)("a real Redis", () => {
  const port = shared(redis)
  for (const [name, reach] of Object.entries(ways)) {
    it.scopedLive(`answers pipelines, large values and subscriptions, ${name}`, () =>
      Effect.gen(function*() {
        const way = yield* reach(port())
        const client = yield* makeRedis(way)
        yield* promise(() => client.set(`large ${name}`, large))
        expect(sha((yield* promise(() => client.getBuffer(`large ${name}`)))!)).toBe(sha(large))

        const pipeline = client.pipeline()
        for (let i = 0; i < 10_000; i++) pipeline.incr(`counter ${name}`)
        const answers = (yield* promise(() => pipeline.exec()))!
        expect(answers.map(([error, n]) => error ?? n)).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1))

        const subscriber = yield* makeRedis(way)
        const heard: Array<string> = []
        subscriber.on("message", (_channel, message) => heard.push(message))
        yield* promise(() => subscriber.subscribe(`news ${name}`))
        for (const message of ["one", "two", "three"]) yield* promise(() => client.publish(`news ${name}`, message))
        yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => heard.length === 3 })
        expect(heard).toEqual(["one", "two", "three"])

        const waiter = yield* makeRedis(way)
        const taken = yield* Effect.fork(promise(() => waiter.blpop(`queue ${name}`, 10)))
        yield* promise(() => client.rpush(`queue ${name}`, "work"))
        expect(yield* taken).toEqual([`queue ${name}`, "work"])
      }))
  }
})
