/**
 * The settings of a session, their defaults with reasons, and the sources that they may come from.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import { merge, toDuration, validate } from "./internal/settings/validate.js"
import type { InvalidConfiguration, TerminalError } from "./WsmuxError.js"

/**
 * All settings of a session. Sizes are in bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /**
   * How often the peer is pinged, and how long it may be silent. Default 10 s, the specification's. Later Go peers use
   * 20 s.
   *
   * The session pings at once. It fails with `KeepAliveExpired` when it received nothing between two pings.
   * `Duration.infinity` turns the keep-alive off.
   *
   * A `Schedule` gives the delays between the pings: `Schedule.jittered(Schedule.spaced("8 seconds"))` keeps many
   * clients from pinging at the same moment. After the end of the schedule, the session no longer pings. A Go peer ends
   * a session in which it received nothing for an interval of its own, so no delay may be longer than that.
   * `Schedule.fixed` is unsuited: after a pause of the process it pings twice in a row.
   */
  readonly keepAliveInterval: Duration.DurationInput | Schedule.Schedule<unknown>
  /** How long `open` waits for the peer to accept. Default 30 s, the specification's. */
  readonly streamAcceptDeadline: Duration.DurationInput
  /**
   * Runs once when the session has ended, with the terminal error. The session's scope waits for it. Default
   * `undefined`.
   */
  readonly closeCallback: ((cause: TerminalError) => Effect.Effect<void>) | undefined
  /**
   * Whether the session logs through Effect's loggers, as Go's `Log`: its lifecycle at debug level, and the peer's
   * faults at warning level. Default false, as in Go: a server's peers decide how often they misbehave.
   */
  readonly log: boolean
  /**
   * The window of each stream: the bytes that the peer may send before they are read. The throughput of a stream is at
   * most window / RTT. Default 1,024, the specification's. Both ends should agree when a Go peer opens streams.
   */
  readonly streamBufferSize: number
  /**
   * The size up to which the window of a stream may grow beyond `streamBufferSize`. A window doubles while it is read
   * within two RTTs, measured by ping. The peer needs no support for that. Default `undefined`: windows keep their
   * size. They also keep it where the transport cannot ping, as in browsers, and the peer lacks the dialect.
   */
  readonly maxStreamBufferSize: number | undefined
  /** The sum by which all windows of a session may grow. Default 64 MiB. */
  readonly maxWindowGrowth: number
  /**
   * The most that a session holds for its streams, read or unread: the sum of their windows without their growth. Once
   * half of it is given, a further stream of the peer gets a window of the other half / `maxStreams`. A stream that
   * this end opens gets its own window, and no more than the rest of the window in which the acceptor believes.
   * Default 256 MiB.
   */
  readonly maxSessionBufferSize: number
  /**
   * How many streams may wait while no acceptor waits. The session refuses a further one. Default 4,096: a Go peer is
   * not told of a refusal, so its open hangs for 30 s, and a stream that waits takes less than 1 KiB.
   */
  readonly acceptBacklog: number
  /**
   * How long a stream may wait to be accepted. The session refuses an older one, because its opener has given up: a Go
   * peer does so after 30 s, without a frame. Default 30 s.
   */
  readonly backlogTimeout: Duration.DurationInput
  /**
   * How many streams of the peer a session may have. The session refuses a further one. A stream that `run` handles
   * counts until its handler ends. Default 4,096. `SharedLimits` bounds the streams of all sessions together.
   */
  readonly maxStreams: number
  /**
   * How many opens may wait for the peer's answer. Further ones wait in turn. Default 100, half of the number that
   * deadlocks a Go peer.
   */
  readonly maxUnacknowledgedOpens: number
  /**
   * The most that is buffered for a stream whose acceptor believes in a larger window than ours. Default 4 MiB, the
   * buffer of the websocktunnel service, whose streams therefore work.
   */
  readonly maxPeerWindow: number
  /**
   * The bytes that this end may send on an accepted stream before its opener grants credit. Default `undefined`: the
   * own `streamBufferSize`, as Go peers assume. An opener of this package without the dialect grants credit in halves
   * of its window, so a value below that half stops its streams. A Go opener grants credit for each read.
   */
  readonly initialSendCredit: number | undefined
  /** How long a closing session tries to send its queued frames. Default 1 s. */
  readonly flushTimeout: Duration.DurationInput
  /** How long a closing session waits for the peer's close frame. Default 1 s, since a Go peer may never send one. */
  readonly closeTimeout: Duration.DurationInput
  /** The most payload of one sent frame, after which another stream has its turn. Default 64 KiB. */
  readonly maxFrameSize: number
  /**
   * The most that is received and discarded for a stream that was left before its end, so that its writer can finish.
   * Default 16 MiB.
   */
  readonly discardLimit: number
  /**
   * Whether the session speaks the dialect of this package with peers that know it: labels, early data, resets. With
   * `"auto"` the session sends one message that a Go peer ignores. `"off"` speaks Go's wire only. `"required"` ends the
   * session with `DialectMissing` when the peer's first message is none of the dialect, or none comes within
   * `streamAcceptDeadline`. Default `"auto"`: a Go peer costs one ignored message.
   *
   * @since 0.2.0
   */
  readonly dialect: "auto" | "off" | "required"
}

