/**
 * The state of a session for operators: its streams and its counters at one moment.
 *
 * @since 0.2.0
 */
/**
 * @since 0.1.0
 * @category models
 */
export interface FrameCounts {
  readonly dat: number
  readonly syn: number
  readonly ack: number
  readonly fin: number
}

/**
 * The counters of a session since the session was made.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionCounters {
  readonly framesIn: FrameCounts
  readonly framesOut: FrameCounts
  /** Payload bytes of DAT frames. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** `opened`: streams that the peer accepted. `accepted` and `refused`: streams of the peer. */
  readonly opened: number
  readonly accepted: number
  readonly refused: number
  /** Faults of the peer: SYNs for open streams, unexpected frames, overrun windows, credit beyond 2^32-1. */
  readonly duplicateSyns: number
  readonly ignoredFrames: number
  readonly windowOverruns: number
  readonly creditOverflows: number
  /** The number of writes that had to wait for the peer's credit. */
  readonly creditStalls: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface StreamSnapshot {
  readonly id: number
  readonly state:
    | "Opening"
    | "Cancelling"
    | "AwaitingAccept"
    | "Open"
    | "HalfClosedLocal"
    | "HalfClosedRemote"
    | "Closed"
  /** The bytes that were received and not yet read. */
  readonly bufferedBytes: number
  /** The bytes that the peer may still send. */
  readonly receiveCredit: number
  /** Whether this end left the stream, so that the session discards the bytes that still arrive. */
  readonly discarding: boolean
  /** The bytes that this end may still send. */
  readonly sendCredit: number
  /** The bytes that were written and not yet sent. */
  readonly waitingBytes: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionSnapshot {
  readonly role: "client" | "server"
  readonly closed: boolean
  readonly streams: ReadonlyArray<StreamSnapshot>
  /** Streams of the peer that wait to be accepted. */
  readonly backlog: number
  /** Opens of this end that the peer has not answered. `waitingOpens` have not been sent yet. */
  readonly unacknowledgedOpens: number
  readonly waitingOpens: number
  readonly counters: SessionCounters
}
