import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import { InvalidConfiguration } from "effect-wsmux/WsmuxError"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { ack, fin, makePeer, syn } from "../support/scriptedPeer.js"

const { defaults } = SessionConfig

/** The settings that a program under this layer finds. */
const provided = <E>(layer: Layer.Layer<SessionConfig.SessionConfig, E>) =>
  Effect.provide(SessionConfig.SessionConfig, layer)

const withEnv = (env: Record<string, string>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)), { pathDelim: "_" }))

const withJson = (json: unknown) => Effect.withConfigProvider(ConfigProvider.fromJson(json))

describe("SessionConfig", () => {
  it.effect("SessionConfig holds the defaults when the context holds no settings", () =>
    Effect.gen(function*() {
      expect(yield* SessionConfig.SessionConfig).toEqual({
        // the specification's
        keepAliveInterval: Duration.seconds(10),
        streamAcceptDeadline: Duration.seconds(30),
        closeCallback: undefined,
        log: false,
        streamBufferSize: 1024,
        // the design's
        maxStreamBufferSize: undefined,
        maxWindowGrowth: 64 * 1024 * 1024,
        maxSessionBufferSize: 256 * 1024 * 1024,
        acceptBacklog: 4096,
        backlogTimeout: Duration.seconds(30),
        maxStreams: 4096,
        maxUnacknowledgedOpens: 100,
        maxPeerWindow: 4 * 1024 * 1024,
        initialSendCredit: undefined,
        flushTimeout: Duration.seconds(1),
        closeTimeout: Duration.seconds(1),
        maxFrameSize: 64 * 1024,
        discardLimit: 16 * 1024 * 1024,
        dialect: "auto"
      })
      expect(yield* provided(SessionConfig.layer())).toEqual(yield* SessionConfig.SessionConfig)
    }))

  const detail = "0 is not a whole number from 1 to 4294967295"
  const invalid = new InvalidConfiguration({ setting: "streamBufferSize", detail })
  const options = { streamBufferSize: 0 }
  const wrapped = { streamBufferSize: Config.succeed(0) }
  const outer = Layer.succeed(SessionConfig.SessionConfig, { ...defaults, ...options })
  const makers: Record<string, Effect.Effect<unknown, unknown, Transport | Scope.Scope>> = {
    "makeClient": Session.makeClient(options),
    "makeServer": Session.makeServer(options),
    "makeClient under an invalid context": Effect.provide(Session.makeClient(), outer),
    "layerClient": Layer.build(Session.layerClient(options)),
    "layerServer": Layer.build(Session.layerServer(options)),
    "layerClientConfig": Layer.build(Session.layerClientConfig(wrapped)),
    "layerServerConfig": Layer.build(Session.layerServerConfig(wrapped)),
    "SessionConfig.layer": Layer.build(SessionConfig.layer(options)),
    "SessionConfig.layerConfig": Layer.build(SessionConfig.layerConfig(wrapped)),
    "SessionConfig.layerEnv": withEnv({ WSMUX_STREAM_BUFFER_SIZE: "0" })(Layer.build(SessionConfig.layerEnv))
  }
  for (const [name, make] of Object.entries(makers)) {
    it.scoped(`${name} fails with InvalidConfiguration when a setting is invalid`, () =>
      Effect.gen(function*() {
        const pair = yield* MemoryTransport.makePair()
        expect(yield* Effect.flip(Effect.provideService(make, Transport, pair.client))).toEqual(invalid)
      }))
  }
})

describe("SessionConfig", () => {
  it.effect("layer provides the defaults beside the given settings", () =>
    Effect.gen(function*() {
      const options = { streamBufferSize: 4096, keepAliveInterval: "20 seconds", log: undefined } as const
      expect(yield* provided(SessionConfig.layer(options)))
        .toEqual({ ...defaults, streamBufferSize: 4096, keepAliveInterval: "20 seconds" })
    }))

  it.effect("layerConfig reads each setting from the Config that is given for it", () =>
    Effect.gen(function*() {
      const layer = SessionConfig.layerConfig({
        streamBufferSize: Config.integer("WINDOW"),
        keepAliveInterval: Config.duration("BEAT"),
        log: Config.succeed(true)
      })
      expect(yield* provided(layer).pipe(withEnv({ WINDOW: "77", BEAT: "3 seconds" })))
        .toEqual({ ...defaults, streamBufferSize: 77, keepAliveInterval: Duration.seconds(3), log: true })
      expect(yield* Effect.flip(provided(layer).pipe(withEnv({ BEAT: "3 seconds" }))))
        .toMatchObject({ _op: "MissingData", path: ["WINDOW"] })
    }))
})

