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

/** A setting that makes no sense, but is of a type that none has. */
const nonsense = (options: Record<string, unknown>) => options as SessionConfig.Options

describe("settings", () => {
  it.effect("are those of the specification and of the design where nobody says otherwise", () =>
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
        discardLimit: 16 * 1024 * 1024
      })
      expect(yield* provided(SessionConfig.layer())).toEqual(yield* SessionConfig.SessionConfig)
    }))

  it("can be replaced one by one, and undefined replaces nothing", () => {
    const closeCallback = () => Effect.void
    const options = { log: true, streamBufferSize: 9, closeCallback, initialSendCredit: 0, acceptBacklog: undefined }
    expect(SessionConfig.merge(defaults, options)).toEqual({
      ...defaults,
      log: true,
      streamBufferSize: 9,
      closeCallback,
      initialSendCredit: 0
    })
  })

  it.effect("for a websocktunnel give windows of 4 MiB that do not grow, whatever they are merged with", () =>
    Effect.gen(function*() {
      const growing = { ...SessionConfig.defaults, streamBufferSize: 1024, maxStreamBufferSize: 64 * 1024 * 1024 }
      const settings = yield* SessionConfig.validate(SessionConfig.merge(growing, SessionConfig.websocktunnel))
      const size = 4 * 1024 * 1024
      expect(settings).toMatchObject({ streamBufferSize: size, maxStreamBufferSize: size, initialSendCredit: size })
      expect(SessionConfig.maxMessageSize(settings)).toBe(size + 5)
    }))

  it("tell the largest message that they allow a peer to send", () => {
    const sizeFor = (options: SessionConfig.Options) =>
      SessionConfig.maxMessageSize(SessionConfig.merge(defaults, options))
    expect([
      sizeFor({}),
      sizeFor({ streamBufferSize: 100, maxPeerWindow: 0 }),
      sizeFor({ streamBufferSize: 100, maxPeerWindow: 101 }),
      sizeFor({ streamBufferSize: 100, maxPeerWindow: 101, maxStreamBufferSize: 102 })
    ]).toEqual([4 * 1024 * 1024 + 5, 105, 106, 107])
  })
})

describe("a setting that makes no sense", () => {
  const max = 0xffff_ffff
  const sizes: ReadonlyArray<readonly [setting: keyof SessionConfig.Settings, least: number, most: number]> = [
    ["streamBufferSize", 1, max],
    ["acceptBacklog", 0, max],
    ["maxStreams", 0, max],
    ["maxUnacknowledgedOpens", 1, max],
    ["maxPeerWindow", 0, max],
    ["initialSendCredit", 0, max],
    ["maxFrameSize", 1, max],
    ["maxStreamBufferSize", 1, max],
    ["maxWindowGrowth", 0, Number.MAX_SAFE_INTEGER],
    ["maxSessionBufferSize", 0, Number.MAX_SAFE_INTEGER],
    ["discardLimit", 0, Number.MAX_SAFE_INTEGER]
  ]
  for (const [setting, least, most] of sizes) {
    it.effect(`is named: ${setting}`, () =>
      Effect.gen(function*() {
        const validate = (value: number) => SessionConfig.validate({ ...defaults, [setting]: value })
        for (const value of [least, most]) expect((yield* validate(value))[setting]).toBe(value)
        for (const value of [least - 1, most + 1, least + 0.5, -1, NaN, Infinity]) {
          const detail = `${value} is not a whole number from ${least} to ${most}`
          expect(yield* Effect.flip(validate(value))).toEqual(new InvalidConfiguration({ setting, detail }))
        }
      }))
  }

  const durations = ["keepAliveInterval", "streamAcceptDeadline", "flushTimeout", "closeTimeout"] as const
  for (const setting of durations) {
    it.effect(`is named: ${setting}`, () =>
      Effect.gen(function*() {
        const validate = (value: unknown) =>
          SessionConfig.validate(SessionConfig.merge(defaults, nonsense({ [setting]: value })))
        for (const value of [1, "2 minutes", Duration.infinity]) expect((yield* validate(value))[setting]).toBe(value)
        for (const value of ["soon", {}, true, NaN, -1, "-1 seconds", -1n, [-1, 0], [NaN, 0], [0, -1]]) {
          const detail = `${String(value)} is not a duration`
          expect(yield* Effect.flip(validate(value))).toEqual(new InvalidConfiguration({ setting, detail }))
        }
      }))
  }

  it.effect("is a keep-alive without an interval, but not a wait of no length", () =>
    Effect.gen(function*() {
      const none = { streamAcceptDeadline: 0, flushTimeout: 0, closeTimeout: 0 }
      expect(yield* SessionConfig.validate({ ...defaults, ...none })).toEqual({ ...defaults, ...none })
      for (const keepAliveInterval of [0, Duration.zero, "0 seconds"] as const) {
        expect(yield* Effect.flip(SessionConfig.validate({ ...defaults, keepAliveInterval }))).toEqual(
          new InvalidConfiguration({
            setting: "keepAliveInterval",
            detail: "it must be longer than zero; Duration.infinity turns the keep-alive off"
          })
        )
      }
    }))

  const detail = "0 is not a whole number from 1 to 4294967295"
  const invalid = new InvalidConfiguration({ setting: "streamBufferSize", detail })
  const options = { streamBufferSize: 0 }
  const wrapped = { streamBufferSize: Config.succeed(0) }
  const outer = Layer.succeed(SessionConfig.SessionConfig, { ...defaults, ...options })
  const makers: Record<string, Effect.Effect<unknown, unknown, Transport | Scope.Scope>> = {
    "a session of the client": Session.makeClient(options),
    "a session of the server": Session.makeServer(options),
    "a session with settings from the context": Effect.provide(Session.makeClient(), outer),
    "layerClient": Layer.build(Session.layerClient(options)),
    "layerServer": Layer.build(Session.layerServer(options)),
    "layerClientConfig": Layer.build(Session.layerClientConfig(wrapped)),
    "layerServerConfig": Layer.build(Session.layerServerConfig(wrapped)),
    "SessionConfig.layer": Layer.build(SessionConfig.layer(options)),
    "SessionConfig.layerConfig": Layer.build(SessionConfig.layerConfig(wrapped)),
    "SessionConfig.layerEnv": withEnv({ WSMUX_STREAM_BUFFER_SIZE: "0" })(Layer.build(SessionConfig.layerEnv))
  }
  for (const [name, make] of Object.entries(makers)) {
    it.scoped(`fails ${name}`, () =>
      Effect.gen(function*() {
        const pair = yield* MemoryTransport.makePair()
        expect(yield* Effect.flip(Effect.provideService(make, Transport, pair.client))).toEqual(invalid)
      }))
  }
})

