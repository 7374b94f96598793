/**
 * What sessions tell operators, as Effect's metrics, tagged with the `role`. Nothing is measured per frame: a session
 * adds what it has counted at its beginning, at every tick of its keep-alive, and at its end.
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
 * Sessions that are over, tagged with the `cause`: the tag of the terminal error.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sessionsEnded = Metric.counter("wsmux_sessions_ended", { incremental: true })

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
 * How often something that was written began to wait for the peer's credit.
 *
 * @since 0.1.0
 * @category metrics
 */
export const creditStalls = Metric.counter("wsmux_credit_stalls", { incremental: true })

/**
 * How long the pings of the keep-alive took to be answered, in milliseconds.
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
 * Faults of peers that a session lives with: streams opened twice, overrun windows, credit beyond 2^32-1.
 *
 * @since 0.1.0
 * @category metrics
 */
export const peerFaults = Metric.counter("wsmux_peer_faults", { incremental: true })
