import { afterAll, beforeAll } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { AbstractConnector, Redis, type RedisOptions } from "ioredis"
import Mysql from "mysql2/promise"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import Pg from "pg"
import { tunnel } from "../cli/wsmux.js"
import type { Server } from "./servers.js"

export const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

/** A way from a client to its database: a port of the tunnel, or duplexes over a session. */
export interface Way {
  readonly address: { readonly host: string; readonly port: number } | { readonly stream: () => Duplex }
  readonly dial: () => Duplex
}

const throughTunnel = (port: number): Effect.Effect<Way, never, Scope.Scope> =>
  Effect.map(tunnel(port), ({ client }) => ({
    address: { host: "127.0.0.1", port: client.port },
    dial: () => Net.connect(client.port, "127.0.0.1")
  }))

/** A session whose peer joins each stream with a connection to the database. */
export const throughSession = (port: number) =>
  Effect.gen(function*() {
    const settings = { streamBufferSize: 256 * 1024 }
    const listening = yield* Layer.build(
      SessionServer.layer(settings).pipe(Layer.provide(NodeTransportServer.layer()), Layer.orDie)
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
          Layer.provide(NodeTransport.layer(`ws://${Address.format(server.address)}`)),
          Layer.orDie
        )
      ),
      Session.Session
    )
    const dial = yield* NodeDuplex.connector(session)
    return { session, dial, address: { stream: dial } }
  })

export const ways: Readonly<Record<string, (port: number) => Effect.Effect<Way, never, Scope.Scope>>> = {
  "through the tunnel": throughTunnel,
  "over duplexes": throughSession
}

export const makePool = ({ address }: Way, options: Pg.PoolConfig = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const pool = new Pg.Pool({ user: "wsmux", database: "postgres", max: 20, ...address, ...options })
      pool.on("error", () => {}) // an unused connection may break
      return pool
    }),
    (pool) => promise(() => pool.ended ? Promise.resolve() : pool.end())
  )

export const makeMysql = ({ address }: Way, options: Mysql.PoolOptions = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => Mysql.createPool({ user: "root", ...address, ...options })),
    (pool) => Effect.ignore(Effect.tryPromise(() => pool.end()))
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

export const makeRedis = (
  { dial }: Way,
  options: RedisOptions = { retryStrategy: () => null, maxRetriesPerRequest: 0 }
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const client = new Redis({ Connector, dial, ...options } as RedisOptions)
      client.on("error", () => {}) // the command that uses the connection fails, too
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

/** One server for all tests of a suite, since a server takes long to start. */
export const shared = (server: Effect.Effect<Server, never, Scope.Scope>): () => Server => {
  let running: Server | undefined
  const scope = Effect.runSync(Scope.make())
  beforeAll(async () => {
    running = await Effect.runPromise(Scope.extend(server, scope))
  }, 120_000)
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)), 30_000)
  return () => running!
}