describe("settings from a layer", () => {
  it.effect("stand beside the defaults", () =>
    Effect.gen(function*() {
      const options = { streamBufferSize: 4096, keepAliveInterval: "20 seconds", log: undefined } as const
      expect(yield* provided(SessionConfig.layer(options)))
        .toEqual({ ...defaults, streamBufferSize: 4096, keepAliveInterval: "20 seconds" })
    }))

  it.effect("may each come from a source of its own", () =>
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

describe("settings from the environment", () => {
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
    WSMUX_DISCARD_LIMIT: "8"
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
    discardLimit: 8
  }

  it.effect("are read under their names", () =>
    Effect.gen(function*() {
      expect(yield* SessionConfig.config.pipe(withEnv(env))).toEqual(options)
      expect(yield* provided(SessionConfig.layerEnv).pipe(withEnv(env))).toEqual({ ...defaults, ...options })
    }))

  it.effect("can turn the keep-alive off", () =>
    Effect.gen(function*() {
      const { keepAliveInterval } = yield* SessionConfig.config.pipe(
        withEnv({ WSMUX_KEEP_ALIVE_INTERVAL: "Infinity" })
      )
      expect(keepAliveInterval).toEqual(Duration.infinity)
    }))

  it.effect("are the defaults where it says nothing", () =>
    Effect.gen(function*() {
      const some = { OTHER_LOG: "true", WSMUX_ACCEPT_BACKLOG: "9" }
      expect(yield* provided(SessionConfig.layerEnv).pipe(withEnv({}))).toEqual(defaults)
      expect(yield* provided(SessionConfig.layerEnv).pipe(withEnv(some))).toEqual({ ...defaults, acceptBacklog: 9 })
    }))

  for (const name of Object.keys(env)) {
    it.effect(`are refused where they cannot be read: ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(provided(SessionConfig.layerEnv).pipe(withEnv({ [name]: "lots" })))
        expect(error).toMatchObject({ _op: "InvalidData", path: ["WSMUX", name.slice("WSMUX_".length)] })
      }))
  }

  it.effect("are no durations below zero", () =>
    Effect.gen(function*() {
      const backwards = withEnv({ WSMUX_STREAM_ACCEPT_DEADLINE: "-1 seconds" })
      expect(yield* Effect.flip(SessionConfig.config.pipe(backwards))).toMatchObject({ _op: "InvalidData" })
    }))

  const layers = { client: Session.layerClientConfig, server: Session.layerServerConfig }
  for (const [role, layer] of Object.entries(layers)) {
    it.scoped(`reach a session of the ${role}`, () =>
      Effect.gen(function*() {
        const pair = yield* MemoryTransport.makePair()
        const build = Layer.build(layer(SessionConfig.config)).pipe(Effect.provideService(Transport, pair.client))
        expect(yield* Effect.flip(build.pipe(withEnv({ WSMUX_LOG: "perhaps" }))))
          .toMatchObject({ _op: "InvalidData", path: ["WSMUX", "LOG"] })
        const session = Context.get(yield* build.pipe(withEnv({ WSMUX_STREAM_BUFFER_SIZE: "300" })), Session.Session)
        expect(session.role).toBe(role)
        const makePeer = role === "client" ? Session.makeServer() : Session.makeClient()
        const peer = yield* Effect.provideService(makePeer, Transport, pair.server)
        yield* Effect.all([peer.open(), session.accept], { concurrency: 2 })
        expect((yield* session.snapshot).streams.map((stream) => stream.receiveCredit)).toEqual([300])
      }))
  }
})

describe("a session", () => {
  it.scoped("prefers its own settings to those in the context", () =>
    Effect.gen(function*() {
      const context = SessionConfig.layer({ streamBufferSize: 100, acceptBacklog: 1 })
      const { frames, send, session } = yield* makePeer("server", { streamBufferSize: 300 }).pipe(
        Effect.provide(context)
      )
      yield* send(syn(1), syn(3))
      yield* session.accept
      expect(yield* frames).toEqual([fin(3), ack(1, 300)])
    }))

  const options = { streamBufferSize: 100, maxPeerWindow: 200 }
  for (const make of [Session.makeClient, Session.makeServer]) {
    it.scoped(`needs a transport that lets in what its peer may send: ${make.name}`, () =>
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
