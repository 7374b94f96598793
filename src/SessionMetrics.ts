/**
 * What sessions tell operators, as Effect's metrics, tagged with the `role`. Nothing is measured per frame: a session adds
 * what it has counted at its beginning, at every tick of its keep-alive, and at its end.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

/**
 * Sessions that are open.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sessions = Metric.gauge("wsmux_sessions")

/**
 * Streams that are alive.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streams = Metric.gauge("wsmux_streams")

/**
 * Streams that a peer has accepted from us.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsOpened = Metric.counter("wsmux_streams_opened", { incremental: true })

/**
 * Streams that we have accepted from a peer.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsAccepted = Metric.counter("wsmux_streams_accepted", { incremental: true })

/**
 * Streams of a peer that were refused because the backlog was full.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsRefused = Metric.counter("wsmux_streams_refused", { incremental: true })

/**
 * Payload bytes received.
 *
 * @since 0.1.0
 * @category metrics
 */
export const bytesReceived = Metric.counter("wsmux_bytes_received", { incremental: true })

/**
 * Payload bytes sent.
 *
 * @since 0.1.0
 * @category metrics
 */
export const bytesSent = Metric.counter("wsmux_bytes_sent", { incremental: true })

/**
 * Frames received, of all kinds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const framesReceived = Metric.counter("wsmux_frames_received", { incremental: true })

/**
 * Frames sent, of all kinds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const framesSent = Metric.counter("wsmux_frames_sent", { incremental: true })

/**
 * Faults of peers that a session lives with: streams opened twice, overrun windows, credit beyond 2^32-1.
 *
 * @since 0.1.0
 * @category metrics
 */
export const peerFaults = Metric.counter("wsmux_peer_faults", { incremental: true })
