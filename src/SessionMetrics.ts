/**
 * The metrics of sessions, as Effect metrics tagged with the `role`.
 *
 * A session updates the metrics from its counters when the session starts, at every tick of its keep-alive, and when
 * the session ends. A frame costs no metric update.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"

/**
 * Sessions that are open.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sessions = Metric.gauge("wsmux_sessions")

/**
 * Sessions that have ended, tagged with the `cause`: the `_tag` of the terminal error.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sessionsEnded = Metric.counter("wsmux_sessions_ended", { incremental: true })

/**
 * Streams that have not ended.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streams = Metric.gauge("wsmux_streams")

/**
 * Streams that this end opened and the peer accepted.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsOpened = Metric.counter("wsmux_streams_opened", { incremental: true })

/**
 * Streams that the peer opened and this end accepted.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsAccepted = Metric.counter("wsmux_streams_accepted", { incremental: true })

/**
 * Streams of the peer that this end refused, because of a limit or because the stream had waited too long.
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
 * The number of writes that had to wait for the peer's credit.
 *
 * @since 0.1.0
 * @category metrics
 */
export const creditStalls = Metric.counter("wsmux_credit_stalls", { incremental: true })

/**
 * The round-trip times of the keep-alive's pings, in milliseconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const keepAliveRoundTrip = Metric.histogram(
  "wsmux_keep_alive_round_trip_millis",
  MetricBoundaries.exponential({ start: 1, factor: 2, count: 15 })
)

/**
 * Frames received, tagged with the `kind`: `dat`, `syn`, `ack` or `fin`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const framesReceived = Metric.counter("wsmux_frames_received", { incremental: true })

/**
 * Frames sent, tagged with the `kind`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const framesSent = Metric.counter("wsmux_frames_sent", { incremental: true })

/**
 * Faults of peers that a session survives: SYNs for open streams, overrun windows, credit beyond 2^32-1.
 *
 * @since 0.1.0
 * @category metrics
 */
export const peerFaults = Metric.counter("wsmux_peer_faults", { incremental: true })
