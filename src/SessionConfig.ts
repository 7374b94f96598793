/**
 * The settings of a session, their defaults with the reasons, and where they may come from.
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
import * as Schedule from "effect/Schedule"
import { InvalidConfiguration, type TerminalError } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /**
   * How often the peer is pinged, and how long it may be silent. Default 10 s, the specification's. Later Go peers use 20 s.
   *
   * The session pings at once. It fails with `KeepAliveExpired` when it received nothing between two pings.
   * `Duration.infinity` turns the keep-alive off.
   *
   * A `Schedule` gives the delays between the pings: `Schedule.jittered(Schedule.spaced("8 seconds"))` keeps many clients from
   * pinging at the same moment. After the end of the schedule, the session no longer pings. A Go peer ends a session in
   * which it received nothing for an interval of its own, so no delay may be longer than that. `Schedule.fixed` is unsuited: after
   * a pause of the process it pings twice in a row.
   */
  readonly keepAliveInterval: Duration.DurationInput | Schedule.Schedule<unknown>
  /** How long `open` waits for the peer to accept. Default 30 s, the specification's. */
  readonly streamAcceptDeadline: Duration.DurationInput
  /** Runs once when the session is over, with what ended it; the session's scope waits for it. Default none. */
  readonly closeCallback: ((cause: TerminalError) => Effect.Effect<void>) | undefined
  /** Whether lifecycle (debug) and faults of the peer (warning) are logged through Effect's loggers. Default false. */
  readonly log: boolean
  /**
   * The window of each stream in bytes: how much a peer may send before it is read. Throughput of a stream is at most
   * window / round trip. Default 1024, the specification's; both ends should agree when a Go peer opens streams.
   */
  readonly streamBufferSize: number
  /**
   * How large the window of a stream may grow, in bytes, when the network asks for more than `streamBufferSize`: it
   * doubles while a window is read within two round trips, measured by ping. A peer needs nothing for that. Default
   * undefined: windows stay as they are, as they do where the transport cannot ping (browsers).
   */
  readonly maxStreamBufferSize: number | undefined
  /** How many bytes the windows of a session may grow by, all together. Default 64 MiB. */
  readonly maxWindowGrowth: number
  /**
   * The most bytes that a session holds for its streams, read or unread: the sum of their windows, without the growth of
   * the windows. Once half of it is given, a further stream of the peer gets a window of the other half / `maxStreams`.
   * A stream that this end opens always gets its own window, and no more than what is left of the window in which the
   * acceptor believes. Default 256 MiB.
   */
  readonly maxSessionBufferSize: number
  /**
   * How many streams may wait while no acceptor waits for them; the session refuses a further one. Default 4,096: a Go
   * peer learns nothing of a refusal, so its open hangs for 30 s, and a stream that waits takes less than 1 KiB.
   */
  readonly acceptBacklog: number
  /**
   * How long a stream may wait to be accepted. The session refuses an older one instead of handing it out, because its
   * opener has given up: a Go peer does so after 30 s, without a word. Default 30 s.
   */
  readonly backlogTimeout: Duration.DurationInput
  /**
   * How many streams of the peer a session may have; the session refuses a further one. A stream whose handler `run` has
   * started counts until the handler ends. Default 4,096. `SharedLimits` bounds the streams of all sessions together.
   */
  readonly maxStreams: number
  /**
   * How many opens may wait for the peer's answer; further ones wait in turn. Default 100, half of what deadlocks a Go
   * peer.
   */
  readonly maxUnacknowledgedOpens: number
  /**
   * The most bytes that are buffered for a stream whose acceptor believes in a larger window than ours. Default 4 MiB,
   * the buffer of the websocktunnel service, whose streams therefore work.
   */
  readonly maxPeerWindow: number
  /**
   * The bytes that we may send on an accepted stream before its opener grants any. Default undefined: our own
   * `streamBufferSize`, as Go peers assume.
   */
  readonly initialSendCredit: number | undefined
  /** How long a closing session tries to get queued frames out. Default 1 s. */
  readonly flushTimeout: Duration.DurationInput
  /** How long a closing session waits for the peer's close frame. Default 1 s, since Go peers may never send it. */
  readonly closeTimeout: Duration.DurationInput
  /** The most payload of one frame that we send: the grain in which streams take turns. Default 64 KiB. */
  readonly maxFrameSize: number
  /**
   * The most bytes that are received and thrown away for a stream that was left before its end, so that its writer is
   * not stuck. Default 16 MiB.
   */
  readonly discardLimit: number
}

