/**
 * The seam between the protocol and the network: one established WebSocket that carries whole binary messages.
 *
 * A session knows its peer through this interface only. Everything here is synchronous and on plain callbacks, so that a
 * message costs no fiber and no effect; only closing, which takes time, is an Effect.
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
 * - Messages arrive whole and in order. None is lost between the acquisition and `listen`.
 * - It is always read: back-pressure is the sessions' credit, never a paused socket, because a Go peer ends a session
 *   whose pongs do not come.
 * - Closing the scope that acquired it terminates it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  readonly [TypeId]: TypeId
  readonly localAddress: Address
  readonly remoteAddress: Address
  /** The answer with which a server established it; undefined on the server's end, and where the platform hides it. */
  readonly upgrade?: UpgradeAnswer | undefined
  /** The largest message in bytes that it lets in; a larger one ends the connection with code 1009. */
  readonly maxMessageSize: number
  /** Attaches the one listener. What arrived before is delivered first, within this call. */
  readonly listen: (listener: Listener) => void
  /**
   * Sends one message, given in parts so that nobody has to join them first. The transport copies what it keeps, so the
   * bytes are the caller's again when this returns. Does nothing once closed.
   */
  readonly send: (parts: ReadonlyArray<Uint8Array>) => void
  /**
   * Whether the transport holds less than its highWaterMark of unsent bytes. After it answered false, `Listener.onWritable`
   * follows, or `onClose` does: nobody waits for ever. Always false once closed.
   */
  readonly pollWritable: () => boolean
  /** Changes whenever anything at all came in, also a part of a message: the sign of life. */
  readonly receiveCount: () => number
  /**
   * Sends a WebSocket ping and an unsolicited pong, which keeps a busy Go peer calm. `answered` is called when the peer
   * has answered this ping or a later one; never when it answers none. Undefined where the platform cannot,
   * as in browsers; then a session cannot tell a silent peer from a dead one, and has no keep-alive.
   */
  readonly ping: ((answered?: () => void) => void) | undefined
  /** Sends an unsolicited pong alone, where the platform can. */
  readonly pong?: (() => void) | undefined
  /**
   * Sends a close frame, waits for the end up to `timeout`, then terminates. Idempotent, and not interruptible in
   * effect: an interrupted call terminates at once.
   */
  readonly close: (code: number, reason: string, timeout: Duration.DurationInput) => Effect.Effect<void>
}

/**
 * The headers of an HTTP message by their names in lower case, as they came: values may hold any text.
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
 * Who hears of a transport's events. The callbacks must not throw and must not block.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listener {
  /** One binary message. The bytes belong to the listener. */
  readonly onMessage: (message: Uint8Array) => void
  /** A text message came, which is a fault of the peer. */
  readonly onText: () => void
  /** The unsent bytes have fallen below the highWaterMark, after `pollWritable` had answered false. */
  readonly onWritable: () => void
  /** The connection is over: the last event, exactly once. */
  readonly onClose: (end: CloseInfo) => void
}

/**
 * How a connection ended, as data; whether that is clean is for the session to judge.
 *
 * @since 0.1.0
 * @category models
 */
export interface CloseInfo {
  /** The close code of the peer's frame; 1005 for a frame without one, 1006 for no frame at all. */
  readonly code: number
  readonly reason: string
  /** The failure of the socket, where there was one; a `RangeError` where this end gave up at a message too large. */
  readonly cause?: unknown
}

/**
 * @since 0.1.0
 * @category context
 */
export const Transport: Context.Tag<Transport, Transport> = Context.GenericTag<Transport>("effect-wsmux/Transport")

/**
 * How many unsent bytes a transport holds before it is not writable, unless told otherwise: enough that the socket does
 * not run dry between two turns of the event loop, and little enough that a key stroke is not stuck behind a file.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultHighWaterMark = 256 * 1024
