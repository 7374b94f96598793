/**
 * Transports that survive the loss of their WebSocket: the session and its streams go on over another one.
 *
 * The dialling end uses `connect`, and the accepting end a `ResumeServer`. Each sent message is kept until the peer has
 * acknowledged it, and repeated on the next WebSocket, so no byte is lost or doubled. While there is no WebSocket,
 * writes wait, deadlines run and the keep-alive rests. A peer that cannot resume has an ordinary session.
 *
 * A session does not outlive the process of either end.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import * as internal from "./internal/resume/dial.js"
import { defaultMaxKept } from "./internal/resume/keptMessages.js"
import * as Settings from "./internal/settings/validate.js"
import { type CloseInfo, Transport } from "./Transport.js"

/**
 * - `Connected`: there is a WebSocket, the first one or a later one
 * - `Suspended`: the WebSocket was lost, and the transport dials the next one
 * - `Ended`: the session was closed, or could not be resumed
 *
 * @since 0.2.0
 * @category models
 */
export type ResumptionState =
  | { readonly _tag: "Connected"; readonly resumed: number }
  | {
    readonly _tag: "Suspended"
    /** When the WebSocket was lost, in milliseconds of the clock. */
    readonly since: number
    readonly resumed: number
    /** The bytes that were kept when the WebSocket was lost. The snapshot of the session tells them at any time. */
    readonly keptBytes: number
    readonly loss: CloseInfo
  }
  | { readonly _tag: "Ended" }

/**
 * A transport with a changing WebSocket. `resumed` counts the changes.
 *
 * @since 0.2.0
 * @category models
 */
export interface ResumableTransport extends Transport {
  readonly state: SubscriptionRef.SubscriptionRef<ResumptionState>
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * The waits after failed attempts. Its input is the failure. The first attempt comes at once. Default: from 200 ms,
   * doubled each time up to 5 s, with jitter.
   */
  readonly schedule?: Schedule.Schedule<unknown, unknown> | undefined
  /** How long the session may be without a WebSocket. The server's grace limits it, too. Default 2 minutes. */
  readonly grace?: Duration.DurationInput | undefined
  /** The bytes of unacknowledged messages at which writes wait. Default 4 MiB. */
  readonly maxKeptBytes?: number | undefined
  /** How long the server may take to answer a request to resume. Default 10 s. */
  readonly answerTimeout?: Duration.DurationInput | undefined
}

/**
 * Dials by the given effect, and again after each loss. Fails like the first dial. Interruption and the end of the
 * scope end the session for good.
 *
 * After a loss the transport dials until the server has resumed the session. Where that fails, the session ends with
 * `TransportFailure`, whose `cause` is a `ResumeFailure`. A close by the peer is not a loss, and ends the session.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 * import * as ResumableTransport from "effect-wsmux/ResumableTransport"
 * import * as Session from "effect-wsmux/Session"
 * import { Transport } from "effect-wsmux/Transport"
 *
 * // streams of this session outlive a change of the network
 * export const session = Effect.provideServiceEffect(
 *   Session.makeClient(),
 *   Transport,
 *   ResumableTransport.connect(NodeTransport.connect("wss://example.com/streams"))
 * )
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const connect = <E, R>(
  dial: Effect.Effect<Transport, E, R>,
  options: Options = {}
): Effect.Effect<ResumableTransport, E, Exclude<R, Scope.Scope> | Scope.Scope> =>
  internal.connect(dial as Effect.Effect<Transport, E, Exclude<R, Scope.Scope> | Scope.Scope>, {
    schedule: options.schedule ?? internal.defaultSchedule,
    grace: Settings.unsafeDuration("grace", options.grace ?? defaultGrace),
    maxKeptBytes: Settings.unsafeSize("maxKeptBytes", options.maxKeptBytes ?? defaultMaxKept, 1),
    answerTimeout: Settings.unsafeDuration("answerTimeout", options.answerTimeout ?? defaultAnswerTimeout)
  })

const defaultGrace = Duration.minutes(2)
const defaultAnswerTimeout = Duration.seconds(10)

/**
 * Provides a dialled `Transport` that survives the loss of its WebSocket.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <E, R>(
  dial: Effect.Effect<Transport, E, R>,
  options?: Options
): Layer.Layer<Transport, E, Exclude<R, Scope.Scope>> => Layer.scoped(Transport, connect(dial, options))
