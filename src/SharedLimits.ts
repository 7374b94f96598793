/**
 * Limits on the resources that all peers together can take from this process.
 *
 * The limits of a `SessionConfig` bound one session. A server has many sessions with unknown peers, so these limits
 * bound the sum. Sessions and transports take the `SharedLimits` in their context. The default is one value for the
 * whole process, so the limits also apply to a program that provides no `SharedLimits`.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SharedBudget } from "./internal/budget/sharedBudget.js"
import { merge } from "./internal/settings/validate.js"
import { InvalidConfiguration } from "./WsmuxError.js"

/**
 * Sessions share every limit but `maxConnections` in the same way. The first half goes to the sessions in the order in
 * which they ask. Each session can have an equal part of the second half, so a greedy peer cannot starve the others. A
 * session can always have two streams with small windows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  /**
   * The WebSockets that servers and routes of this process hold, and the upgrades in progress. The server answers a
   * further upgrade with 503. Default 2,000: an idle session takes 92 KiB of heap.
   */
  readonly maxConnections: number
  /**
   * The streams of peers whose handlers run, and the streams in backlogs. A session refuses a further stream, but each
   * session can always have two. Default 6,000: with 26 KiB for each handler of Effect streams these take 150 MiB. The
   * two streams of each of 2,000 sessions take 100 MiB more.
   */
  readonly maxStreams: number
  /**
   * The bytes in the receive windows of all sessions, read or unread, including the growth of the windows. Beyond this
   * limit a session gives a further stream a window of at most 1,024 bytes. Such windows can take 1,024 times
   * `maxStreams` bytes beyond this limit: 6 MiB by default. Default 256 MiB.
   */
  readonly maxBufferSize: number
  /**
   * The bytes of WebSocket messages that have begun and not ended. Each connection can always have 128 KiB, which is
   * enough for the messages of peers with this package. The transport closes a connection that needs more with code
   * 1013. Default 64 MiB.
   */
  readonly maxPartialMessages: number
  /**
   * The answers that wait for peers that do not read. An answer accepts or refuses a stream. Each session can always
   * have 100 waiting answers. A session that needs more ends with `PeerFlood`. Default 100,000, about 10 MiB.
   */
  readonly maxWaitingAnswers: number
}

/**
 * @since 0.2.0
 * @category models
 */
export const defaults: Settings = {
  maxConnections: 2000,
  maxStreams: 6000,
  maxBufferSize: 256 * 1024 * 1024,
  maxPartialMessages: 64 * 1024 * 1024,
  maxWaitingAnswers: 100_000
}

/**
 * The largest window in bytes of a stream that is accepted when `maxBufferSize` has no room for a full window. Such a
 * stream works slowly.
 *
 * @since 0.2.0
 * @category constants
 */
export const smallWindow = 1024

/**
 * An amount that many sessions share.
 *
 * @since 0.2.0
 * @category models
 */
export interface Budget {
  readonly total: number
  /** The amount that all holders hold together. */
  readonly used: number
  /** The number of holders that can have an equal part. */
  readonly holders: number
  /** Takes the amount without a holder, or returns false and takes nothing. */
  readonly take: (amount: number) => boolean
  readonly giveBack: (amount: number) => void
  /** Adds a holder, which can have an equal part of the second half until the holder leaves. */
  readonly join: () => Share
}

/**
 * The part of a `Budget` that one session or transport holds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Share {
  readonly held: number
  /** Takes the amount, or returns false and takes nothing. */
  readonly take: (amount: number) => boolean
  /** Takes the amount, even beyond the total. */
  readonly force: (amount: number) => void
  readonly giveBack: (amount: number) => void
  /** Removes the holder. The held amount stays booked until the holder gives it back. */
  readonly leave: () => void
}

/**
 * The budgets from which sessions and transports take, one for each limit.
 *
 * @since 0.2.0
 * @category models
 */
export interface Budgets {
  readonly connections: Budget
  readonly streams: Budget
  readonly buffers: Budget
  readonly partialMessages: Budget
  readonly waitingAnswers: Budget
}

/**
 * The limits of the sessions and transports in the context. By default, the whole process shares one value with the
 * `defaults`.
 *
 * @example
 * ```ts
 * import * as SessionServer from "effect-wsmux/SessionServer"
 * import * as SharedLimits from "effect-wsmux/SharedLimits"
 * import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
 * import * as Layer from "effect/Layer"
 *
 * // a server for trusted clients that open very many streams, in a heap of 2 GiB
 * export const Server = SessionServer.layer({ maxStreams: 16_384 }).pipe(
 *   Layer.provide(NodeTransportServer.layer({ port: 8080 })),
 *   Layer.provide(SharedLimits.layer({ maxStreams: 32_768 }))
 * )
 * ```
 *
 * @since 0.2.0
 * @category context
 */
export class SharedLimits extends Context.Reference<SharedLimits>()("effect-wsmux/SharedLimits", {
  defaultValue: (): Budgets => make(defaults)
}) {}

/**
 * Provides separate limits to the sessions and transports that are made with this layer. The `defaults` apply to the
 * limits that are not given. Fails with `InvalidConfiguration` when a limit is not a whole number.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: { readonly [K in keyof Settings]?: Settings[K] | undefined } = {}
): Layer.Layer<SharedLimits, InvalidConfiguration> =>
  Layer.effect(
    SharedLimits,
    Effect.suspend(() => {
      const settings = merge(defaults, options)
      for (const [setting, value] of Object.entries(settings)) {
        if (Number.isSafeInteger(value) && value >= 0) continue
        return Effect.fail(new InvalidConfiguration({ setting, detail: `${value} is not a whole number from 0 on` }))
      }
      return Effect.succeed(make(settings))
    })
  )

/** The current stream of a peer, and its last stream, whose handler may still be ending. */
const streamAllowance = 2

/** A frame of 64 KiB, in a buffer that grows in steps. */
const partialAllowance = 128 * 1024

/** A peer's burst of opens while its socket is full. A flood by other peers must not end this peer's session. */
const answerAllowance = 100

const make = (settings: Settings): Budgets => ({
  connections: new SharedBudget(settings.maxConnections),
  streams: new SharedBudget(settings.maxStreams, streamAllowance),
  buffers: new SharedBudget(settings.maxBufferSize),
  partialMessages: new SharedBudget(settings.maxPartialMessages, partialAllowance),
  waitingAnswers: new SharedBudget(settings.maxWaitingAnswers, answerAllowance)
})
