/**
 * The options of a session's operations. `Session` exports them, too.
 *
 * @since 0.2.0
 */
import type * as Duration from "effect/Duration"
import type { Metadata } from "./internal/wire/metadata.js"

/**
 * The options of `open`.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenOptions {
  /**
   * Tells the peer what the stream is for, in at most 256 bytes. The open fails with `LabelsUnsupported` when the peer
   * does not speak the dialect. A longer label is a defect. A lone surrogate arrives as U+FFFD.
   *
   * @since 0.2.0
   */
  readonly label?: string | undefined
  /**
   * Named texts for the peer, in at most 4,096 bytes, with names of at most 255 bytes. The rules are those of `label`.
   * The span of the open goes with them as `traceparent`, unless the peer's first message has not come, or they leave
   * no room for its 69 bytes.
   *
   * @since 0.2.0
   */
  readonly metadata?: Metadata | undefined
  /**
   * Opens without the label and the metadata when the peer is not known to speak the dialect, or takes shorter ones.
   * The label of the stream is empty then. Default false.
   *
   * @since 0.2.0
   */
  readonly labelFallback?: boolean | undefined
  /**
   * Completes the open at once. The first bytes leave with it, as many as the peer allows, so a request and its answer
   * take one round trip. The other bytes follow when the peer has accepted the stream. When the peer refuses the stream
   * or does not accept it in time, reads and writes fail with `StreamReset`. Default false.
   *
   * The open waits as any other for a peer without the dialect, and until the first message of the peer has arrived.
   *
   * @since 0.2.0
   */
  readonly early?: boolean | undefined
  /**
   * An id of this role's parity to use instead of the next free id. A used id counts as taken, because a Go peer may
   * revive the ended stream. An id of the wrong parity, outside uint32, or 2^32-1 is a defect.
   */
  readonly id?: number | undefined
}

/**
 * The options of `drain`.
 *
 * @since 0.2.0
 * @category models
 */
export interface DrainOptions {
  /** How long the streams that run may go on. Default 30 s. */
  readonly grace?: Duration.DurationInput | undefined
  /**
   * Whether the peer should dial again now, since another program serves. Otherwise a `ReconnectingSession` waits as
   * after a failure. Default true.
   */
  readonly redial?: boolean | undefined
  /** A code for the peer, from 0 to 2^32-1. Programs take theirs from 256 on. Default 0. */
  readonly code?: number | undefined
  /** A text for the peer. The session sends its first 128 bytes. Default empty. */
  readonly reason?: string | undefined
}
