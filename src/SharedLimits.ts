/**
 * Limits on what all peers together can make this process hold.
 *
 * The limits of a `SessionConfig` bound one session. A server has many sessions with strangers, so these limits bound
 * the sum. Sessions and transports take the `SharedLimits` in their context. Its default is one value for the whole
 * process, so a program that provides nothing is bounded, too.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SharedBudget } from "./internal/memory/sharedBudget.js"
import { InvalidConfiguration } from "./WsmuxError.js"

/**
 * All limits but the first are shared in the same way: the first half goes to the sessions in the order in which they
 * ask, and of the second half each session can have an equal part. So one greedy peer leaves room for the others. A
 * session can always have two streams with small windows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  /**
   * The WebSockets that servers and routes of this process hold, and the upgrades in progress. A further one gets 503.
   * Default 2,000: an idle session takes 92 KiB of heap.
   */
  readonly maxConnections: number
  /**
   * The streams that peers have opened and whose handlers run, and those that wait to be accepted. The session refuses
   * a further stream, but each session can always have two. Default 6,000: with 26 KiB for each handler of Effect
   * streams these take 150 MiB, and the two of each of 2,000 sessions 100 MiB more.
   */
  readonly maxStreams: number
  /**
   * The bytes in the receive windows of all sessions, read or unread, with what the windows have grown by. A session
   * gives a further stream a window of at most 1,024 bytes. Such windows can take 1,024 times `maxStreams` bytes beyond
   * this limit: 6 MiB by default. Default 256 MiB.
   */
  readonly maxBufferSize: number
  /**
   * The bytes kept of WebSocket messages that have begun and not ended. Each connection can always have 128 KiB, which
   * is enough for the messages of this package's own peers. A connection that needs more is closed with code 1013.
   * Default 64 MiB.
   */
  readonly maxPartialMessages: number
  /**
   * The answers that wait for peers that do not read: the acceptance or refusal of a stream. Each session can always
   * have 100. A session whose peer owes more ends with `PeerFlood`. Default 100,000, about 10 MiB.
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
 * The size in bytes of the windows that streams get where the sessions together have little left: slow, and enough for
 * a stream to work.
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
  /** How many holders have a claim to a part. */
  readonly holders: number
  /** Takes the amount for no holder in particular, or returns false and takes nothing. */
  readonly take: (amount: number) => boolean
  readonly giveBack: (amount: number) => void
  /** Makes a holder with a claim to an equal part of the second half, until it leaves. */
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
  /** Ends the claim to a part. The amount that is still held stays booked until it is given back. */
  readonly leave: () => void
}

/**
 * The budgets that sessions and transports draw on, one for each limit.
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
 * The limits in force. Where nothing is provided, the whole process shares one value with the `defaults`.
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
 * Provides limits of their own to the sessions and transports that are made with this layer: the given ones, and the
 * `defaults` for the rest. Fails with `InvalidConfiguration` when a limit is not a whole number.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Partial<Settings> = {}): Layer.Layer<SharedLimits, InvalidConfiguration> =>
  Layer.effect(
    SharedLimits,
    Effect.suspend(() => {
      const settings = { ...defaults, ...options }
      for (const [setting, value] of Object.entries(settings)) {
        if (Number.isSafeInteger(value) && value >= 0) continue
        return Effect.fail(new InvalidConfiguration({ setting, detail: `${value} is not a whole number from 0 on` }))
      }
      return Effect.succeed(make(settings))
    })
  )

/** One stream, and the one before, whose handler may be about to end. */
const streamAllowance = 2

/** A frame of 64 KiB, in a buffer that has grown in steps. */
const partialAllowance = 128 * 1024

/** A peer's burst of opens while its socket is full of data: a flood by others must not end its session. */
const answerAllowance = 100

const make = (settings: Settings): Budgets => ({
  connections: new SharedBudget(settings.maxConnections),
  streams: new SharedBudget(settings.maxStreams, streamAllowance),
  buffers: new SharedBudget(settings.maxBufferSize),
  partialMessages: new SharedBudget(settings.maxPartialMessages, partialAllowance),
  waitingAnswers: new SharedBudget(settings.maxWaitingAnswers, answerAllowance)
})
