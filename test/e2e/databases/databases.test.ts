import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import type Pg from "pg"
import { pattern } from "../../support/bytes.js"
import { programs } from "../../support/programs.js"
import { patience, within } from "../../support/within.js"
import { mariadb, postgres, redis } from "./servers.js"
import { makeMysql, makePool, makeRedis, promise, shared, throughSession, ways } from "./support.js"

const sha = (data: Uint8Array) => createHash("sha256").update(data).digest("hex")
const large = Buffer.from(pattern(8 * 1024 * 1024))

describe.skipIf(programs.PostgreSQL === undefined)("PostgreSQL", () => {
  const server = shared(postgres)
  for (const [name, reach] of Object.entries(ways)) {
    it.scopedLive(`PostgreSQL answers a pool with large values both ways when reached ${name}`, () =>
      Effect.gen(function*() {
        const pool = yield* makePool(yield* reach(server().port))
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

    it.scopedLive(`PostgreSQL reports errors and goes on when reached ${name}`, () =>
      Effect.gen(function*() {
        const pool = yield* makePool(yield* reach(server().port))
        const failure = yield* Effect.flip(Effect.tryPromise({
          try: () => pool.query("select nonsense"),
          catch: (error) => error as Pg.DatabaseError
        }))
        expect(failure.code).toBe("42703")
        const { rows } = yield* promise(() => pool.query("select 'still here' as answer"))
        expect(rows).toEqual([{ answer: "still here" }])
      }))
  }

  it.scopedLive("PostgreSQL client fails its queries when the session is lost", () =>
    Effect.gen(function*() {
      const way = yield* throughSession(server().port)
      const { session } = way
      const pool = yield* makePool(way)
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

describe.skipIf(programs.Redis === undefined)("Redis", () => {
  const server = shared(redis)
  for (const [name, reach] of Object.entries(ways)) {
    it.scopedLive(`Redis answers pipelines, large values and subscriptions when reached ${name}`, () =>
      Effect.gen(function*() {
        const way = yield* reach(server().port)
        const client = yield* makeRedis(way)
        yield* promise(() => client.set(`large ${name}`, large))
        expect(sha((yield* promise(() => client.getBuffer(`large ${name}`)))!)).toBe(sha(large))

        const pipeline = client.pipeline()
        for (let i = 0; i < 10_000; i++) pipeline.incr(`counter ${name}`)
        const answers = (yield* promise(() => pipeline.exec()))!
        expect(answers.map(([error, n]) => error ?? n)).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1))

        const subscriber = yield* makeRedis(way)
        const heard: Array<string> = []
        const all = yield* Deferred.make<void>()
        subscriber.on("message", (_channel, message) => {
          if (heard.push(message) === 3) Deferred.unsafeDone(all, Effect.void)
        })
        yield* promise(() => subscriber.subscribe(`news ${name}`))
        for (const message of ["one", "two", "three"]) yield* promise(() => client.publish(`news ${name}`, message))
        yield* Deferred.await(all).pipe(within(patience, "three messages of the channel"))
        expect(heard).toEqual(["one", "two", "three"])

        const waiter = yield* makeRedis(way)
        const taken = yield* Effect.fork(promise(() => waiter.blpop(`queue ${name}`, 10)))
        yield* promise(() => client.rpush(`queue ${name}`, "work"))
        expect(yield* taken).toEqual([`queue ${name}`, "work"])
      }))
  }
})

describe.skipIf(programs.MariaDB === undefined)("MariaDB", () => {
  const server = shared(mariadb)
  for (const [name, reach] of Object.entries(ways)) {
    it.scopedLive(`MariaDB answers a pool with large values both ways when reached ${name}`, () =>
      Effect.gen(function*() {
        const pool = yield* makeMysql(yield* reach(server().port))
        const sums = yield* promise(() =>
          Promise.all(Array.from({ length: 100 }, (_, i) => pool.query("select ? * (? + 1) / 2 as n", [i, i])))
        )
        expect(sums.map(([rows]) => Number((rows as Array<{ n: string }>)[0]!.n))).toEqual(
          sums.map((_, i) => i * (i + 1) / 2)
        )

        yield* promise(() => pool.query("create database if not exists files"))
        yield* promise(() =>
          pool.query("create table if not exists files.files (name varchar(99) primary key, content longblob)")
        )
        yield* promise(() => pool.query("insert into files.files values (?, ?)", [name, large]))
        const [rows] = yield* promise(() => pool.query("select content from files.files where name = ?", [name]))
        expect(sha((rows as Array<{ content: Buffer }>)[0]!.content)).toBe(sha(large))
      }))

    it.scopedLive(`MariaDB reports errors and goes on when reached ${name}`, () =>
      Effect.gen(function*() {
        const pool = yield* makeMysql(yield* reach(server().port))
        const failure = yield* Effect.flip(Effect.tryPromise({
          try: () => pool.query("select nonsense"),
          catch: (error) => error as NodeJS.ErrnoException
        }))
        expect(failure.code).toBe("ER_BAD_FIELD_ERROR")
        const [rows] = yield* promise(() => pool.query("select 'still here' as answer"))
        expect(rows).toEqual([{ answer: "still here" }])
      }))
  }
})
