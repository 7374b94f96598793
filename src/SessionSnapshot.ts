/**
 * What a session reports of itself to operators: its streams and its counters at one moment.
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
 * What a session has counted since it was made.
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
  /** Streams that the peer accepted from us, that we accepted from the peer, that we refused. */
  readonly opened: number
  readonly accepted: number
  readonly refused: number
  /** Faults of the peer: SYNs for live streams, frames that had no place, overrun windows, credit beyond 2^32-1. */
  readonly duplicateSyns: number
  readonly ignoredFrames: number
  readonly windowOverruns: number
  readonly creditOverflows: number
  /** How often something that was written began to wait for the peer's credit. */
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
  /** Received and not yet read. */
  readonly bufferedBytes: number
  /** What the peer may still send. */
  readonly receiveCredit: number
  /** Whether the stream was left here, so that the session discards the bytes that still arrive. */
  readonly discarding: boolean
  /** What we may still send. */
  readonly sendCredit: number
  /** Written and not yet sent. */
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
  /** Our opens that the peer has not answered, and those that wait for their turn. */
  readonly unacknowledgedOpens: number
  readonly waitingOpens: number
  readonly counters: SessionCounters
}