describe("SessionConfig", () => {
  const env = {
    WSMUX_KEEP_ALIVE_INTERVAL: "20 seconds",
    WSMUX_STREAM_ACCEPT_DEADLINE: "1 minute",
    WSMUX_LOG: "true",
    WSMUX_STREAM_BUFFER_SIZE: "65536",
    WSMUX_ACCEPT_BACKLOG: "2",
    WSMUX_MAX_UNACKNOWLEDGED_OPENS: "3",
    WSMUX_MAX_STREAM_BUFFER_SIZE: "131072",
    WSMUX_MAX_WINDOW_GROWTH: "10",
    WSMUX_MAX_SESSION_BUFFER_SIZE: "12",
    WSMUX_MAX_PEER_WINDOW: "4",
    WSMUX_INITIAL_SEND_CREDIT: "5",
    WSMUX_FLUSH_TIMEOUT: "6 millis",
    WSMUX_CLOSE_TIMEOUT: "9 millis",
    WSMUX_MAX_STREAMS: "11",
    WSMUX_MAX_FRAME_SIZE: "7",
    WSMUX_DISCARD_LIMIT: "8",
    WSMUX_DIALECT: "required"
  }
  const options = {
    keepAliveInterval: Duration.seconds(20),
    streamAcceptDeadline: Duration.minutes(1),
    log: true,
    streamBufferSize: 65_536,
    maxStreamBufferSize: 131_072,
    maxWindowGrowth: 10,
    maxSessionBufferSize: 12,
    acceptBacklog: 2,
    maxStreams: 11,
    maxUnacknowledgedOpens: 3,
    maxPeerWindow: 4,
    initialSendCredit: 5,
    flushTimeout: Duration.millis(6),
    closeTimeout: Duration.millis(9),
    maxFrameSize: 7,
    discardLimit: 8,
    dialect: "required"
  } as const

  it.effect("layerEnv reads each setting from its WSMUX variable", () =>
    Effect.gen(function*() {
      expect(yield* provided(SessionConfig.layerEnv).pipe(withEnv(env))).toEqual({ ...defaults, ...options })
    }))

  it.effect("config reads each setting under the name of its member, within nested", () =>
    Effect.gen(function*() {
      const json = { ...options, keepAliveInterval: "20 seconds", streamAcceptDeadline: "1 minute" }
      const given = { ...json, flushTimeout: "6 millis", closeTimeout: "9 millis" }
      expect(yield* SessionConfig.config.pipe(withJson(given))).toEqual(options)
      expect(yield* Config.nested(SessionConfig.config, "wsmux").pipe(withJson({ wsmux: given }))).toEqual(options)
      const env = { WSMUX_LOG: "true" }
      expect((yield* SessionConfig.config.pipe(withEnv(env))).log).toBe(undefined)
    }))

  it.effect("layerEnv turns the keep-alive off when its interval is Infinity", () =>
    Effect.gen(function*() {
      const { keepAliveInterval } = yield* provided(SessionConfig.layerEnv).pipe(
        withEnv({ WSMUX_KEEP_ALIVE_INTERVAL: "Infinity" })
      )
      expect(keepAliveInterval).toEqual(Duration.infinity)
    }))

  it.effect("layerEnv provides the defaults when the variables are unset", () =>
    Effect.gen(function*() {
      const some = { OTHER_LOG: "true", WSMUX_ACCEPT_BACKLOG: "9" }
      expect(yield* provided(SessionConfig.layerEnv).pipe(withEnv({}))).toEqual(defaults)
      expect(yield* provided(SessionConfig.layerEnv).pipe(withEnv(some))).toEqual({ ...defaults, acceptBacklog: 9 })
    }))

  for (const name of Object.keys(env)) {
    it.effect(`layerEnv fails with its path when ${name} is malformed`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(provided(SessionConfig.layerEnv).pipe(withEnv({ [name]: "lots" })))
        expect(error).toMatchObject({ _op: "InvalidData", path: ["WSMUX", name.slice("WSMUX_".length)] })
      }))
  }

  it.effect("layerEnv fails when a duration is negative", () =>
    Effect.gen(function*() {
      const backwards = withEnv({ WSMUX_STREAM_ACCEPT_DEADLINE: "-1 seconds" })
      expect(yield* Effect.flip(provided(SessionConfig.layerEnv).pipe(backwards))).toMatchObject({ _op: "InvalidData" })
    }))

  const layers = { Client: Session.layerClientConfig, Server: Session.layerServerConfig }
  for (const [role, layer] of Object.entries(layers)) {
    it.scoped(`layer${role}Config gives the settings of a Config to its session`, () =>
      Effect.gen(function*() {
        const pair = yield* MemoryTransport.makePair()
        const build = Layer.build(layer(SessionConfig.config)).pipe(Effect.provideService(Transport, pair.client))
        expect(yield* Effect.flip(build.pipe(withJson({ log: "perhaps" }))))
          .toMatchObject({ _op: "InvalidData", path: ["log"] })
        const session = Context.get(yield* build.pipe(withJson({ streamBufferSize: 300 })), Session.Session)
        expect(session.role).toBe(role.toLowerCase())
        const makePeer = role === "Client" ? Session.makeServer() : Session.makeClient()
        const peer = yield* Effect.provideService(makePeer, Transport, pair.server)
        yield* Effect.all([peer.open(), session.accept], { concurrency: 2 })
        expect((yield* session.snapshot).streams.map((stream) => stream.receiveCredit)).toEqual([300])
      }))
  }
})

describe("Session", () => {
  it.scoped("Session prefers its own settings to those in the context", () =>
    Effect.gen(function*() {
      const context = SessionConfig.layer({ streamBufferSize: 100, acceptBacklog: 1 })
      const { frames, send, session } = yield* makePeer("server", { streamBufferSize: 300 }).pipe(
        Effect.provide(context)
      )
      yield* send(syn(1), syn(3))
      yield* session.accept
      expect(yield* frames).toEqual([fin(3), ack(1, 300)])
    }))

  const options = { streamBufferSize: 100, maxPeerWindow: 200, dialect: "off" } as const
  for (const make of [Session.makeClient, Session.makeServer]) {
    it.scoped(`${make.name} fails when the transport lets in smaller messages than the peer may send`, () =>
      Effect.gen(function*() {
        const over = (maxMessageSize: number) =>
          Effect.gen(function*() {
            const pair = yield* MemoryTransport.makePair({ maxMessageSize })
            return yield* Effect.provideService(make(options), Transport, pair.client)
          })
        expect(Session.isSession(yield* over(205))).toBe(true)
        expect(yield* Effect.flip(over(204))).toEqual(
          new InvalidConfiguration({
            setting: "maxMessageSize",
            detail: "the transport lets in messages of 204 bytes; these settings need 205"
          })
        )
      }))
  }
})