/**
 * What a session is made with. Where nothing is provided it holds `defaults`; so it is never a requirement.
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
  discardLimit: 16 * 1024 * 1024
}

/**
 * Some of the settings; the others are taken from the `SessionConfig` in the context.
 *
 * @since 0.1.0
 * @category models
 */
export type Options = { readonly [K in keyof Settings]?: Settings[K] | undefined }

/**
 * The settings for clients of a websocktunnel service: the windows of its proxy, 4 MiB at both ends, and the keep-alive
 * of its sessions. With larger windows the proxy loses bytes.
 *
 * @since 0.2.0
 * @category constants
 */
export const websocktunnel = {
  streamBufferSize: 4 * 1024 * 1024,
  maxStreamBufferSize: 4 * 1024 * 1024, // no growth, whatever the context says
  maxPeerWindow: 4 * 1024 * 1024,
  initialSendCredit: 4 * 1024 * 1024,
  keepAliveInterval: Duration.seconds(20)
} satisfies Options

/**
 * Provides the given settings, and the defaults for the rest. Fails with `InvalidConfiguration` when built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<SessionConfig, InvalidConfiguration> =>
  Layer.effect(SessionConfig, validate(merge(defaults, options)))

/**
 * Settings from a description of where they come from, such as `Config.unwrap` of single ones.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<SessionConfig, InvalidConfiguration | ConfigError.ConfigError> =>
  Layer.effect(
    SessionConfig,
    Effect.flatMap(Config.unwrap(config), (options) => validate(merge(defaults, options)))
  )

/**
 * The settings that the environment may give: `WSMUX_KEEP_ALIVE_INTERVAL`, `WSMUX_STREAM_ACCEPT_DEADLINE`, `WSMUX_LOG`,
 * `WSMUX_STREAM_BUFFER_SIZE`, `WSMUX_MAX_STREAM_BUFFER_SIZE`, `WSMUX_MAX_WINDOW_GROWTH`, `WSMUX_MAX_SESSION_BUFFER_SIZE`,
 * `WSMUX_ACCEPT_BACKLOG`, `WSMUX_BACKLOG_TIMEOUT`, `WSMUX_MAX_STREAMS`, `WSMUX_MAX_UNACKNOWLEDGED_OPENS`,
 * `WSMUX_MAX_PEER_WINDOW`, `WSMUX_INITIAL_SEND_CREDIT`, `WSMUX_FLUSH_TIMEOUT`, `WSMUX_CLOSE_TIMEOUT`, `WSMUX_MAX_FRAME_SIZE` and
 * `WSMUX_DISCARD_LIMIT`. Durations are written like `10 seconds` (or `Infinity`), sizes as bytes.
 *
 * @since 0.1.0
 * @category config
 */
export const config: Config.Config<Options> = Config.suspend(() =>
  Config.all({
    keepAliveInterval: duration("KEEP_ALIVE_INTERVAL"),
    streamAcceptDeadline: duration("STREAM_ACCEPT_DEADLINE"),
    log: optional(Config.boolean("LOG")),
    streamBufferSize: bytes("STREAM_BUFFER_SIZE"),
    maxStreamBufferSize: bytes("MAX_STREAM_BUFFER_SIZE"),
    maxWindowGrowth: bytes("MAX_WINDOW_GROWTH"),
    maxSessionBufferSize: bytes("MAX_SESSION_BUFFER_SIZE"),
    acceptBacklog: bytes("ACCEPT_BACKLOG"),
    backlogTimeout: duration("BACKLOG_TIMEOUT"),
    maxStreams: bytes("MAX_STREAMS"),
    maxUnacknowledgedOpens: bytes("MAX_UNACKNOWLEDGED_OPENS"),
    maxPeerWindow: bytes("MAX_PEER_WINDOW"),
    initialSendCredit: bytes("INITIAL_SEND_CREDIT"),
    flushTimeout: duration("FLUSH_TIMEOUT"),
    closeTimeout: duration("CLOSE_TIMEOUT"),
    maxFrameSize: bytes("MAX_FRAME_SIZE"),
    discardLimit: bytes("DISCARD_LIMIT")
  }).pipe(Config.nested("WSMUX"))
)

