/**
 * The interface between a session and the network: one established WebSocket that carries whole binary messages.
 *
 * A session reaches its peer through this interface only. All members but `close` are synchronous and use plain
 * callbacks, so a message costs no fiber and no effect.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Address } from "./Address.js"
import type { ResumptionSnapshot } from "./SessionSnapshot.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("effect-wsmux/Transport")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * An established WebSocket.
 *
 * - Messages arrive whole and in order. No message is lost between the acquisition and `listen`.
 * - The transport always reads. A session applies back-pressure through credit and never pauses the socket, because a
 *   Go peer ends a session whose pongs are late.
 * - Closing the scope that acquired the transport terminates it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  readonly [TypeId]: TypeId
  readonly localAddress: Address
  readonly remoteAddress: Address
  /** The server's answer to the upgrade. Undefined on the server's end, and where the platform hides the answer. */
  readonly upgrade?: UpgradeAnswer | undefined
  /** The largest message in bytes that the transport receives. A larger message ends the connection with code 1009. */
  readonly maxMessageSize: number
  /**
   * Attaches the only listener, and delivers earlier events within this call. Throws when a listener is attached.
   */
  readonly listen: (listener: Listener) => void
  /**
   * Sends the parts as one message. The bytes belong to the caller again when the call returns, because the transport
   * copies the bytes that it keeps. Does nothing once closed. A transport calls its listener after this call has
   * returned, and never within it.
   *
   * `more` tells that the message may wait for the end of this turn of the event loop, since another one follows or may
   * follow. The transport may send both together.
   */
  readonly send: (parts: ReadonlyArray<Uint8Array>, more?: boolean) => void
  /**
   * Appends bytes to the message that was sent last. Returns false when that message has left, or would get too large.
   * Undefined in transports that send each message at once. A wrapper that changes messages in `send` leaves this out.
   *
   * @since 0.2.0
   */
  readonly extend?: ((parts: ReadonlyArray<Uint8Array>) => boolean) | undefined
  /**
   * Returns whether the transport holds fewer unsent bytes than its high-water mark. After false, the transport calls
   * `Listener.onWritable` or `onClose`. Always false once closed.
   */
  readonly pollWritable: () => boolean
  /** Returns a number that changes whenever bytes arrive, even part of a message. The keep-alive takes it for life. */
  readonly receiveCount: () => number
  /**
   * Sends a WebSocket ping and an unsolicited pong. A busy Go peer takes the pong for the answer to a ping of its own.
   * The transport calls `answered` when the peer answers this ping or a later one. Undefined where the platform has no
   * pings, as in browsers: a session there pings only peers that speak the dialect.
   */
  readonly ping: ((answered?: () => void) => void) | undefined
  /**
   * Drops a connection whose peer shows no sign of life, and goes on over another one later. Returns false where that
   * is impossible, and the session then ends. Undefined in transports that have one connection.
   *
   * @since 0.2.0
   */
  readonly renew?: (() => boolean) | undefined
  /**
   * Returns how the transport survives the loss of its connection. Undefined in transports that do not.
   *
   * @since 0.2.0
   */
  readonly resumption?: (() => ResumptionSnapshot | undefined) | undefined
  /** Sends an unsolicited pong without a ping. Undefined where the platform has no pings. */
  readonly pong?: (() => void) | undefined
  /**
   * Sends a close frame, and terminates the connection when the peer has not ended it within `timeout`. Completes when
   * the connection has ended. Idempotent. Interruption terminates the connection at once.
   */
  readonly close: (code: number, reason: string, timeout: Duration.DurationInput) => Effect.Effect<void>
}

/**
 * The headers of an HTTP message by their names in lower case. The values are unchecked text of the peer.
 *
 * @since 0.2.0
 * @category models
 */
export type UpgradeHeaders = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

/**
 * A server's answer to the request for a WebSocket.
 *
 * @since 0.2.0
 * @category models
 */
export interface UpgradeAnswer {
  readonly headers: UpgradeHeaders
}

/**
 * The receiver of a transport's events. Its callbacks must neither throw nor block.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listener {
  /** A binary message arrived. Its bytes belong to the listener. */
  readonly onMessage: (message: Uint8Array) => void
  /** A text message arrived, which is a fault of the peer. */
  readonly onText: () => void
  /** The unsent bytes fell below the high-water mark, after `pollWritable` had returned false. */
  readonly onWritable: () => void
  /**
   * The transport goes on over another connection. Pings that were not answered are void.
   *
   * @since 0.2.0
   */
  readonly onRenewed?: (() => void) | undefined
  /** The connection has ended. The transport delivers this event exactly once, as the last one. */
  readonly onClose: (end: CloseInfo) => void
}

/**
 * How a connection ended, as data. The session decides whether the end is clean.
 *
 * @since 0.1.0
 * @category models
 */
export interface CloseInfo {
  /** The code of the peer's close frame: 1005 for a close frame without a code, 1006 without a close frame. */
  readonly code: number
  readonly reason: string
  /** The failure of the socket, if any. A `RangeError` when this end refused a message above `maxMessageSize`. */
  readonly cause?: unknown
}

/**
 * @since 0.1.0
 * @category context
 */
export const Transport: Context.Tag<Transport, Transport> = Context.GenericTag<Transport>("effect-wsmux/Transport")

/**
 * The default high-water mark in bytes. This size keeps the socket busy between two turns of the event loop. A small
 * write still waits only briefly behind a bulk transfer.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultHighWaterMark = 256 * 1024