/**
 * Some of the settings. The others come from the `SessionConfig` in the context. `undefined` counts as not given.
 *
 * @since 0.2.0
 * @category models
 */
export type PartialSettings = { readonly [K in keyof Settings]?: Settings[K] | undefined }

/**
 * The settings in the context. A context without them holds `defaults`, so this is never a requirement.
 *
 * @example
 * ```ts
 * import * as Duration from "effect/Duration"
 * import * as SessionConfig from "effect-wsmux/SessionConfig"
 *
 * export const LargeWindows = SessionConfig.layer({
 *   streamBufferSize: 256 * 1024,
 *   keepAliveInterval: Duration.seconds(20)
 * })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class SessionConfig extends Context.Reference<SessionConfig>()("effect-wsmux/SessionConfig", {
  defaultValue: (): Settings => defaults
}) {}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults: Settings = {
  keepAliveInterval: Duration.seconds(10),
  streamAcceptDeadline: Duration.seconds(30),
  closeCallback: undefined,
  log: false,
  streamBufferSize: 1024,
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
}

/**
 * The settings for clients of a websocktunnel service: the windows of its proxy, 4 MiB at both ends, and the keep-alive
 * of its sessions. The proxy loses bytes when windows are larger.
 *
 * @since 0.2.0
 * @category constants
 */
export const websocktunnel = {
  streamBufferSize: 4 * 1024 * 1024,
  maxStreamBufferSize: 4 * 1024 * 1024, // overrides growth that the context allows
  maxPeerWindow: 4 * 1024 * 1024,
  initialSendCredit: 4 * 1024 * 1024,
  keepAliveInterval: Duration.seconds(20)
} satisfies PartialSettings

/**
 * Provides the given settings, and the defaults for the rest. Fails with `InvalidConfiguration` when it is built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (settings: PartialSettings = {}): Layer.Layer<SessionConfig, InvalidConfiguration> =>
  Layer.effect(SessionConfig, validate(merge(defaults, settings)))

/**
 * Provides the settings that a `Config` describes, such as `config`, and the defaults for the rest.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<PartialSettings>
): Layer.Layer<SessionConfig, InvalidConfiguration | ConfigError.ConfigError> =>
  Layer.effect(
    SessionConfig,
    Effect.flatMap(Config.unwrap(config), (settings) => validate(merge(defaults, settings)))
  )

/**
 * The settings that a `ConfigProvider` may give, under the names of their members: all of `Settings` except
 * `closeCallback`. Durations are written like `10 seconds` (or `Infinity`), sizes as bytes. `Config.nested` adds a
 * prefix. `layerEnv` reads them from environment variables.
 *
 * @example
 * ```ts
 * import * as SessionConfig from "effect-wsmux/SessionConfig"
 * import * as Config from "effect/Config"
 * import * as ConfigProvider from "effect/ConfigProvider"
 * import * as Layer from "effect/Layer"
 *
 * const provider = ConfigProvider.fromJson({ tunnel: { keepAliveInterval: "20 seconds", log: true } })
 *
 * export const FromJson = SessionConfig.layerConfig(Config.nested(SessionConfig.config, "tunnel")).pipe(
 *   Layer.provide(Layer.setConfigProvider(provider))
 * )
 * ```
 *
 * @since 0.2.0
 * @category config
 */
