/**
 * The metrics of sessions, as Effect metrics tagged with the `role`.
 *
 * A session updates the metrics from its counters when the session starts, at every tick of its keep-alive, when this
 * end begins to drain the session, and when the session ends. A frame costs no metric update.
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
export const sessions = Metric.gauge("wsmux_sessions", {
  description: "Sessions that are open."
})

/**
 * Sessions that are open, and that an end drains.
 *
 * @since 0.2.0
 * @category metrics
 */
export const sessionsDraining = Metric.gauge("wsmux_sessions_draining", {
  description: "Sessions that are open, and that an end drains."
})

/**
 * Sessions that have ended, tagged with the `cause`: the `_tag` of the terminal error.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sessionsEnded = Metric.counter("wsmux_sessions_ended", {
  description: "Sessions that have ended, by cause.",
  incremental: true
})

/**
 * Sessions that have lost their WebSocket and wait for the next one.
 *
 * @since 0.2.0
 * @category metrics
 */
export const suspended = Metric.gauge("wsmux_suspended", {
  description: "Sessions that have lost their WebSocket and wait for the next one."
})

/**
 * How often a session went on over another WebSocket.
 *
 * @since 0.2.0
 * @category metrics
 */
export const resumptions = Metric.counter("wsmux_resumptions", {
  description: "How often a session went on over another WebSocket.",
  incremental: true
})

/**
 * Bytes of sent messages that the peer has not acknowledged, in sessions that can be resumed.
 *
 * @since 0.2.0
 * @category metrics
 */
export const keptBytes = Metric.gauge("wsmux_kept_bytes", {
  description: "Bytes of sent messages that the peer has not acknowledged."
})

/**
 * Streams that have not ended.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streams = Metric.gauge("wsmux_streams", {
  description: "Streams that have not ended."
})

/**
 * Streams that this end opened and the peer accepted.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsOpened = Metric.counter("wsmux_streams_opened", {
  description: "Streams that this end opened and the peer accepted.",
  incremental: true
})

/**
 * Streams that the peer opened and this end accepted.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsAccepted = Metric.counter("wsmux_streams_accepted", {
  description: "Streams that the peer opened and this end accepted.",
  incremental: true
})

/**
 * Streams of the peer that this end refused, because of a limit or because the stream had waited too long.
 *
 * @since 0.1.0
 * @category metrics
 */
export const streamsRefused = Metric.counter("wsmux_streams_refused", {
  description: "Streams of the peer that this end refused.",
  incremental: true
})

/**
 * Payload bytes received.
 *
 * @since 0.1.0
 * @category metrics
 */
export const bytesReceived = Metric.counter("wsmux_bytes_received", {
  description: "Payload bytes received.",
  incremental: true
})

/**
 * Payload bytes sent.
 *
 * @since 0.1.0
 * @category metrics
 */
export const bytesSent = Metric.counter("wsmux_bytes_sent", {
  description: "Payload bytes sent.",
  incremental: true
})

/**
 * The number of writes that had to wait for the peer's credit.
 *
 * @since 0.1.0
 * @category metrics
 */
export const creditStalls = Metric.counter("wsmux_credit_stalls", {
  description: "Writes that had to wait for credit of the peer.",
  incremental: true
})

/**
 * The round-trip times of the keep-alive's pings, in milliseconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const keepAliveRoundTrip = Metric.histogram(
  "wsmux_keep_alive_round_trip_millis",
  MetricBoundaries.exponential({ start: 1, factor: 2, count: 15 }),
  "Round-trip times of the pings of the keep-alive, in milliseconds."
)

/**
 * Frames received, tagged with the `kind`: `dat`, `syn`, `ack` or `fin`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const framesReceived = Metric.counter("wsmux_frames_received", {
  description: "Frames received, by kind.",
  incremental: true
})

/**
 * Frames sent, tagged with the `kind`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const framesSent = Metric.counter("wsmux_frames_sent", {
  description: "Frames sent, by kind.",
  incremental: true
})

/**
 * Faults of peers that a session survives: SYNs for open streams, overrun windows, credit beyond 2^32-1.
 *
 * @since 0.1.0
 * @category metrics
 */
export const peerFaults = Metric.counter("wsmux_peer_faults", {
  description: "Faults of peers that a session survived.",
  incremental: true
})
