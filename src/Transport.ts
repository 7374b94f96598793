/**
 * The interface between a session and the network: one established WebSocket that carries whole binary messages.
 *
 * A session reaches its peer through this interface only. All members but `close` are synchronous and use plain
 * callbacks, so that a message costs no fiber and no effect.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Address } from "./Address.js"

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
 * One established WebSocket.
 *
 * - Messages arrive whole and in order. No message is lost between the acquisition and `listen`.
 * - The transport always reads. Back-pressure is the credit of the sessions and never a paused socket, because a Go
 *   peer ends a session whose pongs are late.
 * - Closing the scope that acquired the transport terminates it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  readonly [TypeId]: TypeId
  readonly localAddress: Address
  readonly remoteAddress: Address
  /** The server's answer to the upgrade; undefined on the server's end, and where the platform hides it. */
  readonly upgrade?: UpgradeAnswer | undefined
  /** The largest message in bytes that the transport lets in; a larger one ends the connection with code 1009. */
  readonly maxMessageSize: number
  /**
   * Attaches the one listener, and delivers earlier events within this call. Throws when there is a listener already.
   */
  readonly listen: (listener: Listener) => void
  /**
   * Sends one message, given in parts that the transport joins. The bytes belong to the caller again when this
   * returns: the transport copies those that it keeps. Does nothing once closed.
   */
  readonly send: (parts: ReadonlyArray<Uint8Array>) => void
  /**
   * Returns whether the transport holds fewer unsent bytes than its high-water mark. After false, the transport calls
   * `Listener.onWritable` or `onClose`. Always false once closed.
   */
  readonly pollWritable: () => boolean
  /** Returns a number that changes whenever bytes arrive, also a part of a message: the sign of life. */
  readonly receiveCount: () => number
  /**
   * Sends a WebSocket ping and an unsolicited pong. A busy Go peer takes the pong for the answer to a ping of its
   * own. The transport calls `answered` when the peer answers this ping or a later one. Undefined where the platform
   * has no pings, as in browsers; a session there has no keep-alive.
   */
  readonly ping: ((answered?: () => void) => void) | undefined
  /** Sends an unsolicited pong alone, where the platform has pings. */
  readonly pong?: (() => void) | undefined
  /**
   * Sends a close frame, waits for the end up to `timeout`, and then terminates. Idempotent. Interruption terminates
   * the connection at once.
   */
  readonly close: (code: number, reason: string, timeout: Duration.DurationInput) => Effect.Effect<void>
}

/**
 * The headers of an HTTP message by their names in lower case, as they arrived: values may hold any text.
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
  /** One binary message. The bytes belong to the listener. */
  readonly onMessage: (message: Uint8Array) => void
  /** A text message arrived, which is a fault of the peer. */
  readonly onText: () => void
  /** The unsent bytes fell below the high-water mark, after `pollWritable` had returned false. */
  readonly onWritable: () => void
  /** The connection has ended: the last event, delivered exactly once. */
  readonly onClose: (end: CloseInfo) => void
}

/**
 * How a connection ended, as data. The session decides whether the end is clean.
 *
 * @since 0.1.0
 * @category models
 */
export interface CloseInfo {
  /** The close code of the peer's frame; 1005 for a frame without one, 1006 for no frame at all. */
  readonly code: number
  readonly reason: string
  /** The failure of the socket, if any; a `RangeError` where this end refused a message that is too large. */
  readonly cause?: unknown
}

/**
 * @since 0.1.0
 * @category context
 */
export const Transport: Context.Tag<Transport, Transport> = Context.GenericTag<Transport>("effect-wsmux/Transport")

/**
 * The default high-water mark in bytes. The socket does not run empty between two turns of the event loop, and a key
 * stroke waits only briefly behind a file.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultHighWaterMark = 256 * 1024