export const config: Config.Config<PartialSettings> = Config.suspend(() => describe((setting) => setting))

/**
 * Provides the settings of the environment, and the defaults for the rest. The variables are `WSMUX_` and the name of a
 * setting in upper case, such as `WSMUX_KEEP_ALIVE_INTERVAL`, with values as in `config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEnv: Layer.Layer<SessionConfig, InvalidConfiguration | ConfigError.ConfigError> = Layer.suspend(() =>
  // A provider that maps names would leave the unmapped name in the error of a malformed duration.
  layerConfig(Config.nested(describe(constantCase), "WSMUX"))
)

/** Describes all settings but `closeCallback`, each under the name that `nameOf` gives to it. */
const describe = (nameOf: (setting: keyof Settings) => string): Config.Config<PartialSettings> => {
  const integer = (setting: keyof Settings, description: string) =>
    optional(Config.integer(nameOf(setting)), description)
  const duration = (setting: keyof Settings, description: string) => optional(durationOf(nameOf(setting)), description)
  return Config.all({
    keepAliveInterval: duration("keepAliveInterval", "How often the peer is pinged, and how long it may be silent"),
    streamAcceptDeadline: duration("streamAcceptDeadline", "How long an open waits for the peer to accept"),
    log: optional(Config.boolean(nameOf("log")), "Whether the session logs its lifecycle and the peer's faults"),
    streamBufferSize: integer("streamBufferSize", "The window of each stream in bytes"),
    maxStreamBufferSize: integer("maxStreamBufferSize", "The size in bytes up to which a window may grow"),
    maxWindowGrowth: integer("maxWindowGrowth", "The bytes by which all windows of a session may grow together"),
    maxSessionBufferSize: integer("maxSessionBufferSize", "The most bytes that a session holds for its streams"),
    acceptBacklog: integer("acceptBacklog", "How many streams may wait to be accepted"),
    backlogTimeout: duration("backlogTimeout", "How long a stream may wait to be accepted"),
    maxStreams: integer("maxStreams", "How many streams of the peer a session may have"),
    maxUnacknowledgedOpens: integer("maxUnacknowledgedOpens", "How many opens may wait for the peer's answer"),
    maxPeerWindow: integer("maxPeerWindow", "The most bytes buffered when the peer believes in a larger window"),
    initialSendCredit: integer("initialSendCredit", "The bytes that may be sent before the opener grants credit"),
    flushTimeout: duration("flushTimeout", "How long a closing session tries to send its queued frames"),
    closeTimeout: duration("closeTimeout", "How long a closing session waits for the peer's close frame"),
    maxFrameSize: integer("maxFrameSize", "The most payload bytes of one sent frame"),
    discardLimit: integer("discardLimit", "The most bytes discarded for a stream that was left before its end"),
    dialect: optional(
      Config.literal("auto", "off", "required")(nameOf("dialect")),
      "Whether the session speaks the dialect of this package: auto, off or required"
    )
  })
}

const constantCase = (name: string): string => name.replace(/[A-Z]/g, "_$&").toUpperCase()

const optional = <A>(config: Config.Config<A>, description: string): Config.Config<A | undefined> =>
  Config.withDefault(Config.withDescription(config, description), undefined)

const durationOf = (name: string): Config.Config<Duration.Duration> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const decoded = text === "Infinity" ? Option.some(Duration.infinity) : toDuration(text)
    return Either.fromOption(decoded, () =>
      ConfigError.InvalidData([], `Expected a duration such as 10 seconds but received ${JSON.stringify(text)}`))
  })