/**
 * Settings from the environment (`config`), and the defaults for the rest.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEnv: Layer.Layer<SessionConfig, InvalidConfiguration | ConfigError.ConfigError> = Layer.suspend(
  () => Layer.effect(SessionConfig, Effect.flatMap(config, (options) => validate(merge(defaults, options))))
)

/**
 * Settings with some of them replaced; `undefined` replaces nothing.
 *
 * @since 0.1.0
 * @category combinators
 */
export const merge = (settings: Settings, options: Options): Settings => {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return { ...settings, ...given }
}

/**
 * The settings, or `InvalidConfiguration` for the first that makes no sense.
 *
 * @since 0.1.0
 * @category combinators
 */
export const validate = (settings: Settings): Effect.Effect<Settings, InvalidConfiguration> => {
  for (const [setting, least, most] of sizes) {
    const value = settings[setting]
    if (value === undefined) continue
    if (!Number.isInteger(value) || value < least || value > most) {
      return invalid(setting, `${value} is not a whole number from ${least} to ${most}`)
    }
  }
  for (const setting of durations) {
    const value = settings[setting]
    if (Schedule.isSchedule(value)) continue
    const decoded = toDuration(value)
    if (decoded._tag === "None") {
      return invalid(setting, `${String(value)} is not a duration`)
    }
    if (setting === "keepAliveInterval" && Duration.equals(decoded.value, Duration.zero)) {
      return invalid(setting, "it must be longer than zero; Duration.infinity turns the keep-alive off")
    }
  }
  return Effect.succeed(settings)
}

/**
 * The largest message that a peer may legally send under these settings: the limit for a transport to enforce.
 *
 * @since 0.1.0
 * @category combinators
 */
export const maxMessageSize = (settings: Settings): number =>
  Math.max(settings.streamBufferSize, settings.maxStreamBufferSize ?? 0, settings.maxPeerWindow) + frameOverhead

/**
 * Fails with `InvalidConfiguration` where a transport lets in less than these settings need.
 *
 * @since 0.1.0
 * @category combinators
 */
export const validateMessageSize = (
  settings: Settings,
  transport: { readonly maxMessageSize: number }
): Effect.Effect<void, InvalidConfiguration> => {
  const needed = maxMessageSize(settings)
  const detail = `the transport lets in messages of ${transport.maxMessageSize} bytes; these settings need ${needed}`
  return needed > transport.maxMessageSize
    ? Effect.fail(new InvalidConfiguration({ setting: "maxMessageSize", detail }))
    : Effect.void
}

/** The bytes of a message beside the payload. The seam knows no frames, but its limit must leave room for their header. */
const frameOverhead = 5

const maxUint32 = 0xffff_ffff

const sizes = [
  ["streamBufferSize", 1, maxUint32],
  ["maxStreamBufferSize", 1, maxUint32],
  ["maxWindowGrowth", 0, Number.MAX_SAFE_INTEGER],
  ["maxSessionBufferSize", 0, Number.MAX_SAFE_INTEGER],
  ["acceptBacklog", 0, maxUint32],
  ["maxStreams", 0, maxUint32],
  ["maxUnacknowledgedOpens", 1, maxUint32],
  ["maxPeerWindow", 0, maxUint32],
  ["initialSendCredit", 0, maxUint32],
  ["maxFrameSize", 1, maxUint32],
  ["discardLimit", 0, Number.MAX_SAFE_INTEGER]
] as const

const durations = [
  "keepAliveInterval",
  "streamAcceptDeadline",
  "backlogTimeout",
  "flushTimeout",
  "closeTimeout"
] as const

const invalid = (setting: string, detail: string) => Effect.fail(new InvalidConfiguration({ setting, detail }))

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> => Config.withDefault(config, undefined)

/** Effect takes what is below zero, and numbers that are none, for zero. */
const toDuration = (value: unknown): Option.Option<Duration.Duration> =>
  Option.filter(Duration.decodeUnknown(value), () => {
    if (typeof value === "string") return !value.startsWith("-")
    const nanos = Array.isArray(value) ? value[0] * 1e9 + value[1] : value
    return typeof nanos === "object" || nanos >= 0
  })

const duration = (name: string) =>
  optional(Config.mapOrFail(Config.string(name), (text) => {
    const decoded = text === "Infinity" ? Option.some(Duration.infinity) : toDuration(text)
    return Either.fromOption(decoded, () =>
      ConfigError.InvalidData([], `Expected a duration such as 10 seconds but received ${JSON.stringify(text)}`))
  }))

const bytes = (name: string) => optional(Config.integer(name))
